"""Mining against the cube of all triplets: random, tied and degenerate batches, reference sets, gaps; the miner."""

import numpy as np
import pytest
import torch

from oracles import brute_distance, brute_triplets, tied_batch
from triune.distances.embeddings import unit
from triune.distances.pairwise import pairwise_distance
from triune.losses import mining as module
from triune.losses.mining import TripletMiner, as_triplets, mine_triplets

STRATEGIES = ("all", "hard", "batch_hard", "semihard")
METRICS = ("euclidean", "squared_euclidean", "cosine")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
GAPS = (None, (0.0, 0.5), (-np.inf, 0.0), (0.5, np.inf), (-1.0, 1.0))
strategies = pytest.mark.parametrize("strategy", STRATEGIES)


def as_list(mined):
    return torch.stack(list(mined), 1).tolist()


@strategies
def test_a_thousand_tied_batches_equal_brute_force(strategy):
    """Integer coordinates force ties; every metric, two margins, every dtype and several gaps take their turn."""
    rng = np.random.default_rng(0)
    for trial in range(1000):
        metric, margin = METRICS[trial % 3], (0.2, 1.0)[trial // 3 % 2]
        gap, dtype = GAPS[trial % 5], DTYPES[trial % 7 % 4]
        x, labels = tied_batch(rng, metric)
        expected = brute_triplets(brute_distance_fast(x, metric), labels, strategy, margin, gap)
        mined = mine_triplets(torch.tensor(x, dtype=dtype), labels, strategy, metric=metric, margin=margin, gap=gap)
        np.testing.assert_array_equal(torch.stack(list(mined), 1), expected, f"{trial} {metric} {margin} {gap} {dtype}")


def brute_distance_fast(x, metric):
    """brute_distance without its Python loop; equal to it on the exactly representable batches used here."""
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    if metric == "cosine":
        length = np.sqrt((x**2).sum(1))
        return 1 - (x @ x.T) / (length[:, None] * length)
    return np.sqrt(squared) if metric == "euclidean" else squared


@strategies
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_batches_equal_brute_force(strategy, metric, dtype):
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(3)).to(dtype)
    labels = np.random.default_rng(3).integers(0, 6, 30)
    expected = brute_triplets(brute_distance(x.double().numpy(), x.double().numpy(), metric), labels, strategy, 0.5)
    assert as_list(mine_triplets(x, labels, strategy, metric=metric, margin=0.5)) == expected.tolist()


@strategies
@pytest.mark.parametrize("gap", GAPS)
def test_a_reference_set_supplies_positives_and_negatives(strategy, gap):
    rng = np.random.default_rng(4)
    for _ in range(20):
        x, y = rng.integers(-3, 4, (9, 3)).astype(float), rng.integers(-3, 4, (40, 3)).astype(float)
        labels, others = rng.integers(0, 4, 9), rng.integers(0, 6, 40)
        own = np.where(rng.random(9) < 0.5, rng.permutation(40)[:9], -1)
        d = brute_distance(x, y, "euclidean")
        for own_rows in (None, own):
            expected = brute_triplets(d, labels, strategy, 1.0, gap, others, own_rows)
            mined = mine_triplets(
                x, labels, strategy, margin=1.0, gap=gap, reference=y, reference_labels=others,
                own_rows=None if own_rows is None else torch.tensor(own_rows),
            )  # fmt: skip
            assert as_list(mined) == expected.tolist()


@strategies
def test_the_same_tensor_as_reference_is_the_batch_itself(strategy):
    x, labels = torch.randn(12, 3), torch.arange(12) % 4
    alone = mine_triplets(x, labels, strategy)
    assert as_list(mine_triplets(x, labels, strategy, reference=x, reference_labels=labels)) == as_list(alone)
    copy = mine_triplets(x, labels, strategy, reference=x.clone(), reference_labels=labels)
    if strategy in ("all", "hard"):  # the other two pass over a positive at distance 0
        assert (copy.anchor == copy.positive).any()


