"""Liked and disliked items as one query: the formula in float64, what it must not depend on, and that it helps."""

import numpy as np
import pytest
import torch

from triune.retrieval.feedback import SAMPLE, background, combined_query


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


@pytest.mark.parametrize("shrinkage", [0.1, 10.0])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_the_query_is_the_formula_word_for_word(shrinkage, kind):
    x = collection()[0].astype(kind)
    known = background(x, shrinkage=shrinkage)
    z = word_for_word(x, x, shrinkage)
    np.testing.assert_allclose(known.without(x), z, atol=3e-5)
    expected = z[[1, 4, 9]].mean(0) - 0.4 * z[[20, 33]].mean(0)
    found = combined_query(x[[1, 4, 9]], x[[20, 33]], known=known, weight=0.4)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=3e-5)


def test_without_a_background_it_is_rocchios_formula():
    liked, disliked = np.array([[2.0, 0, 0], [0, 0.5, 0]]), np.array([[0, 0, 7.0]])
    expected = np.array([0.5, 0.5, -0.25])
    np.testing.assert_allclose(combined_query(liked, disliked), expected / np.linalg.norm(expected), atol=1e-7)


def test_lengths_of_embeddings_and_the_order_of_items_do_not_matter():
    x, _ = collection()
    known = background(x)
    lengths = np.random.default_rng(1).uniform(0.1, 9, (len(x), 1))
    np.testing.assert_allclose(background(x * lengths).without(x), known.without(x), atol=1e-5)
    liked = x[[3, 4, 5]]
    np.testing.assert_allclose(
        combined_query(liked[::-1].copy(), x[[9]], known=known), combined_query(liked, x[[9]], known=known), atol=1e-6
    )


def test_turning_all_embeddings_does_not_change_a_score():
    x, _ = collection()
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]

    def scores(rows):
        known = background(rows)
        return known.without(rows) @ combined_query(rows[:2], rows[30:32], known=known)

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
    ours = precision(x, labels, lambda a, b: known.without(x) @ combined_query(a, b, known=known))
    rocchio = precision(x, labels, lambda a, b: torch.from_numpy(unit_rows(x)).float() @ combined_query(a, b))
    assert ours > 1.2 * rocchio


def test_dislikes_push_their_kind_down():
    x, labels = collection()
    known = background(x)
    z = known.without(x)
    liked, disliked = x[labels == 0][:2], x[labels == 1][:3]
    disliked_too, liked_only = (combined_query(liked, each, known=known) for each in (disliked, None))
    their_kind = z[torch.from_numpy(labels == 1)]
    assert (their_kind @ disliked_too).mean() < (their_kind @ liked_only).mean() - 0.02
    np.testing.assert_array_equal(combined_query(liked, x[:0], known=known), combined_query(liked, known=known))


def test_a_collection_of_equal_items_or_of_one_changes_nothing():
    for rows in (np.ones((5, 3)), np.array([[1.0, 2.0, 2.0]])):
        known = background(rows)
        np.testing.assert_allclose(known.without(rows), unit_rows(rows), atol=1e-6)
        assert torch.isfinite(combined_query(rows[:1], rows[:1], known=known)).all()


def test_likes_that_are_disliked_as_much_leave_no_direction_and_no_nan():
    x, _ = collection()
    assert combined_query(x[:2], x[:2], known=background(x), weight=1).abs().max() < 1e-6


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
        (lambda x: combined_query(x[:0]), "nothing is liked"),
        (lambda x: combined_query(x[:1], weight=-0.1), "weight is -0.1: a number from 0 to 1"),
        (lambda x: combined_query(x[:1], x[:1, :5]), "liked has 12 dimensions but disliked 5"),
        (lambda x: combined_query(x[:1], x[:1, :5], known=background(x)), "disliked has 5 dimensions but the col"),
        (lambda x: combined_query(x[:2] * np.inf, known=background(x)), "liked holds NaN or infinity"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(collection()[0])
