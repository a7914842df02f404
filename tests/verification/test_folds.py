"""Pairs in folds against the protocol written out, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from triune.verification.folds import cross_validated_accuracy


def scored_pairs(seed, pairs=120, folds=4, tied=False):
    g = np.random.default_rng(seed)
    match = g.random(pairs) < 0.5
    scores = g.normal(size=pairs) + match
    fold = np.arange(pairs) % folds
    match[: 2 * folds] = np.arange(2 * folds) < folds  # both kinds in every fold
    return (np.round(scores * 2) / 2 if tied else scores), match, fold


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
