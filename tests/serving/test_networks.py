from triune.serving.networks import EMBEDDING, EVERYTHING, Card


def test_where_a_network_computes_does_not_make_it_another():
    first = Card("run", "resnet18", "cosine", 8, device="cpu")
    assert first == Card("run", "resnet18", "cosine", 8, device="cuda")
    assert first != Card("run", "resnet18", "euclidean", 8)


def test_asking_for_the_embedding_alone_asks_for_nothing_else():
    assert (EMBEDDING.classes, EMBEDDING.masks, EMBEDDING.embedding) == (False, False, True)
    assert EVERYTHING.classes
    assert EVERYTHING.masks
