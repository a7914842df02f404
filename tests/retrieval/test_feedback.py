"""How well items fit what is liked and disliked: the formula in float64, what it must not depend on, what it is for."""

import numpy as np
import pytest
import torch

from triune.retrieval.feedback import SAMPLE, background, taste_scores


def unit_rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def word_for_word(gallery, items, shrinkage):
    """z of some items, in float64 and with NumPy's own covariance and an inverse square root by Schur."""
    from scipy import linalg

    x = unit_rows(gallery.astype(np.float64))
    sigma = np.cov(x.T, bias=True)
    mixed = sigma + shrinkage * np.trace(sigma) / len(sigma) * np.eye(len(sigma))
    return unit_rows((unit_rows(items.astype(np.float64)) - x.mean(0)) @ np.linalg.inv(linalg.sqrtm(mixed).real))


def collection(identities=30, images=8, dimensions=12, seed=0):
    """Items of identities that share a mean and two directions of large variance, which say nothing of identity."""
    g = np.random.default_rng(seed)
    centres = g.normal(size=(identities, dimensions))
    x = centres[:, None] + 0.5 * g.normal(size=(identities, images, dimensions))
    x[..., :2] += 4 * g.normal(size=(identities, images, 2))
    return (x + 3).reshape(-1, dimensions), np.repeat(np.arange(identities), images)


def smooth(products, sharpness):
    return np.log(np.mean(np.exp(sharpness * products), axis=1)) / sharpness


@pytest.mark.parametrize("shrinkage", [0.1, 10.0])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_the_scores_are_the_formula_word_for_word(shrinkage, kind):
    x = collection()[0].astype(kind)
    rows = background(x, shrinkage=shrinkage).without(x)
    z = word_for_word(x, x, shrinkage)
    np.testing.assert_allclose(rows, z, atol=3e-5)
    expected = smooth(z @ z[[1, 4, 9]].T, 2.0) - 0.4 * smooth(z @ z[[20, 33]].T, 2.0)
    found = taste_scores(rows, rows[[1, 4, 9]], rows[[20, 33]], weight=0.4, sharpness=2.0)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_of_one_liked_item_it_is_the_cosine_and_a_sharpness_is_between_mean_and_closest():
    x = unit_rows(collection()[0])
    np.testing.assert_allclose(taste_scores(x, x[[3]]), x @ x[3], atol=1e-6)
    products = x @ x[[3, 40, 90]].T
    np.testing.assert_allclose(taste_scores(x, x[[3, 40, 90]], sharpness=1e-3), products.mean(1), atol=1e-3)
    np.testing.assert_allclose(taste_scores(x, x[[3, 40, 90]], sharpness=1e4), products.max(1), atol=1e-3)


def test_lengths_of_embeddings_and_the_order_of_items_do_not_matter():
    x, _ = collection()
    rows = background(x).without(x)
    lengths = np.random.default_rng(1).uniform(0.1, 9, (len(x), 1))
    np.testing.assert_allclose(background(x * lengths).without(x * lengths), rows, atol=1e-5)
    there, back = (taste_scores(rows, rows[order], rows[[9]]) for order in ([3, 4, 5], [5, 4, 3]))
    np.testing.assert_allclose(there, back, atol=1e-6)


def test_turning_all_embeddings_does_not_change_a_score():
    x, _ = collection()
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]

    def scores(embeddings):
        rows = background(embeddings).without(embeddings)
        return taste_scores(rows, rows[:2], rows[30:32])

    np.testing.assert_allclose(scores(x @ turn), scores(x), atol=1e-4)


def precision(x, labels, scores_of):
    """Of each identity two items are liked and two lookalikes disliked: the share of its others among the best six."""
    hits = []
    for identity in np.unique(labels):
        own = np.flatnonzero(labels == identity)
        others = np.flatnonzero(labels != identity)
        near = others[np.argsort(-(unit_rows(x[others]) @ unit_rows(x[own[:2]]).mean(0)))[:2]]
        scores = np.array(scores_of(x[own[:2]], x[near]), dtype=float)
        scores[[*own[:2], *near]] = -np.inf
        hits.append((labels[np.argsort(-scores)[:6]] == identity).mean())
    return np.mean(hits)


def test_it_finds_more_than_rocchio_where_a_collection_varies_in_ways_that_say_nothing():
    x, labels = collection()
    known = background(x)
    ours = precision(x, labels, lambda a, b: taste_scores(known.without(x), known.without(a), known.without(b)))
    rocchio = precision(x, labels, lambda a, b: unit_rows(x) @ (unit_rows(a).mean(0) - 0.25 * unit_rows(b).mean(0)))
    assert ours > 1.05 * rocchio


def test_of_two_kinds_of_things_that_are_liked_both_are_found_rather_than_what_lies_between():
    angles = np.deg2rad([0, 100, 50, 4, 104])
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert set(taste_scores(x, x[:2], sharpness=8.0)[2:].argsort(descending=True)[:2].tolist()) == {1, 2}
    assert taste_scores(x, x[:2], sharpness=0.01)[2:].argmax() == 0, "the mean lies in the middle"


def test_dislikes_push_their_kind_down():
    x, labels = collection()
    rows = background(x).without(x)
    liked, theirs = rows[labels == 0][:2], torch.from_numpy(labels == 1)
    both, alone = (taste_scores(rows, liked, each) for each in (rows[theirs][:3], None))
    places = [(-each).argsort().argsort()[theirs].double().mean() for each in (both, alone)]
    assert places[0] > places[1]
    np.testing.assert_array_equal(taste_scores(rows, liked, rows[:0]), alone)
    np.testing.assert_allclose(taste_scores(rows, liked, rows[theirs], weight=0), alone, atol=1e-6)


def test_a_collection_of_equal_items_or_of_one_changes_nothing():
    for rows in (np.ones((5, 3)), np.array([[1.0, 2.0, 2.0]])):
        known = background(rows)
        np.testing.assert_allclose(known.without(rows), unit_rows(rows), atol=1e-6)
        free = known.without(rows)
        assert torch.isfinite(taste_scores(free, free[:1], free[:1])).all()


def test_of_a_large_collection_a_sample_from_all_of_it_is_enough():
    g = np.random.default_rng(0)
    x = g.normal(size=(SAMPLE + 5000, 4)) * [1, 2, 3, 4]
    x[: len(x) // 2] += 5  # the halves differ: a sample of the first rows would miss it
    np.testing.assert_allclose(background(x).without(x[:50]), word_for_word(x, x[:50], 10.0), atol=2e-2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: background(x[:0]), "no rows"),
        (lambda x: background(x, shrinkage=0), "shrinkage is 0: a number above 0"),
        (lambda x: background(x * np.nan), "embeddings holds NaN"),
        (lambda x: background(x).without(x[:, :5]), "embeddings has 5 dimensions but the collection 12"),
        (lambda x: taste_scores(x, x[:0]), "nothing is liked"),
        (lambda x: taste_scores(x, x[:1], weight=-0.1), "weight is -0.1: a number from 0 to 1"),
        (lambda x: taste_scores(x, x[:1], sharpness=0), "sharpness is 0: a number above 0"),
        (lambda x: taste_scores(x, x[:1], x[:1, :5]), "rows have 12 dimensions but disliked 5"),
        (lambda x: taste_scores(x, x[:2] * np.inf), "liked holds NaN or infinity"),
        (lambda x: taste_scores(x * np.nan, x[:2]), "rows holds NaN or infinity"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(collection()[0])
