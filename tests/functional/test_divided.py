"""Verification and retrieval divided over two and three processes give exactly what one process finds."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from triune.functional import pairs, ranks, tiles
from triune.functional.intervals import bootstrap_verification
from triune.functional.neighbours import retrieval_per_query
from triune.functional.pairs import verify_embeddings

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
            pairs.LISTED_PAIRS = listed
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
            sure = bootstrap_verification(*given, **options, resamples=11, thresholds=(0.3,), divide_over=group)
            found.append([each.values.tolist() for each in (sure.auc, sure.eer, sure.fpr_at_threshold[0.3])])
        found.append(by_sorting(*given, **options, divide_over=group))
    return found


def by_sorting(x, y, metric="cosine", exclude="matches", divide_over=None, **others):
    places = [others.get(name) for name in ("gallery", "gallery_labels", "groups", "gallery_groups")]
    posed = tiles.PairTiles.prepare(x, y, metric, *places, exclude, divide_over)
    right = posed.spans[:, 2]
    left = np.searchsorted(right, right) if posed.y is posed.x else posed.spans[:, 1]
    ranks.SORTED = 1000
    return [part.rank.tolist() for part in ranks.ranks_by_sorting(posed, np.stack([left, right], axis=1))]


def work(rank, world, folder):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    tiles.ROWS, tiles.COLUMNS = 16, 32
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world)
    torch.save(found_of(dist.group.WORLD), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_every_process_finds_what_one_process_finds(world, tmp_path, monkeypatch):
    for module, name, value in (
        (tiles, "ROWS", 16), (tiles, "COLUMNS", 32), (pairs, "LISTED_PAIRS", pairs.LISTED_PAIRS),
        (ranks, "LISTED", ranks.LISTED), (ranks, "SORTED", ranks.SORTED),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers: how a product is shared out among threads changes its last bits
    try:
        expected = found_of(None)
    finally:
        torch.set_num_threads(threads)
    mp.spawn(work, (world, tmp_path), nprocs=world)
    for rank in range(world):
        assert torch.load(tmp_path / f"{rank}.pt") == expected
