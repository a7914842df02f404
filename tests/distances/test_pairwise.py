"""Distances against float64 brute force, near-duplicates, zeros, half precision and gradients."""

import numpy as np
import pytest
import torch

from oracles import brute_distance
from triune.distances.embeddings import check_finite, unit
from triune.distances.pairwise import paired_distance, pairwise_distance

METRICS = ("euclidean", "squared_euclidean", "cosine")
metrics = pytest.mark.parametrize("metric", METRICS)


def draw(*shape, dtype=torch.float64, seed=0, grad=False):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return x.requires_grad_(grad)


@metrics
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-13), (torch.float32, 3e-7), (torch.float16, 3e-7), (torch.bfloat16, 3e-7)],
)
def test_distances_equal_brute_force_on_the_values_each_dtype_holds(metric, dtype, tolerance):
    x, y = draw(20, 7, dtype=dtype), draw(30, 7, dtype=dtype, seed=1)
    expected = brute_distance(x.double().numpy(), y.double().numpy(), metric)
    np.testing.assert_allclose(pairwise_distance(x, y, metric).double(), expected, rtol=tolerance, atol=tolerance)
    paired = paired_distance(x, y[:20], metric).double()
    np.testing.assert_allclose(paired, expected[range(20), range(20)], rtol=5 * tolerance, atol=5 * tolerance)


@metrics
def test_half_precision_comes_back_in_float32(metric):
    for dtype in (torch.float16, torch.bfloat16):
        assert pairwise_distance(draw(3, 4, dtype=dtype), metric=metric).dtype == torch.float32
        assert paired_distance(draw(3, 4, dtype=dtype), draw(3, 4, dtype=dtype), metric).dtype == torch.float32
    assert pairwise_distance(draw(3, 4), draw(3, 4, dtype=torch.float32), metric).dtype == torch.float64


def test_the_worked_example_of_two_unit_vectors():
    x, y = np.array([[0.6, 0.8, 0.0]]), np.array([[0.8, 0.6, 0.0]])
    assert pairwise_distance(x, y).item() == pytest.approx(0.28284271)
    assert paired_distance(x, y).item() == pytest.approx(0.28284271)
    assert pairwise_distance(x, y, "cosine").item() == pytest.approx(0.04)
    assert pairwise_distance(x, y, "squared_euclidean").item() == pytest.approx(0.08)


@metrics
@pytest.mark.parametrize("distance", [1e-3, 1e-4])
def test_near_duplicates_keep_their_distance_in_float32(metric, distance):
    x = unit(draw(50, 128))
    step = draw(50, 128, seed=1)
    step = unit(step - (step * x).sum(1, keepdim=True) * x)
    angle = distance if metric != "cosine" else np.sqrt(2 * distance)
    x, y = x.float(), (x * np.cos(angle) + step * np.sin(angle)).float()
    expected = np.diag(brute_distance(x.double().numpy(), y.double().numpy(), metric))
    assert expected.mean() == pytest.approx(distance if metric != "squared_euclidean" else distance**2, rel=1e-2)
    np.testing.assert_allclose(pairwise_distance(x, y, metric).diagonal().double(), expected, rtol=1e-3)
    np.testing.assert_allclose(paired_distance(x, y, metric).double(), expected, rtol=1e-3)


@metrics
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_equal_rows_are_at_distance_zero_exactly(metric, dtype):
    x = draw(40, 33, dtype=dtype)
    together = torch.cat([x, x])
    d = pairwise_distance(together, metric=metric)
    assert (d.diagonal() == 0).all()
    assert (d.diagonal(40) == 0).all()
    assert (paired_distance(x, x.clone(), metric) == 0).all()


@metrics
def test_a_distance_to_oneself_has_no_gradient_and_zeros_have_a_finite_one(metric):
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [3.0, 1.0]], requires_grad=True)
    for d in (pairwise_distance(x, metric=metric), paired_distance(x, x.flip(0), metric)):
        grad = torch.autograd.grad(d.sum(), x)[0]
        assert torch.isfinite(grad).all()
    alone = torch.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    assert torch.autograd.grad(pairwise_distance(alone, metric=metric).sum(), alone)[0].abs().max() < 1e-6


