"""Published protocols against literal loops in float64 and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from triune.pairs import listed
from triune.pairs.listed import score_pairs
from triune.recognition import identification
from triune.recognition.identification import open_set_identification
from triune.verification.all_pairs import verify_embeddings
from triune.verification.folds import cross_validated_accuracy
from triune.verification.roc import verify_scores
from triune.verification.templates import pool_templates, verify_templates

METRICS = ["cosine", "euclidean", "squared_euclidean"]


def scored_pairs(seed, pairs=120, folds=4, tied=False):
    g = np.random.default_rng(seed)
    match = g.random(pairs) < 0.5
    scores = g.normal(size=pairs) + match
    fold = np.arange(pairs) % folds
    match[: 2 * folds] = np.arange(2 * folds) < folds  # both kinds in every fold
    return (np.round(scores * 2) / 2 if tied else scores), match, fold


def score(a, b, metric):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if metric == "cosine":
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    distance = np.linalg.norm(a - b)
    return -distance if metric == "euclidean" else -(distance**2)


# ---------------------------------------------------------------- listed pairs in folds


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("tied", [False, True])
def test_folds_equal_the_protocol_written_out(seed, tied):
    scores, match, fold = scored_pairs(seed, tied=tied)
    result = cross_validated_accuracy(scores, match, fold, fprs=(0.1, 0.02))
    accuracies = []
    for f in range(4):
        train, test = fold != f, fold == f
        best, chosen = -1.0, None
        for t in sorted(set(scores[train].tolist()), reverse=True):  # descending, so the first best is the highest
            right = ((scores[train] >= t) == match[train]).mean()
            if right > best + 1e-12:
                best, chosen = right, t
        assert result.thresholds[f] == chosen
        accuracies.append(((scores[test] >= chosen) == match[test]).mean())
        for budget in (0.1, 0.02):
            kept = [t for t in set(scores[train].tolist()) if (scores[train] >= t)[~match[train]].mean() <= budget]
            t = min(kept, default=math.inf)
            rates = result.rates[budget]
            assert rates.thresholds[f] == t
            assert rates.tpr[f] == (scores[test] >= t)[match[test]].mean()
            assert rates.fpr[f] == (scores[test] >= t)[~match[test]].mean()
    np.testing.assert_allclose(result.accuracies, accuracies, atol=1e-15)
    mean = sum(accuracies) / 4
    spread = math.sqrt(sum((a - mean) ** 2 for a in accuracies) / 3)
    assert result.accuracy.mean == pytest.approx(mean)
    assert result.accuracy.standard_error == pytest.approx(spread / 2)
    assert result.rates[0.1].mean_tpr.mean == pytest.approx(result.rates[0.1].tpr.mean())


def test_the_chosen_accuracy_is_the_best_that_scikit_learns_curve_offers():
    scores, match, fold = scored_pairs(3, pairs=600, folds=2)
    result = cross_validated_accuracy(scores, match, fold)
    for f in range(2):
        train = fold != f
        fpr, tpr, _ = roc_curve(match[train], scores[train], drop_intermediate=False)
        best = ((tpr * match[train].sum() + (1 - fpr) * (~match[train]).sum()) / train.sum()).max()
        assert ((scores[train] >= result.thresholds[f]) == match[train]).mean() == pytest.approx(best)


def test_the_held_out_fold_has_no_say_in_its_threshold():
    scores, match, fold = scored_pairs(5)
    before = cross_validated_accuracy(scores, match, fold)
    changed = np.where(fold == 2, -100 * scores, scores)
    after = cross_validated_accuracy(changed, match, fold)
    assert after.thresholds[2] == before.thresholds[2]
    assert after.rates[0.05].thresholds[2] == before.rates[0.05].thresholds[2]
    assert after.accuracies[2] != before.accuracies[2]


def test_folds_keep_their_names_and_the_order_of_the_list():
    scores, match, _ = scored_pairs(0)
    names = np.array(["10", "9", "b", "a"])[np.arange(120) % 4]
    result = cross_validated_accuracy(scores.tolist(), match.tolist(), names.tolist())
    assert result.folds == ("10", "9", "b", "a")
    np.testing.assert_array_equal(
        result.accuracies, cross_validated_accuracy(scores, match, np.arange(120) % 4).accuracies
    )


def test_a_budget_that_too_few_pairs_can_measure_is_said_to_be_unreliable():
    scores, match, fold = scored_pairs(0, pairs=4000)
    result = cross_validated_accuracy(scores, match, fold, fprs=(0.05, 0.001))
    assert result.rates[0.05].reliable
    assert not result.rates[0.001].reliable


def test_folds_that_cannot_be_judged_are_named():
    scores, match, fold = scored_pairs(0)
    with pytest.raises(ValueError, match="at least two are needed"):
        cross_validated_accuracy(scores, match, fold * 0)
    with pytest.raises(ValueError, match="fold 3 has no non-matching pair"):
        cross_validated_accuracy(scores, match | (fold == 3), fold)
    with pytest.raises(ValueError, match="fold 1 has no matching pair"):
        cross_validated_accuracy(scores, match & (fold != 1), fold)
    with pytest.raises(ValueError, match=r"scores\[4\] is NaN"):
        cross_validated_accuracy(np.where(np.arange(120) == 4, np.nan, scores), match, fold)
    with pytest.raises(ValueError, match="folds has 3 entries but scores has 120 rows"):
        cross_validated_accuracy(scores, match, [0, 1, 2])


@pytest.mark.parametrize("metric", METRICS)
def test_listed_pairs_are_scored_as_by_a_loop_whatever_the_block(metric, monkeypatch):
    x = torch.randn(30, 7, generator=torch.Generator().manual_seed(0))
    g = np.random.default_rng(0)
    first, second = g.integers(0, 30, 101), g.integers(0, 30, 101)
    expected = [score(x[i], x[j], metric) for i, j in zip(first, second)]
    monkeypatch.setattr(listed, "CELLS", 70)  # ten pairs a block
    for rows in ((first, second), (torch.as_tensor(first), torch.as_tensor(second))):
        np.testing.assert_allclose(score_pairs(x, *rows, metric), expected, rtol=1e-5, atol=1e-6)


def test_all_pairs_listed_give_the_figures_of_all_pairs():
    g = torch.Generator().manual_seed(1)
    x, labels = torch.randn(40, 8, generator=g), torch.arange(40) % 5
    first, second = torch.triu_indices(40, 40, 1)
    listed = verify_scores(score_pairs(x, first, second), labels[first] == labels[second])
    assert listed.auc == pytest.approx(verify_embeddings(x, labels).auc, abs=1e-6)


def test_scores_of_half_precision_are_float32_and_none_at_all_are_none():
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    half = score_pairs(x.bfloat16(), np.array([0]), np.array([1]))
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(score(x[0].bfloat16().float(), x[1].bfloat16().float(), "cosine"), abs=1e-6)
    assert score_pairs(x, np.array([], int), np.array([], int)).shape == (0,)


def test_rows_that_do_not_exist_are_named():
    x = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"second\[1\] is row 3, but embeddings has rows 0 to 2"):
        score_pairs(x, np.array([0, 1]), np.array([1, 3]))
    with pytest.raises(ValueError, match="first lists 1 rows and second 2"):
        score_pairs(x, np.array([0]), np.array([1, 2]))
    with pytest.raises(ValueError, match="row 1"):
        score_pairs(torch.tensor([[1.0], [math.nan]]), np.array([0]), np.array([0]))


# ---------------------------------------------------------------- templates


def test_templates_are_means_of_means_of_media():
    g = np.random.default_rng(0)
    x, templates, media = g.normal(size=(60, 5)), g.integers(0, 7, 60), g.integers(0, 4, 60)
    pooled, ids = pool_templates(x, templates, media)
    assert ids.tolist() == sorted(set(templates.tolist()))
    for row, t in zip(pooled, ids):
        means = [x[(templates == t) & (media == m)].mean(axis=0) for m in set(media[templates == t].tolist())]
        mean = np.mean(means, axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-12)
    alone, _ = pool_templates(x, templates)
    mean = x[templates == ids[0]].mean(axis=0)
    np.testing.assert_allclose(alone[0], mean / np.linalg.norm(mean), atol=1e-12)


def test_a_long_video_counts_no_more_than_a_photograph():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    pooled, _ = pool_templates(x, ["t"] * 4, [0, 1, 1, 1])
    np.testing.assert_allclose(pooled[0], [math.sqrt(0.5)] * 2, atol=1e-7)


def test_pairs_of_templates_are_scored_by_their_ids():
    g = np.random.default_rng(1)
    x, templates = g.normal(size=(50, 6)), np.array([f"t{i % 12}" for i in range(50)])
    first, second = g.choice(templates, 80), g.choice(templates, 80)
    match = np.arange(80) % 3 == 0
    v = verify_templates(x, templates, first, second, match)
    pooled = {t: x[templates == t].mean(axis=0) for t in set(templates)}
    expected = np.array([score(pooled[a], pooled[b], "cosine") for a, b in zip(first, second)])
    np.testing.assert_allclose(v.match_scores, np.sort(expected[match]), atol=1e-6)
    np.testing.assert_allclose(v.impostor_scores, np.sort(expected[~match]), atol=1e-6)


def test_template_ids_are_exact_beyond_float_precision():
    ids = torch.tensor([2**53, 2**53 + 1, 2**53 + 2])
    v = verify_templates(torch.eye(3), ids, ids[[0, 1]], ids[[0, 2]], [True, False])
    assert v.match_scores.tolist() == [1.0]
    assert v.impostor_scores.tolist() == [0.0]


def test_templates_without_images_or_direction_are_named():
    x = torch.eye(2)
    with pytest.raises(ValueError, match=r"second\[1\] asks for template 9, which no image belongs to"):
        verify_templates(x, [4, 5], [4, 4], [5, 9], [True, False])
    with pytest.raises(ValueError, match="template 'b' cancel out"):
        pool_templates([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], ["a", "b", "b"])
    with pytest.raises(ValueError, match="cannot be equal"):
        verify_templates(x, [4, 5], ["4"], ["5"], [True])


# ---------------------------------------------------------------- open-set identification


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
    monkeypatch.setattr(identification, "CELLS", 17 * 9)  # nine probes a block
    data = open_set(seed, decimals)
    for rank in (1, 3):
        result = open_set_identification(*data, fars=(0.0, 0.1, 0.5, 1.0), rank=rank, metric=metric)
        for point in result.points:
            assert point.dir == pytest.approx(dir_at_far(*data, point.target_far, rank, metric), abs=1e-12)
            assert point.far <= point.target_far
            assert result.at(point.target_far, rank) == point


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
