"""The Triton kernels against the plain-torch path in float64: under Triton's interpreter, and on a GPU where one is."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from interpreted import DEVICE, INTERPRETED, assert_passes_interpreted, needs_kernels, starts_the_interpreter

pytest.importorskip("triton")
MARGINS_AND_GAPS = [(0.7, None), ("soft", (-9.0, 0.5)), *([] if INTERPRETED else [(0.7, (-9.0, 0.5)), ("soft", None)])]
"""The interpreter, which is slow, sees each once."""
KERNELS = ("_anchor_kernel", "_reference_kernel", "_farthest_kernel", "_nearest_kernel", "_mined_kernel")


@starts_the_interpreter
def test_the_kernels_under_the_interpreter():
    assert_passes_interpreted(__file__, skipped=14)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler")
@pytest.mark.parametrize(
    ("kernel", "strategy"),
    [
        ("_anchor_kernel", None), ("_reference_kernel", None), ("_farthest_kernel", None), ("_nearest_kernel", None),
        ("_mined_kernel", "hard"), ("_mined_kernel", "batch_hard"), ("_mined_kernel", "semihard"),
        ("_mined_kernel", "random"),
    ],
)  # fmt: skip
def test_a_kernel_compiles_for_a_gpu_that_is_not_here(kernel, strategy):
    """The interpreter takes what the compiler refuses, such as a name whose type changes in a loop."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from triune.kernels import triplets_gpu

    function = getattr(triplets_gpu, kernel)
    fixed = {"METRIC": 0, "GAP": True, "SOFT": True, "SLOTS": 128, "DIFFERENTIATE": True, **triplets_gpu.TILE}
    fixed["STRATEGY"] = triplets_gpu.STRATEGIES.get(strategy)
    whole = ["start", "stop", "own", "anchors", "order", "place", "chosen", "column", "seed"]
    types = {**dict.fromkeys(whole, "*i64"), "partial": "*fp64", **dict.fromkeys("NMDF", "i32")}
    types |= dict.fromkeys(["margin", "low", "high", "bound"], "fp32")
    names = function.arg_names
    source = ASTSource(
        fn=function,
        signature={name: "constexpr" if name in fixed else types.get(name, "*fp32") for name in names},
        constexprs={(index,): fixed[name] for index, name in enumerate(names) if name in fixed},
    )
    options = {"num_warps": triplets_gpu.TILE["num_warps"]}
    assert compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"]


@pytest.fixture
def on_triton(monkeypatch):
    for module in ("triplet_sums", "mining"):
        monkeypatch.setattr(
            f"triune.losses.{module}.choose_path",
            lambda x, y: "triton" if x.dtype == torch.float32 else "torch",
        )


def batch(count, classes, width=9, seed=0):
    """Coordinates in eighths: squared distances are exact in float32, so that ties and bounds are too."""
    rng = np.random.default_rng(seed)
    x = torch.tensor((8 * rng.normal(size=(count, width))).round() / 8, dtype=torch.float32, device=DEVICE)
    return x.requires_grad_(), torch.tensor(rng.integers(0, classes, count), device=DEVICE)


def smooth(count, classes, width=5, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(count, width)), dtype=torch.float32, device=DEVICE)
    return x.requires_grad_(), torch.tensor(rng.integers(0, classes, count), device=DEVICE)


def seeded():
    return torch.Generator().manual_seed(3)


@needs_kernels
@pytest.mark.parametrize("margin", [0.2, "soft"])
@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
@pytest.mark.parametrize("gap", [None, (0.0, 0.7)])
def test_all_triplets(on_triton, margin, metric, gap):
    from triune.losses.triplet import triplet_loss

    x, labels = batch(90, 9, width=37)
    wide = x.detach().double().requires_grad_()
    ours, exact = (
        triplet_loss(each, labels, margin=margin, metric=metric, gap=gap, reduction="sum") for each in (x, wide)
    )
    assert (ours.triplets, ours.active) == (exact.triplets, exact.active)
    for a, b in zip((ours.loss, ours.positive_distance, ours.negative_distance), (exact.loss, *exact[3:])):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-6)
    a, b = torch.autograd.grad(ours.loss, x)[0], torch.autograd.grad(exact.loss, wide)[0]
    assert (a.double() - b).norm() <= 2e-5 * b.norm()


def assert_equal(ours, exact, leaves, wide):
    """Sums and gradients of float32 leaves and of the same in float64."""
    assert (ours.triplets, ours.active) == (exact.triplets, exact.active)
    for a, b in zip((ours.loss, ours.positive_distance, ours.negative_distance), (exact.loss, *exact[3:])):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-5, atol=1e-5, equal_nan=True)
    for a, b in zip(torch.autograd.grad(ours.loss, leaves), torch.autograd.grad(exact.loss, wide)):
        assert (a.double() - b).norm() <= 2e-5 * b.norm() + 1e-9


