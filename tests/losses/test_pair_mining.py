"""Batch easy-hard and pair-margin mining against loops and against pytorch-metric-learning."""

from itertools import product

import numpy as np
import pytest
import torch
from pytorch_metric_learning import miners as peer

from losses.pair_cases import batch, tied
from oracles import brute_distance, listed_pairs, positives_and_negatives
from triune import losses as ours
from triune.distances.embeddings import unit

PARTNERS = ["easy", "semihard", "hard", "all"]
ALLOWED = [
    (p, n)
    for p, n in product(PARTNERS, PARTNERS)
    if not (p == n == "semihard" or ("all" in (p, n) and "semihard" in (p, n)))
]


def as_set(first, second):
    return set(zip(first.tolist(), second.tolist()))


def brute_easy_hard(d, P, N, positive, negative, p_range=(-np.inf, np.inf), n_range=(-np.inf, np.inf)):
    """(matching pairs, others) as lists, by a loop over anchors; the first of equal distances is taken."""

    def pick(columns, choice, a, than=None):
        if than is not None:
            columns = [c for c in columns if (d[a, c] < than if choice[0] == "positive" else d[a, c] > than)]
        closest = choice in (("positive", "easy"), ("negative", "hard"), ("negative", "semihard"))
        return min(columns, key=lambda c: (d[a, c] if closest else -d[a, c], c), default=None)

    matching, others = [], []
    for a in range(len(d)):
        p_in = [p for p in P[a] if p_range[0] <= d[a, p] <= p_range[1]]
        n_in = [n for n in N[a] if n_range[0] <= d[a, n] <= n_range[1]]
        p = n = None
        if positive == "semihard":
            n = pick(n_in, ("negative", negative), a)
            p = None if n is None else pick(p_in, ("positive", positive), a, d[a, n])
        else:
            p = None if positive == "all" else pick(p_in, ("positive", positive), a)
            if negative != "all":
                than = d[a, p] if negative == "semihard" and p is not None else None
                n = None if negative == "semihard" and p is None else pick(n_in, ("negative", negative), a, than)
        if "all" not in (positive, negative):
            if p is not None and n is not None:
                matching.append((a, p))
                others.append((a, n))
            continue
        matching += [(a, q) for q in P[a]] if positive == "all" else [(a, p)] * (p is not None)
        others += [(a, m) for m in N[a]] if negative == "all" else [(a, n)] * (n is not None)
    return matching, others


@pytest.mark.parametrize(("positive", "negative"), ALLOWED)
@pytest.mark.parametrize("make", [batch, tied], ids=["random", "tied"])
def test_easy_hard_pairs_are_those_of_a_loop(positive, negative, make):
    for seed in range(4):
        x, y = make(seed)
        found = ours.easy_hard_pairs(x, y, positive=positive, negative=negative)
        d = brute_distance(x.numpy(), x.numpy(), "euclidean")
        matching, others = brute_easy_hard(d, *positives_and_negatives(y), positive, negative)
        assert list(zip(found.anchor.tolist(), found.positive.tolist())) == matching
        assert list(zip(found.negative_anchor.tolist(), found.negative.tolist())) == others


@pytest.mark.parametrize(("positive", "negative"), ALLOWED)
def test_a_reference_own_rows_and_ranges_are_those_of_a_loop(positive, negative):
    (x, y), (r, other) = batch(3, n=8), batch(4, n=17)
    own = torch.tensor([2, -1, 4, 0, -1, 6, 1, 9])
    d = brute_distance(x.numpy(), r.numpy(), "squared_euclidean")
    ranges = (float(np.quantile(d, 0.2)), float(np.quantile(d, 0.8))), (float(np.quantile(d, 0.3)), np.inf)
    found = ours.easy_hard_pairs(
        x, y, positive=positive, negative=negative, positive_range=ranges[0], negative_range=ranges[1],
        metric="squared_euclidean", reference=r, reference_labels=other, own_rows=own,
    )  # fmt: skip
    lists = positives_and_negatives(y, other, own.tolist())
    matching, others = brute_easy_hard(d, *lists, positive, negative, *ranges)
    assert list(zip(found.anchor.tolist(), found.positive.tolist())) == matching
    assert list(zip(found.negative_anchor.tolist(), found.negative.tolist())) == others


