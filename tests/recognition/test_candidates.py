"""The best identities of each probe, against loops."""

import numpy as np
import pytest

from examples import score
from triune.parallel import blocks
from triune.recognition.candidates import best_identities


def people(seed, decimals=None):
    """Nine probes, and a gallery of seven identities with one to five rows each, in no order."""
    g = np.random.default_rng(seed)
    gallery, probes = g.normal(size=(20, 4)), g.normal(size=(9, 4))
    names = np.array(["ann", "bo", "cy", "di", "ed", "flo", "gus"])[
        np.concatenate([np.arange(7), g.integers(0, 7, 13)])
    ]
    order = g.permutation(20)
    if decimals is not None:
        probes, gallery = probes.round(decimals), gallery.round(decimals)
    return probes, gallery[order], names[order]


def word_for_word(probe, gallery, names, k, metric, left_out=None):
    """The best row of each identity, then the k best of these; of equal ones the lower row."""
    best = {}
    for row, name in enumerate(names):
        value = round(score(probe, gallery[row], metric), 5)
        if name != left_out and value > best.get(name, (-np.inf, 0))[0]:
            best[name] = (value, row)
    return [row for _, row in sorted(best.values(), key=lambda each: (-each[0], each[1]))[:k]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("left_out", [False, True])
def test_they_are_those_of_the_definition(metric, decimals, left_out, monkeypatch):
    if metric == "cosine" and decimals == 0:
        pytest.skip("cosines of whole numbers tie but for rounding")
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 20 * 3, raising=False)  # three probes a block
    probes, gallery, names = people(3, decimals)
    own = names[:9] if left_out else None
    found = best_identities(probes, gallery, names, k=3, metric=metric, leave_out=own)
    for place, probe in enumerate(probes):
        rows = word_for_word(probe, gallery, names, 3, metric, names[place] if left_out else None)
        assert found.rows[place].tolist() == rows
        expected = [score(probe, gallery[row], metric) for row in rows]
        np.testing.assert_allclose(found.scores[place], expected, atol=1e-5)


def test_where_there_are_fewer_identities_than_asked_for_the_rest_is_empty():
    found = best_identities(np.eye(3), np.eye(3)[[0, 0, 1]], ["a", "a", "b"], k=3)
    assert found.rows.tolist() == [[0, 2, -1], [2, 0, -1], [0, 2, -1]]
    assert found.scores[:, 2].tolist() == [-np.inf] * 3
    alone = best_identities(np.eye(3), np.eye(3)[[0, 0]], ["a", "a"], k=2, leave_out=["a", "b", "zoe"])
    assert alone.rows.tolist() == [[-1, -1], [0, -1], [0, -1]]


def test_no_probe_gives_no_answer():
    found = best_identities(np.zeros((0, 3)), np.eye(3), ["a", "b", "c"])
    assert found.scores.shape == found.rows.shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery": np.zeros((0, 4)), "identities": []}, "nobody is enrolled"),
        ({"identities": ["a"]}, "identities has 1 entries but gallery has 20 rows"),
        ({"leave_out": ["ann"]}, "leave_out has 1 entries but probes has 9 rows"),
        ({"probes": np.ones((2, 3))}, "queries have 3 dimensions but the gallery 4"),
        ({"probes": np.full((2, 4), np.nan)}, "queries holds NaN"),
        ({"k": 0}, "k is 0: at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(change, message):
    probes, gallery, names = people(0)
    with pytest.raises(ValueError, match=message):
        best_identities(**{"probes": probes, "gallery": gallery, "identities": names} | change)