def test_a_zero_vector_has_cosine_distance_one_to_everything():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert pairwise_distance(x, metric="cosine").tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert paired_distance(x, x, "cosine").tolist() == [1.0, 0.0]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_cosine_neither_overflows_nor_underflows(scale):
    x = draw(6, 5, dtype=torch.float32)
    torch.testing.assert_close(pairwise_distance(x * scale, metric="cosine"), pairwise_distance(x, metric="cosine"))


@metrics
def test_gradients_and_second_derivatives_pass_gradcheck(metric):
    x, y = draw(4, 3, grad=True), draw(5, 3, seed=1, grad=True)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x, y: pairwise_distance(x, y, metric), (x, y))
        assert check(lambda x, y: paired_distance(x, y, metric), (x, y[:4]))
        assert check(lambda x: pairwise_distance(x, metric=metric), (x,))


@metrics
def test_non_contiguous_and_empty_inputs(metric):
    wide = draw(7, 12)
    strided = wide.T[:, ::2]
    torch.testing.assert_close(
        pairwise_distance(strided, metric=metric), pairwise_distance(strided.contiguous(), metric=metric)
    )
    torch.testing.assert_close(
        paired_distance(strided, strided.flip(0), metric),
        paired_distance(strided.contiguous(), strided.flip(0), metric),
    )
    assert pairwise_distance(torch.empty(0, 4), torch.empty(3, 4), metric).shape == (0, 3)
    assert pairwise_distance(torch.empty(2, 0), torch.empty(3, 0), metric).shape == (2, 3)
    assert paired_distance(torch.empty(0, 4), torch.empty(0, 4), metric).shape == (0,)


@metrics
def test_a_nan_row_spoils_only_its_own_distances(metric):
    x = draw(6, 3, dtype=torch.float32)
    clean = pairwise_distance(x, metric=metric)
    x[2] = float("nan")
    d = pairwise_distance(x, metric=metric)
    others = [0, 1, 3, 4, 5]
    assert d[2].isnan().all()
    assert d[:, 2].isnan().all()
    torch.testing.assert_close(d[others][:, others], clean[others][:, others], rtol=0, atol=0)


@metrics
def test_autocast_does_not_lower_the_precision(metric):
    x = draw(8, 64, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        d = pairwise_distance(x, metric=metric)
    torch.testing.assert_close(d, pairwise_distance(x, metric=metric), rtol=0, atol=0)


def test_errors_repeat_what_was_passed():
    with pytest.raises(ValueError, match=r"metric is 'manhattan'; known are 'euclidean'"):
        pairwise_distance(draw(2, 3), metric="manhattan")
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\) but y has \(2, 4\)"):
        pairwise_distance(draw(2, 3), draw(2, 4))
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        pairwise_distance(draw(3))
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\) but y has \(1, 3\)"):
        paired_distance(draw(2, 3), draw(1, 3))


def test_check_finite_names_the_rows():
    x = draw(9, 3)
    check_finite(x)
    x[4, 1], x[7, 0] = float("nan"), float("inf")
    with pytest.raises(ValueError, match=r"gallery holds NaN or infinity in 2 of 9 rows \(rows 4, 7\)"):
        check_finite(x, "gallery")


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize(("factor", "offset"), [(1.0, 1e9), (1e200, 0.0), (1e-200, 0.0), (1e-3, 1e6)])
def test_float64_keeps_its_distances_whatever_rows_have_in_common_and_however_large_they_are(metric, factor, offset):
    rows = np.random.default_rng(0).normal(size=(20, 8)).round(2) * factor + offset
    with np.errstate(over="ignore", under="ignore"):
        differences = (rows[:, None] - rows[None, :10]) / factor
        exact = np.sqrt(np.square(differences).sum(-1)) * factor
        exact = exact if metric == "euclidean" else np.square(exact)
        found = pairwise_distance(rows, rows[:10], metric).numpy()
        paired = paired_distance(rows[:10], rows[10:], metric).numpy()
        beside = np.sqrt(np.square((rows[:10] - rows[10:]) / factor).sum(-1)) * factor
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    np.testing.assert_allclose(paired, beside if metric == "euclidean" else np.square(beside), rtol=1e-6)
    assert (pairwise_distance(rows, metric=metric).diagonal() == 0).all()


def test_the_gradient_of_moved_rows_is_that_of_the_distance():
    rows = (torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pairwise_distance(x[3:], x[:3]), rows, eps=1e-4, atol=1e-4)