@needs_kernels
@pytest.mark.parametrize("strategy", ["hard", "batch_hard", "semihard"])
@pytest.mark.parametrize("gap", [None, (0.0, 0.5)])
@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
def test_mined_triplets(on_triton, strategy, gap, metric):
    from triune.losses.mining import mine_triplets

    x, labels = batch(80, 6, width=3)
    ours, exact = (
        mine_triplets(each, labels, strategy, metric=metric, margin=0.7, gap=gap) for each in (x, x.detach().double())
    )
    assert all(torch.equal(a, b) for a, b in zip(ours, exact))


@needs_kernels
@pytest.mark.parametrize("mining", ["hard", "batch_hard", "semihard", "random"])
@pytest.mark.parametrize(("margin", "gap"), MARGINS_AND_GAPS)
@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
def test_the_loss_of_mined_triplets(on_triton, mining, margin, gap, metric):
    """In float64 by plain torch; with the same seed, random triplets are the same."""
    from triune.losses.triplet import triplet_loss

    # Directions in a lattice tie in float64, and then not in float32: the cosine takes what ties nowhere.
    x, labels = batch(70, 6, width=3) if metric != "cosine" else smooth(70, 6)
    wide = x.detach().double().requires_grad_()
    ours, exact = (
        triplet_loss(
            each, labels, mining=mining, metric=metric, margin=margin, gap=gap, reduction="sum", generator=seeded()
        )
        for each in (x, wide)
    )
    assert ours.triplets > 0
    assert_equal(ours, exact, [x], [wide])


@needs_kernels
@pytest.mark.parametrize("mining", ["hard", "batch_hard", "semihard", "random"])
@pytest.mark.parametrize(("count", "classes"), [(40, 2), (30, 12), (15, 1)])
def test_mined_anchors_with_more_positives_than_slots_go_round_again(on_triton, monkeypatch, mining, count, classes):
    """Within the batch and with a reference set of more classes; own rows are among it, some of another class."""
    from triune.kernels import triplets_gpu
    from triune.losses.triplet import triplet_loss

    monkeypatch.setattr(triplets_gpu, "SLOTS", 7)
    x, labels = batch(count, classes)
    (y, others), own = batch(70, classes + 3, seed=1), torch.arange(count, device=DEVICE).flip(0)
    own[::4] = -1
    for where in ({}, {"reference": y, "reference_labels": others, "own_rows": own}):
        leaves = [x, where["reference"]] if where else [x]
        wide = [each.detach().double().requires_grad_() for each in leaves]
        exactly = {**where, "reference": wide[1]} if where else {}
        options = {"mining": mining, "margin": 0.7, "reduction": "sum"}
        ours = triplet_loss(x, labels, generator=seeded(), **options, **where)
        exact = triplet_loss(wide[0], labels, generator=seeded(), **options, **exactly)
        assert_equal(ours, exact, leaves, wide)


@needs_kernels
def test_a_reference_set_with_own_rows(on_triton):
    from triune.losses.triplet import triplet_loss

    (x, labels), (y, others) = batch(20, 5), batch(100, 7, seed=1)
    own = torch.arange(20, device=DEVICE) * 3
    own[::4] = -1
    options = {"reference_labels": others, "own_rows": own, "reduction": "sum"}
    ours = triplet_loss(x, labels, reference=y, **options)
    wide = [each.detach().double().requires_grad_() for each in (x, y)]
    exact = triplet_loss(wide[0], labels, reference=wide[1], **options)
    assert (ours.triplets, ours.active) == (exact.triplets, exact.active)
    for a, b in zip(torch.autograd.grad(ours.loss, (x, y)), torch.autograd.grad(exact.loss, wide)):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize(("margin", "gap"), [(0.2, None), ("soft", (0.0, 0.7))])
@pytest.mark.parametrize(("count", "classes"), [(40, 2), (40, 15), (15, 1)])
def test_anchors_with_more_positives_than_slots_go_round_again(on_triton, monkeypatch, margin, gap, count, classes):
    from triune.kernels import triplets_gpu
    from triune.losses.triplet import triplet_loss

    monkeypatch.setattr(triplets_gpu, "SLOTS", 7)
    x, labels = batch(count, classes)
    (y, others), own = batch(70, classes + 3, seed=1), torch.arange(count, device=DEVICE).flip(0)
    for where in ({}, {"reference": y, "reference_labels": others, "own_rows": own}):
        leaves = [x, where["reference"]] if where else [x]
        wide = [each.detach().double().requires_grad_() for each in leaves]
        exactly = {**where, "reference": wide[1]} if where else {}
        ours = triplet_loss(x, labels, margin=margin, gap=gap, reduction="sum", **where)
        exact = triplet_loss(wide[0], labels, margin=margin, gap=gap, reduction="sum", **exactly)
        assert (ours.triplets, ours.active) == (exact.triplets, exact.active)
        for a, b in zip((ours.loss, ours.positive_distance, ours.negative_distance), (exact.loss, *exact[3:])):
            torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-6, equal_nan=True)
        for a, b in zip(torch.autograd.grad(ours.loss, leaves), torch.autograd.grad(exact.loss, wide)):
            assert (a.double() - b).norm() <= 2e-5 * b.norm() + 1e-9


