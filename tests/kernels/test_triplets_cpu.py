"""The Numba kernels against the plain-torch path in float64: every branch of the algorithms, threads and forks."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch

from kernels.float64 import assert_equals_float64, batch
from triune.distances.embeddings import unit
from triune.kernels import triplets_cpu, triplets_one_set_cpu
from triune.losses.mining import mine_triplets
from triune.losses.triplet import triplet_loss

INF = float("inf")
metrics = pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
margins = pytest.mark.parametrize("margin", [0.2, "soft"])
# Few positives an anchor are compared one by one, many (over 16, over 100) are ranked by binary search.
sizes = pytest.mark.parametrize(("count", "classes"), [(60, 20), (90, 4), (260, 2), (230, 7)])


@sizes
@margins
@metrics
@pytest.mark.parametrize("gap", [None, (0.0, 0.3), (-INF, 0.0), (-0.2, INF)])
def test_all_triplets(count, classes, margin, metric, gap):
    x, labels = batch(count, classes, lattice=metric != "cosine")
    assert_equals_float64(x, labels, margin=margin, metric=metric, gap=gap)
    assert_equals_float64(unit(x).detach().requires_grad_(), labels, margin=margin, metric=metric)


@sizes
@metrics
@pytest.mark.parametrize("strategy", ["hard", "batch_hard", "semihard"])
@pytest.mark.parametrize("gap", [None, (0.0, 0.1), (-0.2, INF)])
def test_mined_triplets(count, classes, metric, strategy, gap):
    x, labels = batch(count, classes, lattice=metric != "cosine")
    ours, exact = (
        mine_triplets(each, labels, strategy, metric=metric, margin=0.3, gap=gap) for each in (x, x.double())
    )
    assert all(torch.equal(a, b) for a, b in zip(ours, exact))


@pytest.mark.parametrize("strategy", ["hard", "batch_hard", "semihard"])
@pytest.mark.parametrize("classes", [2, 6, 40])
def test_ties_go_to_the_lowest_index_however_labels_are_ordered(strategy, classes):
    rng = np.random.default_rng(1)
    x, labels = torch.tensor(rng.integers(-1, 2, (120, 3)), dtype=torch.float32), rng.integers(0, classes, 120)
    ours, exact = (mine_triplets(each, labels, strategy, margin=1.0) for each in (x, x.double()))
    assert all(torch.equal(a, b) for a, b in zip(ours, exact))


@margins
def test_near_duplicates_are_measured_from_differences(margin):
    """A collapsed batch: all within 1e-3 of each other, where the Gram matrix has no digits left."""
    x, labels = batch(60, 5, width=64)
    x = (unit(torch.ones(60, 64)) + 1e-3 * unit(x.detach())).requires_grad_()
    for metric in ("euclidean", "squared_euclidean", "cosine"):
        # 1e-4 of a gradient: sums of V (x − y) cancel where V = 1 / d is large
        assert_equals_float64(x, labels, rtol=1e-3, margin=margin, metric=metric)
    ours, exact = (mine_triplets(each, labels, "hard") for each in (x, x.double()))
    assert sum((a != b).sum().item() for a, b in zip(ours, exact)) <= 0.02 * len(exact.anchor)


@pytest.mark.parametrize("scale", [1e-3, 30.0, 300.0])
@metrics
def test_a_soft_margin_over_any_spread_of_distances(scale, metric):
    x, labels = batch(50, 5, scale=scale)
    assert_equals_float64(x, labels, margin="soft", metric=metric)


def test_tiny_soft_losses_keep_their_digits():
    """Well separated classes: each loss is about exp(−25), far below the rounding of 1."""
    x = torch.tensor([[0.0], [0.5], [25.0], [25.5]])
    ours = triplet_loss(x, [0, 0, 1, 1], margin="soft", reduction="sum").loss.item()
    exact = triplet_loss(x.double(), [0, 0, 1, 1], margin="soft", reduction="sum").loss.item()
    assert ours == pytest.approx(exact, rel=1e-5, abs=0)


def test_exponentials_are_exact_to_two_units_of_rounding():
    d = torch.linspace(-79, 79, 20001)
    e = np.empty(len(d), dtype=np.float32)
    triplets_cpu.exponentials(np.float32(0), d.numpy(), e)
    np.testing.assert_allclose(e, np.exp(-d.double().numpy()), rtol=2.5e-7)


@pytest.mark.parametrize("mining", ["all", "hard", "batch_hard", "semihard"])
@margins
def test_a_reference_set_with_own_rows(mining, margin):
    rng = np.random.default_rng(2)
    x, y = (torch.tensor(rng.normal(size=(n, 4)), dtype=torch.float32, requires_grad=True) for n in (20, 150))
    labels, others = rng.integers(0, 5, 20), rng.integers(0, 7, 150)
    own = torch.tensor(np.where(rng.random(20) < 0.5, rng.permutation(150)[:20], -1))
    options = {"margin": margin, "mining": mining, "reference_labels": others, "own_rows": own, "reduction": "sum"}
    ours = triplet_loss(x, labels, reference=y, **options)
    wide = [each.detach().double().requires_grad_() for each in (x, y)]
    exact = triplet_loss(wide[0], labels, reference=wide[1], **options)
    assert ours.triplets == exact.triplets
    torch.testing.assert_close(ours.loss.double(), exact.loss, rtol=1e-5, atol=0)
    for a, b in zip(torch.autograd.grad(ours.loss, (x, y)), torch.autograd.grad(exact.loss, wide)):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-3)


def test_a_second_derivative_is_refused():
    x, labels = batch(12, 3)
    grad = torch.autograd.grad(triplet_loss(x, labels).loss, x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad((grad.square() + x).sum(), x)


@margins
def test_small_blocks_and_threads_change_nothing(margin, monkeypatch):
    x, labels = batch(300, 9)
    whole = triplet_loss(x, labels, margin=margin)
    mined = mine_triplets(x, labels, "semihard")
    monkeypatch.setattr(triplets_cpu, "SHARE_CELLS", 70 * 300)
    monkeypatch.setattr(triplets_cpu, "THREAD_CELLS", 1)
    monkeypatch.setattr(triplets_one_set_cpu, "TILES", (70, 70))
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        blocked = triplet_loss(x, labels, margin=margin)
        assert all(torch.equal(a, b) for a, b in zip(mine_triplets(x, labels, "semihard"), mined))
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(blocked, whole):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(*(torch.autograd.grad(each.loss, x)[0] for each in (blocked, whole)))


def _loss_in_child(queue):
    x, labels = batch(400, 9)
    queue.put(triplet_loss(x, labels).loss.item())


def test_kernels_run_in_a_forked_child_and_in_several_threads_at_once():
    x, labels = batch(400, 9)
    expected = triplet_loss(x, labels).loss.item()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_forked, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == pytest.approx(expected, rel=1e-6)
    child.join()
    results = []
    threads = [threading.Thread(target=lambda: results.append(triplet_loss(x, labels).loss.item())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == pytest.approx([expected] * 4, rel=1e-6)


def _forked(queue):
    torch.set_num_threads(1)  # torch's own OpenMP does not survive a fork with more, as in its DataLoader workers
    _loss_in_child(queue)


def distances_of(kind, g, size, count):
    """Distances of positives (size,) and of all rows (count,), float32."""
    if kind == "smooth":
        return g.uniform(0.5, 1.5, size), g.uniform(0.4, 1.6, count)
    if kind == "tied":
        return g.integers(2, 9, size), g.integers(0, 12, count)
    if kind == "positives all equal":
        return np.full(size, 0.7), g.choice([0.7, 0.5, 0.9, np.nextafter(np.float32(0.7), np.float32(1))], count)
    if kind == "zeros":
        return np.zeros(size), g.choice([0.0, 1e-30, 1.0], count)
    if kind == "one far away":
        return np.append(g.uniform(0.5, 0.6, size - 1), 1e6), g.uniform(0.4, 0.7, count)
    if kind == "closer negatives":
        return g.uniform(0.5, 1.5, size), g.uniform(0, 0.4, count)
    return g.uniform(1e18, 1e19, size), g.choice([1e18, 5e18, 1e19, np.inf], count)


@pytest.mark.parametrize(
    "kind", ["smooth", "tied", "positives all equal", "zeros", "one far away", "closer negatives", "very far"]
)
@pytest.mark.parametrize("size", [4, 40, 130])
def test_the_closest_beyond_each_positive_is_that_of_a_search_for_one(kind, size):
    g = np.random.default_rng(0)
    for count in (size, size + 1, 300, 5000):
        count = max(count, size)
        ap, d = (np.array(each, dtype=np.float32) for each in distances_of(kind, g, size, count))
        order, start = g.permutation(count), int(g.integers(0, count - size + 1))
        stop = start + size
        found, chosen = np.empty(size, np.float32), np.empty(size, np.int64)
        triplets_cpu.closest_beyond_each(d, order, start, stop, ap, size, found, chosen)
        one_by_one = [triplets_cpu.closest_beyond(d, order, start, stop, floor) for floor in ap]
        np.testing.assert_array_equal(found, np.array([each[0] for each in one_by_one], dtype=np.float32))
        np.testing.assert_array_equal(chosen, [each[1] for each in one_by_one])
