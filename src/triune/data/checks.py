"""A table checked before anything is trained on it: every image and mask opened, every problem at once."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from triune.data.boxes import BOX_COLUMNS, Box, boxes_of, outside
from triune.data.decode import IGNORE, Array, Probed, mask_pixels, probe_image
from triune.data.items import COLUMNS, ItemTable, Progress
from triune.data.problems import Problem
from triune.data.reading import ChosenValues, Reading, choose_mask_values, depth_in_use
from triune.errors import InputError
from triune.names import lookalikes


class Examination(NamedTuple):
    """What was found of a table and of every file that it names.

    Args:
        problems: everything that is wrong, sorted by row; none for a sound table.
        reading: how the pixels are to be read, chosen from all of them.
        notes: what was chosen, for people.
    """

    problems: list[Problem]
    reading: Reading
    notes: tuple[str, ...]


def check_table(
    table: ItemTable,
    *,
    masks: bool = True,
    mask_ids: int | None = None,
    identities: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Problem]:
    """Look at every row and every file and list everything that is wrong, sorted by row.

    Found are: wrong cell values; images and masks that are missing, cut short or unreadable; a mask of another size
    than its image; a box that is not within its image; mask pixels beyond the expected ids, or beyond those of the
    training images; masks whose values are no ids (see :func:`~triune.data.reading.choose_mask_values`); an image
    listed twice; an identity with a single image where training needs two (it can give no positive pair); names that
    differ by nothing that can be seen. Every image is read to its end, in threads.

    Args:
        table: as it was read or split.
        masks: look at the masks; not needed where no mask is trained on.
        mask_ids: how many ids the masks may hold, 0 to ``mask_ids - 1``; any where ``None``.
        identities: look for identities with a single image; not needed where no embedding is trained.
        workers: how many threads; a few a core where not given.
        progress: called with (done, total) now and then.

    Returns:
        The problems; none for a sound table. Raise them as ``DataError(problems)``.
    """
    return examine(
        table, masks=masks, mask_ids=mask_ids, identities=identities, workers=workers, progress=progress
    ).problems


def examine(
    table: ItemTable,
    *,
    masks: bool = True,
    mask_ids: int | None = None,
    identities: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
    choose: bool = True,
) -> Examination:
    """The same as :func:`check_table`, with how the pixels are to be read: the table's way, where that says it.

    Args:
        table: as it was read or split.
        masks: look at the masks.
        mask_ids: how many ids the masks may hold.
        identities: look for identities with a single image.
        workers: how many threads.
        progress: called with (done, total) now and then.
        choose: whether what the table's reading leaves open is chosen here; a trained network's is settled.
    """
    frame = table.frame
    problems = list(table.problems)
    if identities:
        problems += _lonely_identities(table)
    problems += _repeated_images(table) + _lookalikes(table)

    rows = frame["row"].to_list()
    images = frame["image"].to_list()
    mask_paths = frame["mask"].to_list() if masks else [None] * len(rows)
    outcomes: list[_Outcome] = []
    seen = list(zip(images, mask_paths, boxes_of(frame)))
    for row, outcome in zip(rows, _in_threads(_inspect, seen, workers)):
        problems += [Problem(table.source, row, *each) for each in outcome.problems]
        outcomes.append(outcome)
        if progress is not None and (len(outcomes) % 64 == 0 or len(outcomes) == len(rows)):
            progress(len(outcomes), len(rows))
    bits, depth_problems, depth_note = _depth(table, rows, outcomes)
    masked = [(row, each) for row, each in zip(rows, outcomes) if each.values is not None]
    chosen = ChosenValues(table.reading.mask_values)
    if choose and masked and chosen.values is None:
        chosen = _chosen_values([each for _, each in masked], mask_ids)
    if chosen.problem:
        problems.append(Problem(table.source, masked[0][0], "mask", chosen.problem, chosen.remedy))
    else:
        problems += _beyond(table, masked, Reading(None, chosen.values), mask_ids)
    problems += depth_problems
    notes = tuple(f"{table.source}: {note}" for note in (depth_note, chosen.note) if note)
    place = {name: number for number, name in enumerate((*COLUMNS, *BOX_COLUMNS))}
    problems.sort(key=lambda p: (-1 if p.row is None else p.row, place[p.column] if p.column else -1))
    return Examination(problems, Reading(bits, chosen.values), notes)


class _Outcome(NamedTuple):
    """What was found of one image and its mask: the values of the mask, how many pixels have each."""

    problems: list[tuple[str, str, str]]
    image: Probed | None
    values: Array | None
    counts: Array | None
    lossy: bool


def _inspect(seen: tuple[str | None, str | None, Box | None]) -> _Outcome:
    """What is wrong with an image, its mask and its box, as (column, problem, remedy), and what they hold."""
    image, mask, box = seen
    problems: list[tuple[str, str, str]] = []
    probed: Probed | None = None
    if image is not None:
        try:
            probed = probe_image(image)
        except Exception as error:
            problems.append(_unreadable("image", image, error))
    if probed is not None and box is not None:
        left = outside(box, probed.size)
        problems += [] if left is None else [(*left, "correct the box, or leave its four cells empty")]
    if mask is None:
        return _Outcome(problems, probed, None, None, False)
    try:
        pixels, lossy = mask_pixels(mask)
    except Exception as error:
        problems.append(_unreadable("mask", mask, error))
        return _Outcome(problems, probed, None, None, False)
    if probed is not None and pixels.shape != probed.size:
        size = probed.size
        problem = f"{mask} is {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {size[1]} x {size[0]}"
        problems.append(("mask", problem, "make both the same size"))
    elif box is not None and not problems:
        pixels = pixels[box.place]  # what lies outside is not looked at
    if pixels.dtype == np.uint8:
        every = np.bincount(pixels.ravel(), minlength=256)
        values = np.flatnonzero(every)
        return _Outcome(problems, probed, values.astype(np.int32), every[values], lossy)
    values, counts = np.unique(pixels, return_counts=True)
    return _Outcome(problems, probed, values, counts, lossy)


def _unreadable(column: str, path: str, error: Exception) -> tuple[str, str, str]:
    remedy = "replace the file or remove the row"
    if isinstance(error, InputError):  # nothing that can be read lies there
        return column, str(error), "correct the path or remove the row"
    reason = " ".join(str(error).split()).replace(repr(path), "it")
    return column, f"{path} cannot be read ({reason or type(error).__name__})", remedy


def _depth(
    table: ItemTable, rows: Sequence[int], outcomes: Sequence[_Outcome]
) -> tuple[int | None, list[Problem], str]:
    """How many bits deep images use, what is wrong with them, and a sentence."""
    problems = []
    largest, deep, upper, narrow = 0, 0, 0, None
    for row, outcome in zip(rows, outcomes):
        image = outcome.image
        if image is not None and image.deep is not None:
            deep += 1
            largest = max(largest, image.deep[1])
            if image.deep[0] < 0:
                problem = f"its pixels go down to {image.deep[0]}, and all below 0 would become black"
                problems.append(Problem(table.source, row, "image", problem, "shift them so that they begin at 0"))
        if image is not None and image.upper is not None:
            upper = max(upper, image.upper)
            narrow = row if narrow is None else narrow
    if narrow is not None and upper < DARK:
        used = depth_in_use(upper << 8 | 0xFF)
        problem = f"the colour images of 16 bits a channel use {used} of them at most, and only the upper 8 are read"
        problems.append(Problem(table.source, narrow, "image", problem, "save them with 8 bits a channel"))
    bits = table.reading.bits
    if not deep:
        return bits, problems, ""
    bits = bits or depth_in_use(largest)
    note = f"{deep} images have more than 8 bits a channel; {bits} bits are in use, of which the upper 8 are read"
    return bits, problems, note


DARK = 64
"""Upper bytes below this one use 14 of 16 bits at most."""


def _chosen_values(masked: Sequence[_Outcome], mask_ids: int | None) -> ChosenValues:
    """What the values in all masks mean; where the number of ids is given, values are ids or two of any kind."""
    counts = Counter[int]()
    for each in masked:
        assert each.values is not None
        assert each.counts is not None
        counts.update(dict(zip(each.values.tolist(), each.counts.tolist())))
    chosen = choose_mask_values(counts, any(each.lossy for each in masked))
    if mask_ids is None or (chosen.problem and set(counts) <= {0, IGNORE}):
        return chosen
    return chosen if chosen.values is not None and mask_ids == 2 else ChosenValues()


def _beyond(
    table: ItemTable, masked: Sequence[tuple[int, _Outcome]], reading: Reading, mask_ids: int | None
) -> list[Problem]:
    """Masks that hold ids which the network has no channel for."""
    problems = []
    splits = dict(zip(table.frame["row"].to_list(), table.frame["split"].to_list()))
    largest: dict[int, int] = {}
    for row, each in masked:
        assert each.values is not None
        try:
            ids = reading.ids(each.values, each.lossy)
        except ValueError as error:
            problems.append(Problem(table.source, row, "mask", str(error), "correct the mask, or list the value too"))
            continue
        largest[row] = int(ids[ids != IGNORE].max(initial=0))
    trained = max((top for row, top in largest.items() if splits[row] == "train"), default=None)
    limit, origin = mask_ids, ""
    if limit is None and trained is not None:
        limit, origin = max(trained + 1, 2), ", as those of the training images do"
    for row, top in largest.items():
        if limit is not None and top >= limit:
            problem = f"the mask holds the id {top}, but ids go from 0 to {limit - 1}{origin}"
            remedy = f"correct the mask, train with more mask channels (--model.mask_channels {top + 1}), or say "
            remedy += "which values stand for the ids 0, 1, … (--images.mask_values)"
            problems.append(Problem(table.source, row, "mask", problem, remedy))
    return problems


def _lookalikes(table: ItemTable) -> list[Problem]:
    """Two names that differ by nothing that can be seen."""
    problems = []
    for column in ("label", "identity"):
        alike = lookalikes(sorted(table.frame[column].drop_nulls().unique().to_list()))
        if alike is not None and (column == "label" or table.identity_column == "identity"):
            places = table.frame.filter(pl.col(column).is_in(alike))
            one, two = (places.filter(pl.col(column) == name)["row"][0] for name in alike)
            problem = f"{alike[0]!a} and {alike[1]!a} (row {min(one, two)}) look the same, but are two names"
            remedy = "remove the spaces or invisible characters"
            problems.append(Problem(table.source, max(one, two), column, problem, remedy))
    return problems


def _in_threads(function: Callable[[Any], Any], items: list[Any], workers: int | None) -> Iterable[Any]:
    """Results in order; threads serve since decoding releases the interpreter lock."""
    count = workers or min(16, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(count) as pool:
        for start in range(0, len(items), 4096):
            yield from pool.map(function, items[start : start + 4096])


def _lonely_identities(table: ItemTable) -> list[Problem]:
    """Identities with one image where two are needed: in train if splits were given, else anywhere."""
    frame = table.frame
    if table.split_kind == "given" and table.has_split:
        frame = frame.filter(pl.col("split") == "train")
    alone = frame.filter(pl.col("identity").is_not_null()).filter(pl.len().over("identity") == 1)
    column = table.identity_column
    where = "in train" if table.split_kind == "given" and table.has_split else "in the table"
    return [
        Problem(
            table.source,
            row,
            column,
            f"{column} {name!r} has a single image {where}, so it can give no positive pair",
            f"add images of it, leave its {column} empty or remove the row",
        )
        for row, name in alone.select("row", "identity").iter_rows()
    ]


def _repeated_images(table: ItemTable) -> list[Problem]:
    first: dict[tuple[str, Box | None], int] = {}
    problems = []
    for (row, image), box in zip(table.frame.select("row", "image").iter_rows(), boxes_of(table.frame)):
        if image is None:
            continue
        if (image, box) in first:
            what = "image is" if box is None else "image is, with the same box,"
            problem = f"the {what} also that of row {first[image, box]}; it would be its own matching pair"
            problems.append(Problem(table.source, row, "image", problem, "remove one of the two rows"))
        else:
            first[image, box] = row
    return problems


def rows_by_name(names: Sequence[str | None]) -> dict[str, list[int]]:
    """Positions of every name, names in sorted order."""
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if name is not None:
            places.setdefault(name, []).append(position)
    return {name: places[name] for name in sorted(places)}