@needs_kernels
@pytest.mark.parametrize("mining", ["all", "hard", "batch_hard", "semihard", "random"])
def test_the_host_waits_for_nothing(on_triton, monkeypatch, mining):
    """No operation whose result the host must know: a scalar, or a size that depends on the data."""
    from triune.kernels import triplets_gpu
    from triune.losses.triplet import triplet_loss

    class Unwatched:
        """A kernel whose launches are not looked into: the interpreter reads tensors."""

        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            def launch(*args, **options):
                with _disable_current_modes():
                    self.kernel[grid](*args, **options)

            return launch

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            name = operation.overloadpacket.__name__
            assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "unique", "repeat_interleave"), name
            if name in ("index", "index_put_", "index_put"):
                assert not any(index is not None and index.dtype == torch.bool for index in args[1]), name
            return operation(*args, **(kwargs or {}))

    x, labels = batch(70, 9)
    for name in KERNELS:
        monkeypatch.setattr(triplets_gpu, name, Unwatched(getattr(triplets_gpu, name)))
    with Watch():
        triplet_loss(x, labels, mining=mining).loss.backward()


@needs_kernels
def test_near_duplicates_are_measured_from_differences(on_triton):
    from triune.distances.embeddings import unit
    from triune.losses.triplet import triplet_loss

    x, labels = batch(40, 5, width=64)
    x = (unit(torch.ones_like(x)) + 1e-3 * unit(x.detach())).requires_grad_()
    wide = x.detach().double().requires_grad_()
    ours, exact = (triplet_loss(each, labels, reduction="sum") for each in (x, wide))
    torch.testing.assert_close(ours.positive_distance.double(), exact.positive_distance.double(), rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.negative_distance.double(), exact.negative_distance.double(), rtol=1e-4, atol=0)


@needs_kernels
@pytest.mark.parametrize("labels", [[0] * 6, list(range(6))])
@pytest.mark.parametrize("mining", ["all", "hard", "batch_hard", "semihard", "random"])
def test_no_triplet_means_loss_zero(on_triton, labels, mining):
    from triune.losses.triplet import triplet_loss

    x = torch.randn(6, 4, device=DEVICE, requires_grad=True)
    loss = triplet_loss(x, labels, mining=mining).loss
    loss.backward()
    assert loss.item() == 0
    assert (x.grad == 0).all()


class NotLaunched:
    """Stands for a kernel that is asked for and does nothing."""

    def __getitem__(self, grid):
        return lambda *args, **options: None


class Allocations(TorchDispatchMode):
    """Adds up what is ever allocated, at most which is held at a time. What asks for a value fails on this device."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        given = {
            each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)
        }
        made = {each.untyped_storage()._cdata: each for each in tree_leaves(result) if isinstance(each, torch.Tensor)}
        self.bytes += sum(each.untyped_storage().nbytes() for key, each in made.items() if key not in given)
        return result


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("mining", ["all", "hard", "batch_hard", "semihard", "random"])
def test_what_is_allocated_is_linear_at_65536_without_a_gpu(on_triton, monkeypatch, mining, metric):
    """Loss and gradient of shapes alone: no B × B, nothing of the size of the largest class, nothing waited for."""
    from triune.kernels import triplets_gpu
    from triune.losses.batch import labelled_batch
    from triune.losses.triplet_settings import TripletSettings
    from triune.losses.triplet_sums import triplet_sums

    for name in KERNELS:
        monkeypatch.setattr(triplets_gpu, name, NotLaunched())
    allocated = {}
    for count in (16384, 65536):
        x = torch.empty(count, 512, device="meta", requires_grad=True)
        with Allocations() as allocations:
            labels = torch.empty(count, dtype=torch.int64, device="meta")
            batch = labelled_batch(x, labels)
            triplet_sums(batch, TripletSettings(metric=metric, mining=mining)).loss.backward()
        assert x.grad.shape == x.shape
        allocated[count] = allocations.bytes
    assert allocated[65536] <= 4.1 * allocated[16384]
    assert allocated[65536] < 2 * 65536**2  # bytes: half of one float32 matrix B × B


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mining", ["all", "hard", "batch_hard", "semihard", "random"])
def test_memory_stays_linear_at_65536(mining):
    from triune.losses.triplet import triplet_loss

    x = torch.randn(65536, 512, device="cuda", requires_grad=True)
    torch.cuda.reset_peak_memory_stats()
    triplet_loss(x, torch.arange(65536, device="cuda") // 4, mining=mining).loss.backward()
    assert torch.cuda.max_memory_allocated() < 3 << 30
