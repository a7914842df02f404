"""Where items come from: a table, a folder of images, or the name of a data set."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl

from triune.data.items import ItemTable, SplitKind, read_table
from triune.data.pair_lists import PairList
from triune.data.problems import DataError
from triune.data.sources.cars196 import cars196
from triune.data.sources.cub200 import cub200
from triune.data.sources.digits import digits
from triune.data.sources.folder import image_folder
from triune.data.sources.inshop import inshop
from triune.data.sources.lfw import lfw, lfw_pair_list, lfw_pairs
from triune.data.sources.market1501 import market1501
from triune.data.sources.omniglot import omniglot
from triune.data.sources.oxford_pets import oxford_pets
from triune.data.sources.sop import sop
from triune.data.sources.vggface import vggface
from triune.data.splits import HOLDOUT, assign_splits, complete_splits
from triune.errors import InputError

Split: TypeAlias = Literal["auto", "open-set", "closed-set", "given"]
Holdout: TypeAlias = Literal["auto", "always", "never"]


SOURCES: dict[str, Callable[[Path, Path], ItemTable]] = {
    "cub200": cub200,
    "cub200-cropped": partial(cub200, cropped=True),
    "cars196": cars196,
    "cars196-cropped": partial(cars196, cropped=True),
    "sop": sop,
    "inshop": inshop,
    "market1501": market1501,
    "vggface": vggface,
    "lfw-pairs": lfw_pairs,
    "digits": lambda root, cache: digits(cache),
    "omniglot": omniglot,
    "oxford-pets": oxford_pets,
    "lfw": lfw,
}
"""The data sets by name: each takes the folder of its archives or downloads, and the folder for what it writes."""


PAIR_LISTS: dict[str, Callable[[Path, Path], PairList]] = {"lfw-pairs": lfw_pair_list}
"""Those that come with a list of pairs to be judged, by the paths of their images: it takes the same two folders."""


def load_source(
    data: str | Path,
    *,
    root: Path | None = None,
    split: Split = "auto",
    seed: int = 0,
    cache: Path | None = None,
    pairs: bool = True,
    holdout: Holdout = "auto",
) -> ItemTable:
    """The table of a data set, with every row in a split.

    Args:
        data: one of :data:`SOURCES`; a .csv or .parquet table; or a folder of images.
        root: where the archives or downloads of a named data set lie; a folder in the cache where not given.
        split: "auto" takes the splits that the table, the folders or the data set bring, and splits open-set
            where they bring none; "open-set" and "closed-set" always split anew; "given" takes the splits there are,
            and puts every item into test where there are none.
        seed: of the splits.
        cache: where images and masks are written that a data set does not have as files; ``$TRIUNE_CACHE`` or
            ``~/.cache/triune`` where not given. They are written once, whole or not at all.
        pairs: whether val and test must hold matching pairs; not needed where no embedding is judged.
        holdout: whether an open-set split sets images of training identities aside, to measure the class head on where
            no test class is trained: "always", "never", or, as "auto" has it, where classes are not the identities.

    Returns:
        The table. What was wrong with its rows, or kept it from being split, is in ``problems``:
        :func:`~triune.data.checks.check_table` lists it with everything else. Always call it before training.

    Raises:
        InputError: there is no such data set, table or folder, or its files are not there; or it is only for judging,
            and "given" is not asked for.
    """
    if data in PAIR_LISTS and split != "given":
        raise InputError(f"{data} is for judging, not for training: triune evaluate RUN --data {data} --root FOLDER")
    if data in SOURCES:
        kept = cache or default_cache()
        table = SOURCES[str(data)](_root_of(str(data), root, kept), kept)
    elif Path(data).is_dir():
        table = image_folder(Path(data))
    elif Path(data).suffix or Path(data).exists():
        table = read_table(data)
    else:
        raise InputError(
            f"{data} is no data set, table or folder: name one of {', '.join(SOURCES)}, "
            "a .csv or .parquet file, or a folder of images"
        )
    try:
        return _with_splits(table, split, seed, pairs, holdout)
    except DataError as error:
        return replace(table, problems=(*table.problems, *error.problems))


def listed_pairs(data: str, root: Path | None = None, cache: Path | None = None) -> PairList | None:
    """The pairs that a named data set is judged on, by the paths of its images; ``None`` where it has no list.

    Args:
        data: the name, or whatever :func:`load_source` takes.
        root: as there.
        cache: as there.

    Raises:
        InputError: its files are not there.
    """
    if data not in PAIR_LISTS:
        return None
    kept = cache or default_cache()
    return PAIR_LISTS[data](_root_of(data, root, kept), kept)


def _root_of(data: str, root: Path | None, cache: Path) -> Path:
    return root or cache / data


def default_cache() -> Path:
    """``$TRIUNE_CACHE``, else ``triune`` in the user's cache folder.

    Raises:
        InputError: the user has no home folder.
    """
    if "TRIUNE_CACHE" in os.environ:
        return Path(os.environ["TRIUNE_CACHE"])
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triune"
    except RuntimeError as error:
        raise InputError("there is no home folder to keep data sets in: name one with TRIUNE_CACHE=FOLDER") from error


def _with_splits(table: ItemTable, split: Split, seed: int, pairs: bool, holdout: Holdout) -> ItemTable:
    if split == "given":
        judged = table.frame.with_columns(pl.lit("test").alias("split"))
        return table if table.has_split else replace(table, frame=judged)
    if split == "auto" and table.has_split:
        return complete_splits(table, seed, pairs=pairs)
    kind: SplitKind = "closed-set" if split == "closed-set" else "open-set"
    if split == "open-set" and table.split_kind == "open-set":
        return table
    wanted = holdout == "always" or (holdout == "auto" and not table.classes_are_identities)
    return assign_splits(table, kind, seed=seed, holdout=HOLDOUT if wanted else 0.0, pairs=pairs)
