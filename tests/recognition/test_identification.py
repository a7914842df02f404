"""Open-set identification against its definition, word for word."""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from examples import count_preparations, score
from triune.pairs.prepared import prepare
from triune.parallel import blocks
from triune.recognition.identification import OpenSetIdentification, open_set_identification


def open_set(seed, decimals=None):
    """Probes of identities 0-11 of which 0-7 are enrolled, some several times; rounded, there are many ties."""
    g = np.random.default_rng(seed)
    centres = g.normal(size=(12, 4))
    probe_labels = g.integers(0, 12, 70)
    gallery_labels = np.concatenate([np.arange(8), g.integers(0, 8, 9)])
    g.shuffle(gallery_labels)
    probes = centres[probe_labels] + 0.8 * g.normal(size=(70, 4))
    gallery = centres[gallery_labels] + 0.8 * g.normal(size=(17, 4))
    if decimals is not None:
        probes, gallery = probes.round(decimals), gallery.round(decimals)
    return probes, probe_labels, gallery, gallery_labels


def dir_at_far(probes, probe_labels, gallery, gallery_labels, far, rank, metric):
    """Word for word: the best DIR of all thresholds whose FAR keeps the budget."""
    per_identity = []
    for p in probes:
        scores = {}
        for row, label in zip(gallery, gallery_labels.tolist()):
            scores[label] = max(scores.get(label, -math.inf), round(score(p, row, metric), 9))
        per_identity.append(scores)
    mated = [label in per_identity[0] for label in probe_labels.tolist()]
    thresholds = [*{s for scores in per_identity for s in scores.values()}, math.inf]
    best = 0.0
    for t in thresholds:
        alarms = [max(s.values()) >= t for s, m in zip(per_identity, mated) if not m]
        if sum(alarms) / len(alarms) > far:
            continue
        found = []
        for s, label, m in zip(per_identity, probe_labels.tolist(), mated):
            if m:
                ahead = sum(other >= s[label] for name, other in s.items() if name != label)
                found.append(ahead < rank and s[label] >= t)
        best = max(best, sum(found) / len(found))
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("metric", "decimals"),
    # Of whole numbers, squared distances tie exactly (and cosines do not, in float64).
    [("cosine", None), ("euclidean", None), ("euclidean", 0), ("squared_euclidean", None), ("squared_euclidean", 0)],
)
def test_dir_at_far_equals_the_definition(seed, metric, decimals, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 17 * 9)  # nine probes a block
    data = open_set(seed, decimals)
    for rank in (1, 3):
        result = open_set_identification(*data, fars=(0.0, 0.1, 0.5, 1.0), rank=rank, metric=metric)
        for point in result.points:
            assert point.dir == pytest.approx(dir_at_far(*data, point.target_far, rank, metric), abs=1e-12)
            assert point.far <= point.target_far
            assert result.at(point.target_far, rank) == point


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_each_mated_probe_has_the_score_and_the_rank_of_its_identity_in_the_order_given(metric):
    probes, probe_labels, gallery, gallery_labels = open_set(5)
    result = open_set_identification(probes, probe_labels, gallery, gallery_labels, metric=metric)
    mates, ranks, alarms = [], [], []
    for probe, label in zip(probes, probe_labels):
        best = {
            identity: max(score(probe, row, metric) for row in gallery[gallery_labels == identity])
            for identity in set(gallery_labels)
        }
        if label in best:
            mates.append(best[label])
            ranks.append(sum(other >= best[label] for other in best.values()))
        else:
            alarms.append(max(best.values()))
    np.testing.assert_allclose(result.mate_scores, mates, rtol=1e-5, atol=1e-6)
    assert result.mate_ranks.tolist() == ranks
    np.testing.assert_allclose(result.alarm_scores, sorted(alarms), rtol=1e-5, atol=1e-6)
    assert result.mate_scores.dtype == result.alarm_scores.dtype == np.float32


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_prepared_embeddings_give_the_same_and_are_not_prepared_again(metric, monkeypatch):
    probes, probe_labels, gallery, gallery_labels = open_set(3)
    names = [f"id{i}" for i in probe_labels], [f"id{i}" for i in gallery_labels]
    expected = open_set_identification(probes, names[0], gallery, names[1], metric=metric)
    prepared = prepare(probes, names[0], metric=metric), prepare(gallery, names[1], metric=metric)
    steps = count_preparations(monkeypatch)
    found = open_set_identification(prepared[0], None, prepared[1])
    assert steps == []
    assert found.points == expected.points
    for name in ("mate_scores", "mate_ranks", "alarm_scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    open_set_identification(probes, names[0], prepared[1], metric=metric)
    assert steps == ["_prepare", "check_finite", "sorted_rows"]


def test_a_gallery_of_one_row_an_identity_in_any_order():
    probes, probe_labels, gallery, gallery_labels = open_set(9)
    rows = np.array([np.flatnonzero(gallery_labels == i)[0] for i in (5, 2, 7, 0, 1, 6, 4, 3)])
    data = probes, probe_labels, gallery[rows], gallery_labels[rows]
    result = open_set_identification(*data, fars=(0.2,))
    assert result.points[0].dir == pytest.approx(dir_at_far(*data, 0.2, 1, "cosine"))
    named = open_set_identification(
        probes, [f"id{i}" for i in probe_labels], gallery[rows], [f"id{i}" for i in gallery_labels[rows]], fars=(0.2,)
    )
    assert named.points == result.points


def test_an_identity_of_equal_score_goes_before_the_mate():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    probes = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    result = open_set_identification(probes, [0, 9], gallery, [0, 1, 2], fars=(0.0,))
    assert result.mate_ranks.tolist() == [2]
    assert result.points[0].dir == 0.0
    assert result.at(0.0, rank=2).dir == 1.0


def test_alarms_of_equal_score_are_raised_together():
    gallery, probes = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]] * 3)
    result = open_set_identification(probes, [0, 8, 9], gallery, [0], fars=(0.5,))
    assert result.points[0].threshold == math.inf
    assert result.points[0].dir == 0.0
    assert result.points[0].far == 0.0
    assert not result.points[0].reliable
    assert "1.0 false alarms are expected of 2" in result.points[0].reason


