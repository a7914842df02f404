"""A table checked before anything is trained on it: every image and mask opened, every problem at once."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from triune.data.decode import IGNORE, probe_image, read_mask
from triune.data.items import COLUMNS, ItemTable, Progress
from triune.data.problems import Problem


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

    Found are: wrong cell values; images and masks that are missing, cut short or unreadable; a mask of
    another size than its image; mask pixels beyond the expected ids; masks in which nothing but 0 and 255
    occurs (255 means: ignore, so there would be no foreground); an image listed twice; an identity with a
    single image where training needs two (it can give no positive pair). Every image is read to its end, in
    threads.

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
    frame = table.frame
    problems = list(table.problems)
    if identities:
        problems += _lonely_identities(table)
    problems += _repeated_images(table)

    rows = frame["row"].to_list()
    images = frame["image"].to_list()
    mask_paths = frame["mask"].to_list() if masks else [None] * len(rows)
    found: set[int] = set()
    first_mask: int | None = None
    outcomes = _in_threads(_inspect, list(zip(images, mask_paths)), workers)
    for done, (row, outcome) in enumerate(zip(rows, outcomes), start=1):
        for column, problem, remedy in outcome.problems:
            problems.append(Problem(table.source, row, column, problem, remedy))
        if outcome.ids is not None:
            first_mask = row if first_mask is None else first_mask
            found |= outcome.ids
            beyond = sorted(i for i in outcome.ids if mask_ids is not None and mask_ids <= i < IGNORE)
            if beyond:
                problem = f"the mask holds the id {beyond[0]}, but ids go from 0 to {mask_ids - 1}" if mask_ids else ""
                remedy = "correct the mask, or train with more mask channels"
                problems.append(Problem(table.source, row, "mask", problem, remedy))
        if progress is not None and (done % 64 == 0 or done == len(rows)):
            progress(done, len(rows))
    if IGNORE in found and found <= {0, IGNORE}:
        problem = "the masks hold nothing but 0 and 255, and 255 means ignore, so no foreground is left to learn"
        problems.append(Problem(table.source, first_mask, "mask", problem, "write the foreground as 1"))
    return sorted(problems, key=lambda p: (-1 if p.row is None else p.row, COLUMNS.index(p.column) if p.column else -1))


class _Outcome(NamedTuple):
    problems: list[tuple[str, str, str]]
    ids: set[int] | None


def _inspect(paths: tuple[str | None, str | None]) -> _Outcome:
    """What is wrong with one image and its mask, as (column, problem, remedy), and the mask's ids."""
    image, mask = paths
    problems: list[tuple[str, str, str]] = []
    size: tuple[int, int] | None = None
    if image is not None:
        try:
            size = probe_image(image)
        except Exception as error:
            problems.append(_unreadable("image", image, error))
    if mask is None:
        return _Outcome(problems, None)
    try:
        pixels = read_mask(mask)
    except Exception as error:
        problems.append(_unreadable("mask", mask, error))
        return _Outcome(problems, None)
    if size is not None and pixels.shape != size:
        problem = f"{mask} is {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {size[1]} x {size[0]}"
        problems.append(("mask", problem, "make both the same size"))
    return _Outcome(problems, set(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()))


def _unreadable(column: str, path: str, error: Exception) -> tuple[str, str, str]:
    if isinstance(error, FileNotFoundError):
        return column, f"{path} does not exist", "correct the path or remove the row"
    if isinstance(error, IsADirectoryError):
        return column, f"{path} is a folder", "name a file"
    reason = " ".join(str(error).split()).replace(repr(path), "it")
    return (
        column,
        f"{path} cannot be read ({reason or type(error).__name__})",
        "replace the file or remove the row",
    )


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
    first: dict[str, int] = {}
    problems = []
    for row, image in table.frame.select("row", "image").iter_rows():
        if image is None:
            continue
        if image in first:
            problem = f"the image is also that of row {first[image]}; it would be its own matching pair"
            problems.append(Problem(table.source, row, "image", problem, "remove one of the two rows"))
        else:
            first[image] = row
    return problems


def rows_by_name(names: Sequence[str | None]) -> dict[str, list[int]]:
    """Positions of every name, names in sorted order."""
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if name is not None:
            places.setdefault(name, []).append(position)
    return {name: places[name] for name in sorted(places)}
