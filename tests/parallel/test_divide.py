"""What is divided over two and three processes gives exactly what one process finds, and no block is done twice."""

import dataclasses
import functools
import os

import numpy as np
import pytest
import torch
import torch.distributed as dist

from examples import tiles_of
from forked import run_forked
from triune.kernels import ranking_cpu
from triune.pairs import tiles
from triune.parallel import blocks
from triune.parallel.divide import exact_sums
from triune.recognition import few_shot as episodes, identification
from triune.recognition.few_shot import few_shot
from triune.recognition.identification import open_set_identification
from triune.retrieval import neighbours, ranks
from triune.retrieval.metrics import retrieval_per_query
from triune.retrieval.neighbours import top_k
from triune.retrieval.reranking import expand_gallery, expand_queries, rerank
from triune.verification import all_pairs, hardest, pair_noise, weighing
from triune.verification.all_pairs import verify_embeddings
from triune.verification.bootstrap import bootstrap_verification
from triune.verification.conditions import rates_by_condition
from triune.verification.hardest import hardest_pairs, score_histograms

FPRS = (0.05, 0.01)
OTHER_FPRS = (0.3, 0.002)
"""Budgets not named beforehand: their thresholds take further visits of the pairs."""
CASES = [
    {},
    {"metric": "euclidean"},
    {"metric": "squared_euclidean", "tied": True},
    {"tied": True, "groups": True},
    {"gallery": True, "groups": True, "exclude": "matches"},
    {"gallery": True, "metric": "euclidean"},
]
SMALL = [
    (tiles, "ROWS", 16), (tiles, "COLUMNS", 32), (all_pairs, "LISTED_PAIRS", all_pairs.LISTED_PAIRS),
    (ranks, "LISTED", ranks.LISTED), (ranks, "SORTED", ranks.SORTED), (blocks, "BLOCK_BYTES", 6000),
    (weighing, "BLOCK_CELLS", 900), (pair_noise, "BLOCK_CELLS", 900),
]  # fmt: skip
"""Blocks so small that every process gets some; and what the cases below change."""
BLOCKS = [
    (hardest, "_kinds"), (pair_noise, "scores_between"), (neighbours, "_ranked"), (ranking_cpu, "shared_weight"),
    (identification, "scores_between"), (episodes, "_accuracies"),
]  # fmt: skip
"""What is called once a block."""


def items(count, seed, tied):
    g = np.random.default_rng(seed)
    y = g.integers(0, 12, count)
    x = np.eye(12, 6)[y] + 0.6 * g.normal(size=(count, 6))
    return (np.round(x) + 1 if tied else x).astype(np.float32), y + 2**53, g.integers(0, 5, count)


def arguments(case):
    case = dict(case)
    tied, gallery, grouped = (case.pop(name, False) for name in ("tied", "gallery", "groups"))
    x, y, kinds = items(150, 0, tied)
    if grouped:
        case["groups"] = kinds
    if gallery:
        g, gy, theirs = items(90, 1, tied)
        case |= {"gallery": g, "gallery_labels": gy} | ({"gallery_groups": theirs} if grouped else {})
    return (x, y), case


def found_of(group):
    """Every figure of every case, listed and counted, as plain values."""
    found = []
    for case in CASES:
        given, options = arguments(case)
        for listed in (1 << 23, 10):
            all_pairs.LISTED_PAIRS = listed
            v = verify_embeddings(*given, **options, fprs=FPRS, divide_over=group)
            points = [v.operating_point(fpr)._asdict() for fpr in (*FPRS, *OTHER_FPRS)]
            histogram = [part.tolist() for part in v.histogram(9)]
            roc = [part.tolist() for part in v.roc()]
            found.append((v.auc, v.eer, points, v.match_scores.tolist(), roc, histogram))
        for at_a_time in (1 << 23, 100):
            ranks.LISTED = at_a_time
            each = retrieval_per_query(*given, **options, divide_over=group)
            found.append((each.query.tolist(), each.first_rank.tolist(), each.average_precision.tolist()))
        if "gallery" not in options and "metric" not in options:
            sure = bootstrap_verification(*given, **options, resamples=39, thresholds=(0.3,), divide_over=group)
            found.append([each.values.tolist() for each in (sure.auc, sure.eer, sure.fpr_at_threshold[0.3])])
        found.append(by_sorting(*given, **options, divide_over=group))
    return found


