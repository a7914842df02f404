"""Likely wrong labels: planted ones are found, as surely as is said, and nothing is said where nothing can be told."""

import numpy as np
import pytest
import torch

from examples import sample, score
from triune.pairs.prepared import prepare
from triune.recognition.label_errors import likely_label_errors


def planted(identities, items, share, *, noise=0.5, seed=0):
    """Embeddings, labels of which a share is wrong, and which are."""
    x, y = sample(identities, items, dims=16, noise=noise, seed=seed)
    g = np.random.default_rng(seed + 100)
    wrong = np.zeros(len(y), dtype=bool)
    wrong[g.choice(len(y), round(share * len(y)), replace=False)] = True
    given = np.where(wrong, (y + g.integers(1, identities, len(y))) % identities, y)
    return x, given, wrong, y


def margins_one_by_one(x, y, neighbours, metric):
    """The margins by their definition."""
    found = []
    for i in range(len(x)):
        closeness = {}
        own = int((y == y[i]).sum()) - 1
        for label in np.unique(y):
            scores = sorted((score(x[i], x[j], metric) for j in np.flatnonzero(y == label) if j != i), reverse=True)
            kept = scores[: min(neighbours, own)]
            closeness[label] = np.mean(kept) if kept else -np.inf
        other = max((label for label in closeness if label != y[i]), key=closeness.get)
        found.append((closeness[other] - closeness[y[i]], other) if own else (np.nan, other))
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_margins_are_those_of_the_definition(metric):
    x, y = sample(5, 6, noise=1.0, seed=1)
    y[:3] = [7, 8, 8]  # labels of one and of two items
    found = likely_label_errors(x, y, neighbours=3, metric=metric)
    expected = margins_one_by_one(x, y, 3, metric)
    np.testing.assert_allclose(found.margin, [margin for margin, _ in expected], atol=1e-4)
    told = np.isfinite(found.margin)
    assert (y[found.other][told] == np.array([other for _, other in expected])[told]).all()
    assert found.told == len(x) - 1
    assert np.isnan(found.probability[0])


def test_planted_wrong_labels_are_found_and_their_right_label_is_named():
    x, y, wrong, true = planted(20, 30, 0.02)
    found = likely_label_errors(x, y)
    named = found.probability >= 0.5
    assert (named & wrong).sum() >= 0.9 * wrong.sum()
    assert (named & wrong).sum() >= 0.9 * named.sum()
    assert (y[found.other][named & wrong] == true[named & wrong]).mean() > 0.9
    assert found.share == pytest.approx(0.02, abs=0.01)
    assert found.fitting > 0.9


@pytest.mark.parametrize(("share", "noise"), [(0.02, 0.5), (0.1, 0.5), (0.05, 0.9)])
def test_so_many_are_wrong_as_the_probabilities_say(share, noise):
    expected = actual = 0.0
    for seed in range(6):
        x, y, wrong, _ = planted(20, 30, share, noise=noise, seed=seed)
        found = likely_label_errors(x, y)
        expected += found.probability[found.probability >= 0.2].sum()
        actual += wrong[found.probability >= 0.2].sum()
    assert actual > 50
    assert expected == pytest.approx(actual, rel=0.25)


def test_of_right_labels_hardly_any_is_called_wrong():
    x, y = sample(20, 30, dims=16, noise=0.5, seed=3)
    assert (likely_label_errors(x, y).probability >= 0.5).mean() <= 0.002


def test_a_whole_folder_of_wrong_labels_agrees_with_itself_and_is_not_found():
    x, y = sample(10, 20, dims=16, noise=0.3, seed=4)
    y[y == 3] = 99
    assert (likely_label_errors(x, y).probability < 0.5).all()


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, [f"item {label}" for label in y]),
        lambda x, y: (torch.from_numpy(x), torch.from_numpy(y)),
        lambda x, y: (prepare(x, np.zeros(len(x), int)), y + 2**40),
        lambda x, y: (x.astype(np.float16), y),
    ],
)
def test_embeddings_and_labels_of_any_kind_say_the_same(form):
    x, y, _, _ = planted(8, 20, 0.05)
    x = x.astype(np.float16).astype(np.float32)
    one, other = likely_label_errors(x, y), likely_label_errors(*form(x, y))
    np.testing.assert_allclose(other.margin, one.margin, atol=1e-5)


def test_equal_embeddings_and_few_items_give_numbers():
    found = likely_label_errors(np.ones((6, 3)), [0, 0, 0, 1, 1, 1])
    assert found.probability.tolist() == [0] * 6
    assert likely_label_errors(np.eye(3), ["a", "a", "b"]).told == 2


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("x", [np.zeros((80, 4)), np.full((80, 300), 0.3), np.tile([[0.1], [-7.0]], (40, 1))])
def test_neighbours_that_are_tied_tell_nothing(x, metric):
    found = likely_label_errors(x, np.repeat([0, 1], 40), metric=metric)
    assert found.probability.tolist() == [0] * 80
    assert (found.share, found.tied, found.told) == (0, 80, 80)


def test_of_one_dimension_the_cosine_tells_nothing_but_the_sign():
    x = np.random.default_rng(0).uniform(0.1, 9, (80, 1))
    assert likely_label_errors(x, np.repeat([0, 1], 40)).tied == 80
    x[40:] *= -1
    x[3] *= -1
    found = likely_label_errors(x, np.repeat([0, 1], 40))
    assert np.flatnonzero(found.probability >= 0.5).tolist() == [3]
    assert found.tied == 0


def test_copies_under_two_labels_in_equal_numbers_are_not_held_against_either():
    x, y = np.repeat(np.eye(3), [6, 20, 20], axis=0), np.repeat([0, 1, 0, 1], [3, 3, 20, 20])
    assert likely_label_errors(x, y).margin[:6].tolist() == [0] * 6  # not 1/3, of three copies against two


def test_ties_take_nothing_from_what_is_found_beside_them():
    x, y, wrong, _ = planted(20, 30, 0.02)
    x, y = np.vstack([x, np.zeros((40, 16))]), np.concatenate([y, np.repeat([0, 1], 20)])
    found = likely_label_errors(x, y)
    named = found.probability[:600] >= 0.5
    assert (named & wrong).sum() >= 0.9 * wrong.sum()
    assert found.tied == 40
    assert (found.probability[600:] == 0).all()


@pytest.mark.parametrize(
    ("x", "y", "options", "said"),
    [
        (np.eye(3), [0, 0, 0], {}, "all 3 items have the same label"),
        (np.eye(3), [0, 1, 2], {}, "each of the 3 items has a label of its own"),
        (np.eye(3), [0, 1], {}, "labels has 2 entries but embeddings has 3 rows"),
        (np.eye(3), ["a", "a", None], {}, "row 2"),
        (np.array([[1, np.nan], [1, 2]]), [0, 0], {}, "NaN or infinity in 1 of 2 rows"),
        (np.eye(3), [0, 0, 1], {"neighbours": 0}, "neighbours is 0"),
        (np.empty((0, 3)), [], {}, "0 items"),
    ],
)
def test_what_cannot_be_compared_is_said(x, y, options, said):
    with pytest.raises(ValueError, match=said):
        likely_label_errors(x, y, **options)