@strategies
def test_small_blocks_give_the_same_triplets(strategy, monkeypatch):
    x, labels = torch.randn(50, 3), torch.arange(50) % 7
    for gap in (None, (0.0, 0.3)):
        whole = mine_triplets(x, labels, strategy, gap=gap)
        monkeypatch.setattr(module, "BLOCK_CELLS", 120)
        assert as_list(mine_triplets(x, labels, strategy, gap=gap)) == as_list(whole)
        monkeypatch.undo()


@pytest.mark.parametrize("strategy", [*STRATEGIES, "random"])
@pytest.mark.parametrize(
    ("count", "labels"),
    [(0, []), (1, [5]), (6, [2] * 6), (6, range(6)), (2, [0, 1])],
    ids=["empty", "one item", "one class", "all singletons", "two singletons"],
)
def test_batches_without_triplets_give_empty_lists(strategy, count, labels):
    mined = mine_triplets(torch.randn(count, 4), list(labels), strategy)
    assert all(column.shape == (0,) and column.dtype == torch.int64 for column in mined)


def test_a_singleton_never_is_its_own_positive():
    mined = mine_triplets(torch.randn(5, 3), ["a", "b", "b", "c", "c"], "hard")
    assert 0 not in mined.anchor
    assert 0 not in mined.positive


