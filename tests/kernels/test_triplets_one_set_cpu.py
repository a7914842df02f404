"""The Numba kernel of one set against the plain-torch path in float64: tiles, threads, and what is one set."""

import pytest
import torch

from kernels.float64 import assert_equals_float64, batch
from triune.kernels import triplets_cpu, triplets_one_set_cpu
from triune.losses.triplet import triplet_loss

metrics = pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])


@metrics
@pytest.mark.parametrize("gap", [None, (0.0, 0.3)])
@pytest.mark.parametrize("count", [2, 31, 150, 161])
def test_one_set_in_ragged_tiles_with_classes_that_end_inside_them(metric, gap, count, monkeypatch):
    """Tiles on the diagonal and beside it, whole and cut, classes of one item and classes over two tiles."""
    monkeypatch.setattr(triplets_one_set_cpu, "TILES", (31, 31))
    x, labels = batch(count, 1 + count // 3, lattice=metric != "cosine")
    assert_equals_float64(x, labels, margin=0.2, metric=metric, gap=gap)


@pytest.mark.parametrize("fixed", ["embeddings", "reference"])
def test_a_reference_of_the_same_memory_that_takes_no_gradient_is_not_one_set(fixed):
    x, labels = batch(40, 10)

    def gradient(x):
        parts = {"embeddings": x, "reference": x} | {fixed: x.detach()}
        options = {"reference_labels": labels, "own_rows": torch.arange(40), "reduction": "sum"}
        return torch.autograd.grad(triplet_loss(labels=labels, **parts, **options).loss, x)[0]

    exact = gradient(x.detach().double().requires_grad_())
    torch.testing.assert_close(gradient(x).double(), exact, rtol=1e-4, atol=1e-4)


def test_one_set_adds_up_alike_however_many_threads_there_are(monkeypatch):
    monkeypatch.setattr(triplets_one_set_cpu, "TILES", (70, 70))
    monkeypatch.setattr(triplets_cpu, "THREAD_CELLS", 1)
    x, labels = batch(400, 60)
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            loss = triplet_loss(x, labels).loss
            results.append((loss, *torch.autograd.grad(loss, x)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_tournament_visits_every_pair_of_blocks_once_and_no_block_twice_a_round(count):
    blocks = [slice(k, k + 1) for k in range(count)]
    played = [[(a.start, b.start) for a, b in tiles] for tiles in triplets_one_set_cpu.rounds(blocks)]
    assert sorted(pair for tiles in played for pair in tiles) == [(a, b) for a in range(count) for b in range(a, count)]
    for tiles in played:
        blocks_of_a_round = [block for a, b in tiles for block in {a, b}]
        assert len(blocks_of_a_round) == len(set(blocks_of_a_round))
