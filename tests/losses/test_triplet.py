"""The triplet loss against brute force: values, counts, gradients, degenerate batches, precision, and its module."""

import numpy as np
import pytest
import torch

from oracles import brute_distance, brute_gradient, brute_loss, brute_triplets, tied_batch
from triune.distances.embeddings import unit
from triune.losses.mining import TripletMiner, mine_triplets
from triune.losses.triplet import TripletLoss, triplet_loss, triplet_margin_loss

STRATEGIES = ("all", "hard", "batch_hard", "semihard")
METRICS = ("euclidean", "squared_euclidean", "cosine")
REDUCTIONS = ("mean_active", "mean", "sum")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
GAPS = (None, (0.0, 0.5), (-np.inf, 0.0), (0.5, np.inf), (-1.0, 1.0))
strategies = pytest.mark.parametrize("strategy", STRATEGIES)
margins = pytest.mark.parametrize("margin", [0.2, "soft"])
metrics = pytest.mark.parametrize("metric", METRICS)


def batch(count=30, width=5, classes=6, dtype=torch.float64, seed=3):
    x = torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.requires_grad_(), np.random.default_rng(seed).integers(0, classes, count)


@strategies
def test_a_thousand_tied_batches_equal_brute_force(strategy):
    """Integer coordinates force ties; metrics, margins, dtypes, reductions and gaps take turns."""
    rng = np.random.default_rng(1)
    for trial in range(1000):
        metric, margin = METRICS[trial % 3], (0.2, 1.0, "soft")[trial // 3 % 3]
        gap, dtype, reduction = GAPS[trial % 5], DTYPES[trial % 7 % 4], REDUCTIONS[trial // 2 % 3]
        x, labels = tied_batch(rng, metric)
        d = _distance(x, metric)
        expected = brute_loss(d, brute_triplets(d, labels, strategy, margin, gap), margin, reduction)
        outcome = triplet_loss(
            torch.tensor(x, dtype=dtype), labels, margin=margin, metric=metric, mining=strategy, gap=gap,
            reduction=reduction,
        )  # fmt: skip
        where = f"{trial} {metric} {margin} {gap} {dtype} {reduction}"
        assert (outcome.triplets.item(), outcome.active.item()) == (expected["triplets"], expected["active"]), where
        for field in ("loss", "positive_distance", "negative_distance"):
            tolerance = 1e-6 if dtype == torch.float64 and field == "loss" else 1e-5
            value = getattr(outcome, field).item()
            np.testing.assert_allclose(value, expected[field], rtol=tolerance, atol=tolerance, err_msg=where)


def _distance(x, metric):
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    if metric == "cosine":
        length = np.sqrt((x**2).sum(1))
        return 1 - (x @ x.T) / (length[:, None] * length)
    return np.sqrt(squared) if metric == "euclidean" else squared


@strategies
@margins
@metrics
@pytest.mark.parametrize("gap", [None, (-0.5, 0.1)])
def test_value_and_gradient_equal_brute_force(strategy, margin, metric, gap):
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5), (torch.bfloat16, 2e-2)):
        x, labels = batch(dtype=dtype)
        held = x.detach().double().numpy()
        d = brute_distance(held, held, metric)
        triplets = brute_triplets(d, labels, strategy, margin, gap)
        outcome = triplet_loss(x, labels, margin=margin, metric=metric, mining=strategy, gap=gap, reduction="sum")
        expected = brute_gradient(x, triplets, margin, metric)
        grad = torch.autograd.grad(outcome.loss, x)[0]
        assert grad.dtype == dtype
        np.testing.assert_allclose(
            outcome.loss.item(), brute_loss(d, triplets, margin, "sum")["loss"], rtol=min(tolerance, 1e-5)
        )
        assert (grad.double() - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())


@strategies
@margins
@metrics
def test_gradcheck(strategy, margin, metric):
    x, labels = batch(count=8, width=3, classes=3, seed=1)
    assert torch.autograd.gradcheck(
        lambda x: triplet_loss(x, labels, margin=margin, metric=metric, mining=strategy, reduction="sum").loss, (x,)
    )


@pytest.mark.parametrize("strategy", [*STRATEGIES, "random"])
@margins
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("count", "labels"),
    [(0, []), (1, [5]), (6, [2] * 6), (6, range(6)), (2, [0, 1])],
    ids=["empty", "one item", "one class", "all singletons", "two singletons"],
)
def test_no_triplet_means_loss_zero_with_gradient_zero(strategy, margin, reduction, count, labels):
    x = torch.randn(count, 4, requires_grad=True)
    outcome = triplet_loss(x, list(labels), margin=margin, mining=strategy, reduction=reduction)
    outcome.loss.backward()
    assert outcome.loss.item() == 0
    assert outcome.triplets.item() == outcome.active.item() == 0
    assert outcome.positive_distance.isnan()
    assert (x.grad == 0).all()