def test_random_draws_one_valid_negative_a_pair_uniformly_and_repeatably():
    labels = torch.tensor([0, 1, 0, 2, 1, 3, 0])
    x = torch.randn(7, 2)
    pairs = sorted({(a, p) for a, p, _ in brute_triplets(np.zeros((7, 7)), labels.numpy(), "all").tolist()})
    generator = torch.Generator().manual_seed(0)
    counts = np.zeros((7, 7))
    for _ in range(400):
        mined = mine_triplets(x, labels, "random", generator=generator)
        assert list(zip(mined.anchor.tolist(), mined.positive.tolist())) == pairs
        assert (labels[mined.anchor] != labels[mined.negative]).all()
        np.add.at(counts, (mined.anchor.numpy(), mined.negative.numpy()), 1)
    for anchor in (0, 1):
        drawn = counts[anchor][labels.numpy() != labels[anchor].item()]
        np.testing.assert_allclose(drawn / drawn.sum(), 1 / len(drawn), atol=0.04)
    first, second = (mine_triplets(x, labels, "random", generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert as_list(first) == as_list(second)


def test_random_is_valid_on_a_thousand_tied_batches():
    rng = np.random.default_rng(2)
    for trial in range(1000):
        x, labels = tied_batch(rng, METRICS[trial % 3])
        mined = mine_triplets(torch.tensor(x, dtype=DTYPES[trial % 4]), labels, "random", metric=METRICS[trial % 3])
        same = labels[:, None] == labels
        pairs = np.argwhere(same & ~np.eye(len(x), dtype=bool) & ~same.all(1, keepdims=True))  # of who has a negative
        np.testing.assert_array_equal(torch.stack(list(mined)[:2], 1), pairs)
        assert (labels[mined.anchor] != labels[mined.negative]).all()


def test_random_respects_the_gap():
    x, labels = torch.randn(40, 2), torch.arange(40) % 5
    mined = mine_triplets(x, labels, "random", gap=(0.0, 0.5))
    d = pairwise_distance(x)
    difference = d[mined.anchor, mined.negative] - d[mined.anchor, mined.positive]
    assert ((difference > -1e-6) & (difference < 0.5 + 1e-6)).all()
    assert len(mined.anchor) > 0


def test_semihard_without_a_margin_takes_the_closest_negative_beyond_the_positive():
    x = torch.tensor([[0.0], [1.0], [0.5], [9.0]])
    assert as_list(mine_triplets(x, [0, 0, 1, 2], "semihard", margin="soft"))[0] == [0, 1, 3]


def test_large_integer_labels_stay_apart():
    x = torch.tensor([[0.0], [1.0], [2.0]])
    assert as_list(mine_triplets(x, [2**24, 2**24, 2**24 + 1], "all")) == [[0, 1, 2], [1, 0, 2]]


def test_mining_sees_no_gradient_and_refuses_nan():
    x = torch.randn(6, 3, requires_grad=True)
    assert not any(column.requires_grad for column in mine_triplets(x, [0, 0, 1, 1, 2, 2]))
    bad = x.detach().clone()
    bad[3] = float("nan")
    with pytest.raises(ValueError, match=r"row 3"):
        mine_triplets(bad, [0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match=r"reference holds .*\(row 3\)"):
        mine_triplets(x, [0, 0, 1, 1, 2, 2], reference=bad, reference_labels=[0, 0, 1, 1, 2, 2])


def test_errors_say_the_way_out():
    x, labels = torch.randn(4, 3), [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"mining strategy is 'easy'; known are 'all', 'hard'"):
        mine_triplets(x, labels, "easy")
    with pytest.raises(ValueError, match=r"labels has 3 entries but embeddings has 4 rows"):
        mine_triplets(x, labels[:3])
    with pytest.raises(ValueError, match=r"reference is given without reference_labels"):
        mine_triplets(x, labels, reference=x)
    with pytest.raises(ValueError, match=r"gap is \(1, 0\)"):
        mine_triplets(x, labels, gap=(1, 0))
    with pytest.raises(ValueError, match=r"margin is -1"):
        mine_triplets(x, labels, margin=-1)
    with pytest.raises(ValueError, match=r"use one kind of label"):
        mine_triplets(x, labels, reference=x.clone(), reference_labels=list("abcd"))
    with pytest.raises(ValueError, match=r"3 wide but the reference is 2 wide"):
        mine_triplets(x, labels, reference=torch.randn(2, 2), reference_labels=[0, 1])


@strategies
def test_a_reference_a_hundred_times_the_batch_is_mined_in_blocks(strategy):
    """20 anchors against 2,000 rows: the kernels, and plain torch in float64, agree with the cube a few at a time."""
    rng = np.random.default_rng(6)
    x, y = rng.integers(-9, 10, (20, 3)).astype(np.float32), rng.integers(-9, 10, (2000, 3)).astype(np.float32)
    labels, others = rng.integers(0, 400, 20), rng.integers(0, 400, 2000)
    d = np.sqrt(((x[:, None].astype(float) - y[None]) ** 2).sum(2))
    expected = [
        [row, p, n]
        for row in range(20)
        for _, p, n in brute_triplets(d[row : row + 1], labels[row : row + 1], strategy, 1.0, None, others).tolist()
    ]
    for dtype in (torch.float32, torch.float64):
        mined = mine_triplets(
            torch.tensor(x, dtype=dtype), labels, strategy, margin=1.0, reference=y, reference_labels=others
        )
        np.testing.assert_array_equal(torch.stack(list(mined), 1), expected)


def test_pairs_of_four_tensors_are_joined_on_their_anchors():
    a, p, other, n = (torch.tensor(each) for each in ([0, 0, 1], [2, 3, 4], [0, 1, 0, 5], [7, 8, 9, 6]))
    joined = as_triplets((a, p, other, n))
    assert torch.stack(list(joined), 1).tolist() == [[0, 2, 7], [0, 2, 9], [0, 3, 7], [0, 3, 9], [1, 4, 8]]
    with pytest.raises(ValueError, match=r"indices hold 2 tensors of shapes \[\(3,\), \(3,\)\]"):
        as_triplets((a, p))
    with pytest.raises(ValueError, match=r"three of one length"):
        as_triplets((a, p, n))


def test_a_miner_measures_unit_vectors_as_the_loss_does():
    g = torch.Generator().manual_seed(0)
    x, labels = torch.randn(24, 6, generator=g) * torch.linspace(0.1, 10, 24)[:, None], torch.arange(24) % 5
    for normalize in (True, False):
        ours = TripletMiner("semihard", normalize=normalize)(x, labels)
        expected = mine_triplets(unit(x) if normalize else x, labels, "semihard")
        assert all(torch.equal(a, b) for a, b in zip(ours, expected))