@pytest.mark.parametrize(("positive", "negative"), ALLOWED)
def test_easy_hard_pairs_equal_the_peer(positive, negative):
    for seed, (low, high) in enumerate([(None, None), ((0.3, 1.3), (0.5, 1.5))]):
        x, y = batch(seed, n=20)
        found = ours.BatchEasyHardMiner(positive, negative, low, high)(x, y)
        theirs = peer.BatchEasyHardMiner(positive, negative, low, high)(x, y)
        assert as_set(*found[:2]) == as_set(*theirs[:2])
        assert as_set(*found[2:]) == as_set(*theirs[2:])


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
def test_pair_margin_pairs_are_those_of_a_loop(metric):
    for seed in range(4):
        (x, y), (r, other) = tied(seed), tied(seed + 9)
        d = brute_distance(x.numpy(), r.numpy(), metric)
        P, N = positives_and_negatives(y, other)
        far = {a: [p for p in P[a] if d[a, p] > 1.0] for a in P}
        near = {a: [n for n in N[a] if d[a, n] < 1.5] for a in N}
        found = ours.pair_margin_pairs(
            x, y, positive_margin=1.0, negative_margin=1.5, metric=metric, reference=r, reference_labels=other
        )
        for a, b in zip(found, listed_pairs(far) + listed_pairs(near)):
            assert torch.equal(a, b)


def test_pair_margin_pairs_equal_the_peer():
    for seed in range(4):
        x, y = batch(seed, n=20)
        found = ours.PairMarginMiner(0.6, 1.1)(x, y)
        theirs = peer.PairMarginMiner(0.6, 1.1)(x, y)
        assert as_set(*found[:2]) == as_set(*theirs[:2])
        assert as_set(*found[2:]) == as_set(*theirs[2:])
        assert len(found.anchor)
        assert len(found.negative)


def test_easy_positives_let_a_class_keep_two_clusters():
    """Of two far clusters of a class easy positives pull within each, hard ones pull the two together."""
    x = unit(torch.tensor([[1.0, 0.1], [1.0, 0.0], [-1.0, 0.1], [-1.0, 0.0], [0.0, 1.0]]))
    y = [0, 0, 0, 0, 1]
    easy = ours.BatchEasyHardMiner("easy", "hard")(x, y)
    hard = ours.BatchEasyHardMiner("hard", "hard")(x, y)
    assert easy.positive.tolist() == [1, 0, 3, 2]
    assert all((a < 2) != (p < 2) for a, p in as_set(*hard[:2]))


def test_choices_that_are_unknown_or_measured_by_nothing_are_refused():
    with pytest.raises(ValueError, match="positive is 'soft'; known are 'easy', 'semihard', 'hard', 'all'"):
        ours.BatchEasyHardMiner("soft")
    for positive, negative in [("semihard", "semihard"), ("all", "semihard"), ("semihard", "all")]:
        with pytest.raises(ValueError, match="semi-hard is measured by the other partner"):
            ours.easy_hard_pairs(*batch(), positive=positive, negative=negative)
    with pytest.raises(ValueError, match="metric is 'l2'"):
        ours.PairMarginMiner(metric="l2")
    with pytest.raises(ValueError, match="metric is 'l2'"):
        ours.BatchEasyHardMiner(metric="l2")
    for bounds in ((1.0, 0.0), 1.0, (0.0,), (0.0, float("nan")), ("a", "b")):
        with pytest.raises(ValueError, match=r"negative_range is .*give .low, high."):
            ours.BatchEasyHardMiner(negative_range=bounds)
    for margin in (float("nan"), None, "0.5"):
        with pytest.raises(ValueError, match=r"negative_margin is .*; give a number"):
            ours.PairMarginMiner(negative_margin=margin)
    with pytest.raises(ValueError, match="epsilon is nan; give a number"):
        ours.MultiSimilarityMiner(float("nan"))


def test_a_reference_without_rows_gives_no_pair():
    x, y = batch()
    for mine in (ours.easy_hard_pairs, ours.pair_margin_pairs):
        assert [len(column) for column in mine(x, y, reference=x[:0], reference_labels=y[:0])] == [0, 0, 0, 0]
