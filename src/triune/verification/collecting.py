"""The scores of all matching pairs, or of all impostor pairs, as one array."""

import itertools
from typing import Any, TypeAlias

import numpy as np

from triune.kernels import scores_cpu
from triune.kernels.threads import sort_in_threads
from triune.pairs import on_device
from triune.pairs.tiles import PairTiles, Tile

Array: TypeAlias = np.ndarray[Any, Any]


def match_scores(pairs: PairTiles) -> Array:
    """The scores of all matching pairs, ascending, float32."""

    def holds_matches(row: int, column: int) -> bool:
        # Runs of matching columns follow each other down the rows.
        height, width = pairs.tile_size()
        start, stop = pairs.spans[row, 1], pairs.spans[min(row + height, len(pairs.x)) - 1, 2]
        if stop <= column or start >= column + width or not pairs.own_tile(row, column):
            return False
        first, last = pairs.runs_of_matches(row, column)
        return bool((last > first).any())

    def collect_on_cpu(tile: Tile, parts: list[Array]) -> None:
        first, last = pairs.runs_of_matches(tile.row, tile.column)
        room = np.empty(int(np.maximum(last - first, 0).sum()), dtype=np.float32)
        scores = tile.scores.numpy()
        count = scores_cpu.match_rows(scores, tile.row, tile.column, pairs.spans, pairs.groups, room)
        parts.append(room[:count])

    def collect_from_device(tile: Tile, parts: list[Array]) -> None:
        first, last = pairs.runs_of_matches(tile.row, tile.column)
        runs = (first - tile.column, last - tile.column)
        groups = (pairs.groups[0][tile.row :], pairs.groups[1][tile.column :])
        parts.extend(on_device.matching_scores(tile.scores, *runs, groups))

    collect = collect_on_cpu if pairs.on_cpu else collect_from_device
    parts = list(itertools.chain(*pairs.visit(holds_matches, collect, list)))
    found = np.concatenate([np.empty(0, np.float32), *pairs.all_gather(parts)])
    sort_in_threads(found)
    return found


def impostor_scores(pairs: PairTiles) -> Array:
    """The scores of all impostor pairs, in no order, float32: 4 bytes a pair."""

    def collect(tile: Tile, parts: list[Array]) -> None:
        parts.append(tile.scores[pairs.impostors(tile)].cpu().numpy())

    parts = itertools.chain(*pairs.visit(pairs.holds_impostors, collect, list))
    return np.concatenate([np.empty(0, np.float32), *pairs.all_gather(list(parts))])