@strategies
def test_no_active_triplet_means_loss_zero_with_gradient_zero(strategy):
    x = torch.tensor([[0.0, 0], [0.1, 0], [9, 0], [9.1, 0]], requires_grad=True)
    outcome = triplet_loss(x, [0, 0, 1, 1], mining=strategy)
    outcome.loss.backward()
    assert outcome.loss.item() == outcome.active.item() == 0
    assert (x.grad == 0).all()


@strategies
@margins
@metrics
def test_duplicates_and_zero_vectors_have_finite_gradients(strategy, margin, metric):
    x = torch.zeros(8, 3)
    x[2:4] = 1.0
    x[4:6] = torch.tensor([1.0, 0.0, 0.0])
    x.requires_grad_()
    outcome = triplet_loss(x, [0, 0, 0, 1, 1, 1, 2, 2], margin=margin, metric=metric, mining=strategy)
    outcome.loss.backward()
    assert torch.isfinite(outcome.loss)
    assert torch.isfinite(x.grad).all()


def test_a_soft_margin_survives_a_gap_of_400():
    x = torch.tensor([[0.0], [400.0], [0.0]], requires_grad=True)
    outcome = triplet_loss(x, [0, 0, 1], margin="soft", mining="hard", reduction="sum")
    outcome.loss.backward()
    assert outcome.loss.item() == pytest.approx(400 + np.log(2))
    assert torch.isfinite(x.grad).all()


def test_the_worked_example_of_one_triplet():
    a, p, n = (torch.tensor([[value]], dtype=torch.float64) for value in (0.0, 0.5, 0.6))
    assert triplet_margin_loss(a, p, n, 0.2).item() == pytest.approx(0.1)
    assert triplet_margin_loss(a, p, torch.ones(1, 1), 0.2).item() == 0
    assert triplet_margin_loss(a, p, n, "soft").item() == pytest.approx(np.log1p(np.exp(-0.1)))


@margins
@metrics
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_listed_triplets_cost_what_brute_force_says(margin, metric, reduction):
    x, labels = batch()
    d = brute_distance(x.detach().numpy(), x.detach().numpy(), metric)
    triplets = brute_triplets(d, labels, "all")[::7]
    expected = brute_loss(d, triplets, margin, reduction)["loss"]
    a, p, n = torch.from_numpy(triplets).T
    loss = triplet_margin_loss(x[a], x[p], x[n], margin, metric, reduction)
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    indexed = triplet_loss(x, labels, margin=margin, metric=metric, reduction=reduction, indices=(a, p, n))
    assert indexed.loss.item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(
        lambda a, p, n: triplet_margin_loss(a, p, n, margin, metric, reduction), (x[:3], x[3:6], x[6:9])
    )


@strategies
@margins
def test_a_reference_set_takes_part_and_gets_its_gradient(strategy, margin):
    rng = np.random.default_rng(5)
    x, y = (torch.tensor(rng.normal(size=(n, 3)), requires_grad=True) for n in (7, 50))
    labels, others = rng.integers(0, 4, 7), rng.integers(0, 6, 50)
    own = torch.tensor([3, -1, 20, -1, -1, 49, 0])
    mined = mine_triplets(x, labels, strategy, margin=margin, reference=y, reference_labels=others, own_rows=own)
    expected = triplet_margin_loss(x[mined.anchor], y[mined.positive], y[mined.negative], margin, reduction="sum")
    outcome = triplet_loss(
        x, labels, margin=margin, mining=strategy, reference=y, reference_labels=others, own_rows=own, reduction="sum"
    )
    assert outcome.loss.item() == pytest.approx(expected.item(), rel=1e-10)
    for ours, theirs in zip(torch.autograd.grad(outcome.loss, (x, y)), torch.autograd.grad(expected, (x, y))):
        torch.testing.assert_close(ours, theirs)


def test_random_mining_costs_what_its_triplets_cost():
    x, labels = batch(count=12, classes=3)
    outcome = triplet_loss(x, labels, mining="random", generator=torch.Generator().manual_seed(0))
    pairs = len({(a, p) for a, p, _ in brute_triplets(np.zeros((12, 12)), labels, "all").tolist()})
    assert outcome.triplets.item() == pairs
    again = triplet_loss(x, labels, mining="random", generator=torch.Generator().manual_seed(0))
    assert again.loss.item() == outcome.loss.item()
    values = [triplet_loss(x, labels, mining="random", reduction="mean").loss.item() for _ in range(500)]
    d = brute_distance(x.detach().numpy(), x.detach().numpy(), "euclidean")
    triplets = brute_triplets(d, labels, "all")
    cost = np.maximum(0, d[triplets[:, 0], triplets[:, 1]] - d[triplets[:, 0], triplets[:, 2]] + 0.2)
    by_pair = [cost[(triplets[:, :2] == pair).all(1)].mean() for pair in np.unique(triplets[:, :2], axis=0)]
    assert np.mean(values) == pytest.approx(np.mean(by_pair), rel=0.03)


@strategies
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_embedding_makes_the_loss_nan_and_is_never_ignored(strategy, value):
    x, labels = batch(dtype=torch.float32)
    x = x.detach().clone()
    x[4, 1] = value
    assert triplet_loss(x.requires_grad_(), labels, mining=strategy).loss.isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@strategies
