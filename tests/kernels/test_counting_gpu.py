"""The counting kernels for GPUs, exactly equal to Numba's and to full lists: interpreted, and on a GPU where one is."""

import re

import numpy as np
import pytest
import torch

from examples import tiles_of
from interpreted import DEVICE, INTERPRETED, assert_passes_interpreted, needs_kernels, starts_the_interpreter
from triune.kernels import counting_cpu
from triune.kernels.paths import choose_counting
from triune.pairs import on_device, scores, tiles
from triune.verification import all_pairs, counting, sampling
from triune.verification.all_pairs import verify_embeddings
from triune.verification.collecting import impostor_scores, match_scores
from triune.verification.impostors import Counted
from triune.verification.roc import from_scores
from triune.verification.selection import keys_of

pytest.importorskip("triton")
METRICS = ("cosine", "euclidean", "squared_euclidean")
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")


@starts_the_interpreter
def test_the_counting_kernels_under_the_interpreter():
    assert_passes_interpreted(__file__, skipped=5)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.filterwarnings("ignore")
def test_no_product_is_fused_with_a_sum_and_no_addition_waits_for_an_answer():
    """Compiled for a GPU, which takes none: cells are exact because every operation is rounded by itself."""
    import triton
    from triton.backends.compiler import GPUTarget

    from triune.kernels import counting_gpu
    from triune.kernels.counting_cpu import PIECES

    types = {
        "*fp32": "scores pieces knots kept", "*i64": "spans row_groups column_groups rank tied kept_count",
        "*i32": "marks before cells", "*i8": "kept_cells",
        "i32": "row column R C halvings capacity cell_copies cell_count rank_copies rank_count",
    }  # fmt: skip
    kernel, constants = counting_gpu._count_kernel, {"GROUPED": True, "PIECES": PIECES, **counting_gpu.BLOCK}
    signature = {name: kind for kind, names in types.items() for name in names.split()}
    signature = {name: "constexpr" if name in constants else signature[name] for name in kernel.arg_names}
    source = triton.compiler.ASTSource(
        kernel, signature, {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    )
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert "mul.f32" in ptx or "mul.rn.f32" in ptx
    assert "fma" not in ptx
    assert ".ftz" not in ptx
    # Room among the kept scores is the one answer that is read: where nobody reads it, nobody waits for the addition.
    answers = re.findall(r"atom\.\S+\s+(%\w+),", ptx)
    assert sum(re.search(rf",[^\n]*{answer}\b", ptx) is not None for answer in answers) == 1


@pytest.fixture
def on_triton(monkeypatch):
    """Ragged tiles of several programs, but few, as each takes the interpreter a while; nothing is listed."""
    from triune.kernels import counting_gpu

    monkeypatch.setattr(tiles, "DEVICE_TILE", (50, 72))
    monkeypatch.setattr(counting_gpu, "BLOCK", {"BR": 32, "BC": 64})
    monkeypatch.setattr(sampling, "SAMPLE", (2000, 2000))
    monkeypatch.setattr(all_pairs, "LISTED_PAIRS", -1)
    for module in (tiles, on_device, scores):
        monkeypatch.setattr(module, "choose_counting", lambda device: "triton")


def smooth(seed, n=100, classes=17, d=6):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    return (g.normal(size=(classes, d))[y] + 0.8 * g.normal(size=(n, d))).astype(np.float32), y


def tied(seed, n=90, classes=7):
    """Whole coordinates: squared distances are exact, and whatever computes them finds the same scores."""
    g = np.random.default_rng(seed)
    return g.integers(-2, 3, (n, 3)).astype(np.float32), g.integers(0, classes, n)


def equal(seed, n=40):
    return np.ones((n, 3), np.float32), np.arange(n) // 4


def one_match(seed, n=40):
    y = np.arange(n)
    y[1] = 0
    return smooth(seed, n)[0], y


def tensor(x):
    return torch.from_numpy(np.ascontiguousarray(x)).to(DEVICE)


def counted_by_numba(scores, row, column, spans, groups, table):
    """Counters as plain arrays: cells, rank, tied, and the kept scores in order."""
    state = counting_cpu.fresh_state(table, scores.shape[1], scores.size)
    counting_cpu.count_rows(scores, row, column, spans, groups, table, state)
    counting_cpu.finish(table, state)
    return state.cells & ~counting_cpu.MARK, state.rank, state.tied, np.sort(state.kept[: state.kept_count[0]])


def counted_by_triton(scores, row, column, spans, groups, table):
    from triune.kernels import counting_gpu

    place = counting_gpu.places(table, DEVICE)
    state = counting_gpu.fresh_counters(place, scores.size)
    on_it = (tensor(scores), row, column, tensor(spans), tuple(map(tensor, groups)))
    counting_gpu.count_tile(*on_it, place, state)
    kept = state.kept[: int(state.kept_count)].sort().values
    return [part.cpu().numpy() for part in (state.cells.sum(0), state.rank.sum(0), state.tied.sum(0), kept)]


def counted_by_hand(scores, row, column, spans, groups, table):
    """What the definitions say of the list of a tile's impostors."""
    places = [
        (i, j)
        for i in range(scores.shape[0])
        for j in range(scores.shape[1])
        if spans[row + i, 0] <= column + j
        and not spans[row + i, 1] <= column + j < spans[row + i, 2]
        and not (len(groups[0]) and groups[0][row + i] == groups[1][column + j])
    ]
    listed = np.array([scores[place] for place in places], dtype=np.float32)
    cells, knots = counting_cpu.cells_of(listed, table), table.knots
    marked = listed[table.marked()[cells]]
    return (
        np.bincount(cells, minlength=len(table.kept)),
        np.bincount(np.searchsorted(knots, marked), minlength=len(knots)),
        np.bincount(np.searchsorted(knots, listed[np.isin(listed, knots)]), minlength=len(knots)),
        np.sort(listed[table.kept[cells]]),
    )


def tile(kind, g, shape=(37, 421)):
    """Scores and knots."""
    if kind == "smooth":
        return g.normal(size=shape).astype(np.float32), np.unique(g.normal(size=300).astype(np.float32))
    if kind == "tied":
        return g.integers(-40, 3, shape).astype(np.float32), np.arange(-30, 0, 2, dtype=np.float32)
    if kind == "all equal":
        return np.full(shape, 0.25, np.float32), np.array([0.25], np.float32)
    if kind == "one knot":
        return g.normal(size=shape).astype(np.float32), np.array([0.1], np.float32)
    if kind == "far apart":  # nearly all knots share the last cell
        knots = np.unique(g.uniform(5, 9, 3000).astype(np.float32))
        scores = g.normal(size=shape).astype(np.float32)
        scores[:, ::50] = knots[g.integers(0, len(knots), scores[:, ::50].shape)]
        return scores, knots
    near = np.float32(1) + np.arange(2000, dtype=np.float32) * np.float32(2**-23)  # every float of a short range
    return near[g.integers(0, 2000, shape)], near[::3].copy()


@needs_kernels
@pytest.mark.parametrize("kind", ["smooth", "tied", "all equal", "one knot", "far apart", "neighbouring floats"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_tile_is_counted_as_by_numba_and_by_hand(kind, grouped):
    g = np.random.default_rng(0)
    scores, knots = tile(kind, g)
    row, column, rows, columns = 3, 11, scores.shape[0], scores.shape[1]
    first = np.sort(g.integers(0, column + columns + 20, row + rows))
    start = first + g.integers(0, 200, row + rows)
    spans = np.stack([first, start, start + g.integers(0, 90, row + rows)], axis=1).astype(np.int64)
    spans[row] = 0
    none = np.empty(0, np.int64)
    groups = (g.integers(0, 3, row + rows), g.integers(0, 3, column + columns)) if grouped else (none, none)
    low, high = np.quantile(scores, [0.0005, 0.9995])
    keep = [tuple(map(float, np.quantile(scores, ends).astype(np.float32))) for ends in ([0.2, 0.25], [0.999, 1.0])]
    table = counting_cpu.tables(knots, float(low), float(high), keep, np.sort(scores.ravel()))
    tile_of = (scores, row, column, spans, groups, table)
    ours, numba, exact = (by(*tile_of) for by in (counted_by_triton, counted_by_numba, counted_by_hand))
    for mine, theirs, right in zip(ours, numba, exact, strict=True):
        np.testing.assert_array_equal(mine, right)
        np.testing.assert_array_equal(theirs, right)
    assert ours[3].size
    assert ours[1].sum()


@needs_kernels
def test_every_cell_is_that_of_the_tables():
    """On, beside and between the edges of cells, far outside, and for ranges as short and as long as tables allow."""
    from triune.kernels import counting_gpu

    g = np.random.default_rng(1)
    none = np.empty(0, np.int64)
    for low, high in ((-1.0, 1.0), (-0.3, 0.9), (0.5, 0.5), (-1e-38, 1e-38), (-3e38, 3e38), (1.0, 1.0 + 1e-6)):
        knots = np.unique(g.uniform(low, high, 5000).astype(np.float32))
        table = counting_cpu.tables(knots, low, high, [], knots)
        edges = counting_cpu.lowest_of(np.arange(1, len(table.kept), max(1, len(table.kept) // 1024)), table)
        near = np.concatenate([edges, np.float32([low - 1, high + 1, -3e38, 3e38, 0.0])])
        beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
        scores = np.concatenate([near, *beside, knots])[None]
        place = counting_gpu.places(table, DEVICE)
        state = counting_gpu.fresh_counters(place, 0)
        groups = (tensor(none), tensor(none))
        counting_gpu.count_tile(tensor(scores), 0, 0, tensor(np.zeros((1, 3), np.int64)), groups, place, state)
        expected = np.bincount(counting_cpu.cells_of(scores[0], table), minlength=len(table.kept))
        np.testing.assert_array_equal(state.cells.sum(0).cpu().numpy(), expected)


@needs_kernels
@pytest.mark.parametrize("upper", [False, True])
def test_halves_of_keys_are_counted(upper):
    from triune.kernels import counting_gpu

    scores = np.random.default_rng(2).normal(size=(9, 300)).astype(np.float32)
    scores[0, :5] = [0.0, -0.0, 1e-45, -1e-45, -3e38]
    spans, none = np.zeros((9, 3), np.int64), np.empty(0, np.int64)
    keys = keys_of(torch.from_numpy(scores)).flatten()
    half = int(keys[-1] >> 16) if upper else None
    expected = torch.bincount((keys[keys >> 16 == half] & 0xFFFF) if upper else keys >> 16, minlength=1 << 16)
    counts = counting_gpu.fresh_halves(DEVICE)
    counting_gpu.count_halves(tensor(scores), 0, 0, tensor(spans), (tensor(none), tensor(none)), half, counts)
    assert torch.equal(counts.sum(0).cpu(), expected)


def prepared_both(x, y, **options):
    """Figures of the whole, and the full list of the very same scores."""
    moved = {name: tensor(part) if name == "gallery" else part for name, part in options.items()}
    counted = verify_embeddings(tensor(x), y, **moved)
    moved.pop("fprs", None)
    prepared = tiles_of(tensor(x), y, **moved)
    return counted, from_scores(match_scores(prepared), impostor_scores(prepared))


def assert_equal(counted, listed):
    assert isinstance(counted.impostor, Counted)
    assert (counted.matches, counted.impostors) == (listed.matches, listed.impostors)
    np.testing.assert_array_equal(counted.match_scores, listed.match_scores)
    np.testing.assert_array_equal(counted.impostor.knots_below, listed.impostor.below(counted.impostor.knots))
    np.testing.assert_array_equal(counted.impostor.knots_up_to, listed.impostor.up_to(counted.impostor.knots))
    assert counted.auc == listed.auc
    for fpr in (0.0, 0.05, 0.3):
        assert counted.operating_point(fpr) == listed.operating_point(fpr)
    for threshold in (-np.inf, float(np.median(listed.impostor_scores)), np.inf):
        assert counted.confusion_at(threshold) == listed.confusion_at(threshold)


def assert_same_counts(triton, numba):
    """Everything that was counted is what the CPU counts of the same scores."""
    for name in ("knots", "knots_below", "knots_up_to", "count"):
        np.testing.assert_array_equal(getattr(triton.impostor, name), getattr(numba.impostor, name))
    assert triton.auc == numba.auc
    for fpr in (0.0, 0.001, 0.01, 0.05, 1.0):
        assert triton.operating_point(fpr) == numba.operating_point(fpr)


@needs_kernels
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("example", [smooth, tied, equal, one_match])
def test_verification_equals_the_list(on_triton, example, metric):
    assert_equal(*prepared_both(*example(0), metric=metric))


@needs_kernels
@pytest.mark.parametrize("example", [tied, equal])
@pytest.mark.parametrize("metric", METRICS[1:])
def test_verification_equals_the_cpu_where_scores_are_the_same(example, metric, on_triton, monkeypatch):
    x, y = example(1)
    triton = verify_embeddings(tensor(x), y, metric=metric)
    for module in (tiles, on_device, scores):
        monkeypatch.setattr(module, "choose_counting", choose_counting)
    assert_same_counts(triton, verify_embeddings(x, y, metric=metric))


@needs_kernels
@pytest.mark.parametrize("exclude", ["pairs", "matches"])
def test_groups_are_excluded(on_triton, exclude, monkeypatch):
    monkeypatch.setattr(on_device, "MATCHES", 20)  # fetched in several parts
    x, y = smooth(1, n=80)
    groups = np.random.default_rng(5).integers(0, 4, len(x))
    counted, listed = prepared_both(x, y, groups=groups, exclude=exclude)
    i, j = np.triu_indices(len(x), 1)
    same = groups[i] == groups[j]
    assert listed.matches == ((y[i] == y[j]) & ~same).sum()
    assert listed.impostors == ((y[i] != y[j]) & ~(same & (exclude == "pairs"))).sum()
    assert_equal(counted, listed)


@needs_kernels
@pytest.mark.parametrize("metric", METRICS)
def test_a_gallery_with_groups(on_triton, metric):
    x, y = smooth(2)
    session = np.arange(len(x)) % 3
    options = {"gallery": x[50:], "gallery_labels": y[50:], "groups": session[:50], "gallery_groups": session[50:]}
    counted, listed = prepared_both(x[:50], y[:50], metric=metric, **options)
    apart = session[:50, None] != session[None, 50:]
    assert listed.matches == ((y[:50, None] == y[None, 50:]) & apart).sum()
    assert listed.impostors == ((y[:50, None] != y[None, 50:]) & apart).sum()
    assert_equal(counted, listed)


@needs_kernels
def test_scores_that_did_not_fit_are_noticed_and_found_by_selection(on_triton, monkeypatch):
    from triune.kernels import counting_gpu

    real = counting_gpu.fresh_counters
    monkeypatch.setattr(counting_gpu, "fresh_counters", lambda place, capacity: real(place, min(capacity, 3)))
    x, y = smooth(6, n=60)
    seen = []
    joined = counting._joined
    monkeypatch.setattr(counting, "_joined", lambda *a: (seen.append(a[3].lost), joined(*a))[1])
    counted, listed = prepared_both(x, y)
    assert seen[0]
    assert not counted.impostor.kept
    assert_equal(counted, listed)


@needs_kernels
def test_counters_are_emptied_before_they_run_over(on_triton, monkeypatch):
    from triune.kernels import counting_gpu

    monkeypatch.setattr(counting_gpu, "COUNTER_PAIRS", 4000)
    assert_equal(*prepared_both(*smooth(7)))


@needs_kernels
def test_a_sample_holds_impostors_only_and_evenly(on_triton, monkeypatch):
    monkeypatch.setattr(on_device, "GATHERED", 1000)
    x, y = smooth(8, n=60)
    groups = np.arange(60) % 2
    prepared = tiles_of(tensor(x), y, metric="euclidean", groups=groups)
    sample, everything = sampling.sample_impostors(prepared), np.sort(impostor_scores(prepared))
    assert 0.3 * 2000 < len(sample) < 0.6 * 2000  # half of the pairs, fewer by matches and by rows drawn twice
    assert (np.diff(sample) >= 0).all()
    nearest = everything[np.clip(np.searchsorted(everything, sample), 1, len(everything) - 1)]
    before = everything[np.clip(np.searchsorted(everything, sample), 1, len(everything) - 1) - 1]
    np.testing.assert_allclose(np.minimum(abs(sample - nearest), abs(sample - before)), 0, atol=1e-5)
    assert abs(np.median(sample) - np.median(everything)) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("metric", METRICS)
def test_a_large_set_is_counted_as_by_torch(metric, monkeypatch):
    g = torch.Generator().manual_seed(0)
    y = torch.arange(30_000) // 10
    x = torch.randn(3000, 64, generator=g)[y] + 1.5 * torch.randn(30_000, 64, generator=g)
    triton = verify_embeddings(x.cuda(), y, metric=metric)
    monkeypatch.setitem(counting.COUNT, "triton", counting.count_by_torch)
    assert_same_counts(triton, verify_embeddings(x.cuda(), y, metric=metric))