def by_sorting(x, y, **options):
    pairs = tiles_of(x, y, **{"exclude": "matches", **options})
    right = pairs.spans[:, 2]
    left = np.searchsorted(right, right) if pairs.y is pairs.x else pairs.spans[:, 1]
    ranks.SORTED = 1000
    return [part.rank.tolist() for part in ranks.ranks_by_sorting(pairs, np.stack([left, right], axis=1))]


def found_of_the_rest(group):
    """The same of what is computed of all pairs, rankings, conditions, protocols and episodes."""
    (x, y, kinds), (g, gy, _) = items(150, 0, tied=False), items(90, 1, tied=False)
    tied = items(150, 0, tied=True)[0]
    found = []
    for rows, metric in ((x, "cosine"), (x, "euclidean"), (tied, "squared_euclidean")):
        both = {"metric": metric, "divide_over": group}
        found += [*hardest_pairs(rows, y, k=7, **both), score_histograms(rows, y, bins=9, **both)]
        found += [top_k(rows, g, 0, **both), top_k(rows, g, 6, **both), top_k(rows, rows, 6, exclude_self=True, **both)]
        found += [expand_queries(rows, g, neighbours=4, **both), expand_gallery(rows, neighbours=4, **both)]
        found += [rerank(rows, g, k1=6, k2=3, **both), rerank(rows, k=5, k1=6, k2=3, **both)]
        found.append(dataclasses.astuple(open_set_identification(rows, y, g[gy % 3 > 0], gy[gy % 3 > 0], **both)))
        found.append(few_shot(rows, y, ways=3, queries=2, episodes=200, **both).accuracies)
        for cross, groups in (("all", None), ("within", kinds)):
            table = rates_by_condition(
                rows, y, kinds % 3, 0.5, cross=cross, groups=groups, resamples=39, metric=metric, divide_over=group
            )
            found += [dataclasses.astuple(part) for row in table.rows for part in (row.tpr, row.fpr)]
            found += [row[:6] for row in table.rows]
    sure = bootstrap_verification(x, y, resamples=39, thresholds=(0.3, 0.5), max_pairs=4000, divide_over=group)
    found += [each.values for each in sure.fpr_at_threshold.values()]
    return plain(found)


def plain(value):
    """Nested tuples, arrays and tensors as lists of plain values; NaN as a word, which is equal to itself."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        return plain(value.tolist())
    return str(value)


def counting_blocks(find):
    """What is found, and how often each of :data:`BLOCKS` was called for it."""
    counts = dict.fromkeys((name for _, name in BLOCKS), 0)
    whole = [getattr(module, name) for module, name in BLOCKS]

    def counted(name, function):
        @functools.wraps(function)
        def call(*given, **named):
            counts[name] += 1
            return function(*given, **named)

        return call

    for (module, name), function in zip(BLOCKS, whole, strict=True):
        setattr(module, name, counted(name, function))
    try:
        return find(), counts
    finally:
        for (module, name), function in zip(BLOCKS, whole, strict=True):
            setattr(module, name, function)


def work(rank, world, folder):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    for module, name, value in SMALL:
        setattr(module, name, value)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world)
    group = dist.group.WORLD
    sums = exact_sums([[(1e16 if rank == 0 else 1.0, 0.5)], []], 2, group)
    found = found_of(group), counting_blocks(lambda: found_of_the_rest(group)), sums.tolist()
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_every_process_finds_what_one_process_finds(world, tmp_path, monkeypatch):
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers: how a product is shared out among threads changes its last bits
    try:
        expected = found_of(None)
        the_rest, blocks = counting_blocks(lambda: found_of_the_rest(None))
    finally:
        torch.set_num_threads(threads)
    run_forked(work, (world, tmp_path), world)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for first, (rest, _), sums in found:
        assert first == expected
        assert rest == the_rest
        assert sums == [[1e16 + 2 * (world // 3), world / 2], [0, 0]]  # of 1e16, neighbours are 2 apart
    for name, count in blocks.items():
        shares = [own[name] for _, (_, own), _ in found]
        assert sum(shares) == count
        assert min(shares) > 0.2 * count / world
