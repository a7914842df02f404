"""Products and distances of a tile by the GPU kernels, against float64 and against the score of a pair."""

import numpy as np
import pytest
import torch

from examples import tiles_of
from interpreted import DEVICE, assert_passes_interpreted, needs_kernels, starts_the_interpreter
from triune.distances.embeddings import unit
from triune.pairs import on_device, scores, tiles
from triune.pairs.scores import paired_scores
from triune.verification.collecting import impostor_scores, match_scores

pytest.importorskip("triton")
METRICS = ("cosine", "euclidean", "squared_euclidean")
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
U = 2.0**-24


@starts_the_interpreter
def test_the_kernels_of_scores_under_the_interpreter():
    assert_passes_interpreted(__file__, skipped=1)


@pytest.fixture
def on_triton(monkeypatch):
    monkeypatch.setattr(tiles, "DEVICE_TILE", (50, 72))
    for module in (tiles, on_device, scores):
        monkeypatch.setattr(module, "choose_counting", lambda device: "triton")


def smooth(seed, n=100, classes=17, d=6):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(classes, d))[y] + 0.8 * g.normal(size=(n, d))).astype(np.float32), y


def tensor(x):
    return torch.from_numpy(np.ascontiguousarray(x)).to(DEVICE)


@needs_kernels
@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_float64(on_triton, metric):
    x, y = smooth(3, n=70)
    x[11] = x[10] + np.float32(1e-4)  # a near-duplicate keeps its distance
    prepared = tiles_of(tensor(x), y, metric=metric)
    found = np.sort(np.concatenate([match_scores(prepared), impostor_scores(prepared)]))
    wide = torch.from_numpy(x).double()
    if metric == "cosine":
        scores = torch.nn.functional.normalize(wide) @ torch.nn.functional.normalize(wide).T
    else:
        d = torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")
        scores = -d if metric == "euclidean" else -d.square()
    i, j = np.triu_indices(len(x), 1)
    np.testing.assert_allclose(found, np.sort(scores.numpy()[i, j]), rtol=2e-4, atol=0 if metric != "cosine" else 1e-6)


@needs_kernels
@pytest.mark.parametrize("shape", [(1, 1, 1), (70, 130, 37), (64, 64, 32)])
def test_the_full_product_is_that_of_float32(shape):
    from triune.kernels import scores_gpu

    rows, columns, width = shape
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, width, generator=g) for n in (rows, columns))
    out = torch.empty(rows, columns, device=DEVICE)
    scores_gpu.multiply(x.to(DEVICE), y.to(DEVICE), out)
    # TF32 would be off by 1e-3.
    torch.testing.assert_close(out.cpu().double(), x.double() @ y.double().T, rtol=1e-6, atol=1e-5)


@needs_kernels
def test_tf32_is_neither_used_nor_forbidden_to_others(on_triton, monkeypatch):
    from triune.kernels import scores_gpu

    called = []
    real = scores_gpu.multiply
    monkeypatch.setattr(scores_gpu, "multiply", lambda *a: (called.append(1), real(*a)))
    x, y = (torch.randn(8, 5, device=DEVICE) for _ in range(2))
    out = torch.empty(8, 8, device=DEVICE)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        on_device.multiply(x, y, out)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert called or DEVICE.type == "cpu"
    torch.testing.assert_close(out.double(), x.double() @ y.double().T, rtol=1e-6, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("half", [False, True])
def test_a_tile_differs_from_the_score_of_a_pair_by_less_than_the_stated_error(on_triton, metric, half):
    from triune.kernels import scores_gpu

    x = tensor(smooth(4, n=60, d=40)[0])
    x[11] = x[10] + 1e-4  # a near-duplicate
    x = x.half().float() if half else x
    x = unit(x) if metric == "cosine" else x
    gram = torch.empty(60, 60, device=DEVICE)
    scores_gpu.multiply(x, x, gram)
    squares = x.square().sum(1)
    if metric != "cosine":
        scores.to_distances(gram, x, x, (squares, squares), square=metric == "squared_euclidean")
    i, j = torch.triu_indices(60, 60, 1, device=DEVICE)
    listed = paired_scores(x[i], x[j], metric).double()
    apart, value, s = (gram[i, j].double() - listed).abs(), -listed, (squares[i] + squares[j]).double()
    if metric == "cosine":
        limit = torch.full_like(apart, 42 * U)
    elif metric == "squared_euclidean":
        limit = torch.where(value < s / 1000, 43 * U * value, 2 * 43 * U * s)
    else:
        limit = torch.where(value.square() < s / 1000, 43 * U * value, 43 * U * s / value)
    assert bool((apart <= limit).all())