def test_the_cmc_counts_mated_probes_by_rank():
    result = open_set_identification(*open_set(2))
    curve = result.cmc(8)
    assert curve.tolist() == [sum(r <= k for r in result.mate_ranks.tolist()) / result.mated for k in range(1, 9)]
    assert curve[-1] == 1.0  # eight identities are enrolled
    assert result.mated + result.non_mated == 70


def test_a_deep_cmc_takes_memory_for_its_probes_and_ranks_and_not_for_their_product():
    probes, depth = 20_000, 10_000
    ranks = np.arange(probes) % depth + 1
    result = OpenSetIdentification((), 1, np.zeros(probes, np.float32), ranks, np.zeros(1, np.float32))
    tracemalloc.start()
    try:
        curve = result.cmc(depth)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(curve, np.arange(1, depth + 1) / depth)
    assert peak < probes * depth / 10  # a tenth of a byte for each probe and rank; it took one


def test_probes_of_one_kind_only_cannot_be_judged():
    x = torch.eye(2)
    with pytest.raises(ValueError, match="no probe's identity is in the gallery"):
        open_set_identification(x, [0, 1], x, [2, 3])
    with pytest.raises(ValueError, match="every probe's identity is in the gallery"):
        open_set_identification(x, [0, 1], x, [0, 1])
    with pytest.raises(ValueError, match="ranks start at 1"):
        open_set_identification(x, [0, 1], x, [0, 2], rank=0)
    with pytest.raises(ValueError, match="gallery holds NaN"):
        open_set_identification(x, [0, 1], x * math.nan, [0, 2])
    with pytest.raises(ValueError, match="probe_labels has 1 entries but probes has 2 rows"):
        open_set_identification(x, [0], x, [0, 2])
    with pytest.raises(ValueError, match="gallery_labels is missing"):
        open_set_identification(x, [0, 1], x)
    with pytest.raises(ValueError, match="probes have 2 dimensions but the gallery 3"):
        open_set_identification(x, [0, 1], torch.eye(3), [0, 2, 3])
    with pytest.raises(ValueError, match="ranks start at 1"):
        open_set_identification(x, [0, 1], x, [0, 2]).cmc(0)