def test_half_precision_matches_float32_on_the_same_values(strategy, dtype):
    x, labels = batch(dtype=dtype)
    half = triplet_loss(x, labels, mining=strategy)
    full = triplet_loss(x.detach().float(), labels, mining=strategy)
    assert half.loss.dtype == torch.float32
    assert half.loss.item() == full.loss.item()


@pytest.mark.parametrize("strategy", [*STRATEGIES, "random"])
@margins
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiles_without_a_graph_break(strategy, margin, dtype):
    torch._dynamo.reset()
    x, labels = batch(dtype=dtype)
    labels = torch.from_numpy(labels)

    def loss(x, labels):
        return triplet_loss(x, labels, margin=margin, mining=strategy).loss

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    ours, expected = compiled(x, labels), loss(x, labels)
    grad = torch.autograd.grad(ours, x)[0]
    if strategy == "random":  # the compiled draws are others
        assert 0.5 < ours.item() / expected.item() < 2
        return
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, x)[0])


@strategies
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_and_no_grad_change_nothing(strategy, dtype):
    x, labels = batch(dtype=dtype)
    expected = triplet_loss(x, labels, mining=strategy)
    grad = torch.autograd.grad(expected.loss, x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = triplet_loss(x, labels, mining=strategy)
    assert ours.loss.item() == expected.loss.item()
    assert torch.equal(torch.autograd.grad(ours.loss, x)[0], grad)
    with torch.no_grad():
        ours = triplet_loss(x, labels, mining=strategy)
    assert ours.loss.item() == expected.loss.item()
    assert not ours.loss.requires_grad


def test_numpy_embeddings_and_string_labels():
    x = np.array([[0.0], [0.5], [0.6], [5.0]])
    assert triplet_loss(x, ["a", "a", "b", "b"], mining="semihard").loss.item() == pytest.approx(0.1)


def test_unknown_options_are_named():
    x, labels = batch()
    with pytest.raises(ValueError, match=r"reduction is 'median'; known are 'mean_active', 'mean', 'sum'"):
        triplet_loss(x, labels, reduction="median")
    with pytest.raises(ValueError, match=r"margin is 'hard'; give a number or 'soft'"):
        triplet_loss(x, labels, margin="hard")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [*STRATEGIES, "random"])
@margins
def test_compiles_with_the_default_backend_for_any_batch_size(strategy, margin):
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x, labels: triplet_loss(x, labels, margin=margin, mining=strategy).loss, fullgraph=True, dynamic=True
    )
    for count in (30, 41):
        x, labels = batch(count=count, dtype=torch.float32)
        ours = compiled(x, torch.from_numpy(labels))
        assert torch.isfinite(torch.autograd.grad(ours, x)[0]).all()
        if strategy != "random":
            expected = triplet_loss(x, labels, margin=margin, mining=strategy).loss
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


LABELS = torch.arange(24) % 5


def embeddings():
    return torch.randn(24, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_module_is_the_function_with_its_settings(normalize):
    x = embeddings()
    criterion = TripletLoss(0.3, "squared_euclidean", "semihard", "mean", normalize)
    expected = triplet_loss(
        unit(x) if normalize else x, LABELS, margin=0.3, metric="squared_euclidean", mining="semihard", reduction="mean"
    )
    assert criterion(x, LABELS).item() == expected.loss.item()
    for ours, theirs in zip(criterion.outcome(x, LABELS), expected):
        assert ours.item() == theirs.item()


@pytest.mark.parametrize("strategy", ["all", "hard", "batch_hard", "semihard"])
def test_mined_indices_as_third_argument_equal_mining_inside(strategy):
    x = embeddings()
    indices = TripletMiner(strategy, margin=0.3)(x, LABELS)
    inside = TripletLoss(0.3, mining=strategy)(x, LABELS)
    assert TripletLoss(0.3)(x, LABELS, indices).item() == pytest.approx(inside.item(), rel=1e-6)


def test_a_reference_set_is_normalised_too():
    x, bank = embeddings(), 7 * torch.randn(50, 6)
    bank_labels = torch.arange(50) % 8
    loss = TripletLoss()(x, LABELS, None, bank, bank_labels)
    expected = triplet_loss(unit(x), LABELS, reference=unit(bank), reference_labels=bank_labels).loss
    assert loss.item() == expected.item()
    own = TripletLoss()(x, LABELS, None, x, LABELS)
    assert own.item() == pytest.approx(TripletLoss()(x, LABELS).item(), rel=1e-6)


def test_settings_are_checked_at_once_and_shown():
    with pytest.raises(ValueError, match=r"metric is 'l2'"):
        TripletLoss(metric="l2")
    with pytest.raises(ValueError, match=r"mining strategy is 'easy'"):
        TripletMiner("easy")
    assert "margin='soft'" in repr(TripletLoss("soft"))
    assert not list(TripletLoss().parameters())
    assert not TripletLoss().state_dict()
