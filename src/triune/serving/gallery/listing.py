"""What is put into a gallery: images and what is known of them, from files, folders, tables and images in memory."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl
from PIL import Image

from triune.data.boxes import BOX_COLUMNS, boxes_of
from triune.data.items import COLUMNS, read_table
from triune.data.problems import DataError, Problem
from triune.data.tables import YES_NO, as_text
from triune.errors import InputError
from triune.files import on_one_line
from triune.serving.gallery.card import OWN, RESERVED, STAMP, TYPES
from triune.serving.pictures import TABLES, Given, Picture, pictures

FolderMeaning: TypeAlias = Literal["label", "identity"]


@dataclass(frozen=True, eq=False)
class Listing:
    """Images that are to be embedded.

    Args:
        frame: ``image`` (its absolute path, or a name), whatever else is known of it, and the stamp of its file.
        pictures: the images, in the same order.
    """

    frame: pl.DataFrame
    pictures: tuple[Picture, ...]

    @property
    def known(self) -> list[str]:
        """The columns that say something of the images."""
        return [name for name in self.frame.columns if name not in ("image", *STAMP)]


@dataclass(frozen=True)
class Naming:
    """What is said of all images that are given, beside what tables say of each.

    Args:
        label: their class.
        identity: what they show.
        folder_is: what the folder says that an image lies in: its ``label`` or its ``identity``.
        types: the types of columns, by name: ``text``, ``int``, ``float`` or ``bool``.
    """

    label: str | None = None
    identity: str | None = None
    folder_is: FolderMeaning | None = None
    types: Mapping[str, str] | None = None


AS_GIVEN = Naming()
"""Nothing but what tables say."""


def listed(given: Given, naming: Naming = AS_GIVEN) -> Listing:
    """Images with what is known of them; nothing is decoded.

    Args:
        given: any images; of a table all columns come along.
        naming: what is said of all of them.

    Raises:
        InputError: there are no such images, a table is faulty, a column has a name or a type that no gallery takes,
            or one image is listed twice with different cells.
    """
    frames: list[pl.DataFrame] = []
    found: list[Picture] = []
    for each in _sources(given):
        frame, more = _of_table(each, naming.types or {}) if isinstance(each, Path) else _of_images(each)
        frames.append(frame)
        found += more
    try:
        frame = pl.concat(frames, how="diagonal")
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the tables do not fit each other: {error}; give their columns a type with --types"
        ) from error
    missing = sorted(set(naming.types or {}) - set(frame.columns))
    if missing:
        there = ", ".join(map(on_one_line, frame.columns))
        raise InputError(f"--types speaks of a column {missing[0]!r}, but there is none: the columns are {there}")
    frame = _named(frame, naming)
    return _each_once(frame.hstack(_stamps(found)), found)


def _sources(given: Given) -> list[Path | list[Any]]:
    """What was given, tables as paths and all else in the order in which it came."""
    parts = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    sources: list[Path | list[Any]] = []
    others: list[Any] = []
    for part in parts:
        if isinstance(part, str | Path) and str(part).lower().endswith(TABLES) and Path(part).is_file():
            sources += [others] if others else []
            sources, others = [*sources, Path(part)], []
        else:
            others.append(part)
    sources += [others] if others or not sources else []
    return sources


def _of_images(given: Given) -> tuple[pl.DataFrame, list[Picture]]:
    found = [Picture(gallery_name(each), each.source, box=each.box) for each in pictures(given)]
    return pl.DataFrame({"image": [each.name for each in found]}, schema={"image": pl.String}), found


def gallery_name(picture: Picture) -> str:
    """What a gallery calls an image: its absolute path; of one in memory, a name made of its pixels or bytes."""
    if isinstance(picture.source, str):
        return os.path.abspath(picture.source)
    if isinstance(picture.source, bytes):
        return f"image {hashlib.blake2b(picture.source, digest_size=8).hexdigest()}"
    pixels = picture.source
    digest = hashlib.blake2b(f"{pixels.mode} {pixels.size} ".encode() + pixels.tobytes(), digest_size=8)
    return f"image {digest.hexdigest()}"


def _of_table(path: Path, types: Mapping[str, str]) -> tuple[pl.DataFrame, list[Picture]]:
    table = read_table(path)
    if table.problems:
        raise DataError(table.problems)
    lines, frame = table.frame["row"].to_list(), table.frame.drop("row")
    # Of the columns that every table of items is given, only those that say something.
    known = [name for name in (*COLUMNS, *BOX_COLUMNS) if name in frame.columns and name != "image"]
    frame = frame.drop(name for name in known if frame[name].null_count() == len(frame))
    for name in frame.columns:
        if name in RESERVED or name.startswith("_"):
            raise InputError(f"{path} has a column {name!r}, a name that a gallery keeps for itself: rename it")
        if "." in name or "`" in name:
            raise InputError(
                f"{path} has a column {name!r}: no name of a gallery's column has a point or a backquote; rename it"
            )
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise InputError(
                f"{path} has a column {name!r}: a gallery would take that name for a pattern of names; rename it"
            )
    columns = [_typed(frame[name], types.get(name), lines, str(path)) for name in frame.columns]
    images = zip(frame["image"].to_list(), boxes_of(frame), strict=True)
    return pl.DataFrame(columns), [Picture(image, image, box=box) for image, box in images]


def _typed(column: pl.Series, kind: str | None, lines: list[int], source: str) -> pl.Series:
    """A column as one of the types that a gallery knows."""
    if kind is not None and kind not in TYPES:
        raise InputError(f"--types {column.name}={kind}: the types are {', '.join(TYPES)}")
    own = column.dtype
    if kind is None:
        if own.is_integer():
            whole = column.cast(pl.Int64, strict=False)
            wrong = (whole.is_null() & column.is_not_null()).arg_true().to_list()
            if wrong:
                why = f"{column[wrong[0]]} is beyond the whole numbers that a gallery takes, up to {2**63 - 1}"
                way_out = f"keep the column as text: --types {column.name}=text"
                raise DataError([Problem(source, lines[wrong[0]], column.name, why, way_out)])
            return whole
        if own.is_float() or own.is_decimal():
            return column.cast(pl.Float64)
        if own in (pl.Boolean, pl.Date):
            return column
        if isinstance(own, pl.Datetime):
            return column.cast(pl.Datetime("us"))
    text = as_text(column, source)
    if kind in (None, "text"):
        return text
    if kind == "bool":
        values = pl.Series(column.name, [YES_NO.get((cell or "").lower()) for cell in text.to_list()], pl.Boolean)
    else:
        values = text.cast(TYPES[kind], strict=False)
        if kind == "float":
            values = values.fill_nan(None)
    wrong = (values.is_null() & text.is_not_null()).arg_true().to_list()
    if wrong:
        raise DataError(
            [
                Problem(source, lines[row], column.name, f"{text[row]!r} is no {kind}", "correct it or leave it empty")
                for row in wrong
            ]
        )
    return values


def _named(frame: pl.DataFrame, naming: Naming) -> pl.DataFrame:
    """The frame with the label and the identity that hold for all images."""
    for name, word in (("label", naming.label), ("identity", naming.identity)):
        if word is not None and naming.folder_is == name:
            raise InputError(f"--{name} {word} and --folder_is {name} are both given: leave one away")
        if naming.folder_is == name:
            parents = [Path(image).parent.name for image in frame["image"].to_list()]
            frame = frame.with_columns(pl.Series(name, parents, pl.String))
        elif word is not None:
            frame = frame.with_columns(pl.lit(word).alias(name))
    others = [name for name in frame.columns if name not in OWN]
    return frame.select([*(name for name in OWN if name in frame.columns), *others])


def _stamps(found: Sequence[Picture]) -> pl.DataFrame:
    """Size and time of change of each file; empty of images in memory and of files that are not there."""
    stamps = [_stamp(each.source) for each in found]
    return pl.DataFrame(stamps, schema=dict.fromkeys(STAMP, pl.Int64()), orient="row")


def _stamp(source: str | bytes | Image.Image) -> tuple[int | None, int | None]:
    if isinstance(source, str):
        try:
            said = os.stat(source)
        except OSError:
            return None, None
        return said.st_size, said.st_mtime_ns
    return None, None


def _each_once(frame: pl.DataFrame, found: list[Picture]) -> Listing:
    """Every image once, where it was first; what is said of it in several places is put together."""
    placed = frame.with_row_index("__place")
    if not frame["image"].is_duplicated().any():
        return Listing(frame, tuple(found))
    several = placed.group_by("image", maintain_order=True)
    counts = several.agg(pl.exclude("__place").drop_nulls().n_unique())
    for name in counts.columns[1:]:
        if counts[name].max() not in (None, 0, 1):
            image = counts.filter(pl.col(name) > 1)["image"][0]
            raise InputError(f"{image} is listed twice with different cells of {name}: a gallery has one row an image")
    kept = several.agg(pl.col("__place").first(), pl.exclude("__place").drop_nulls().first())
    places = kept["__place"].to_list()
    kept = kept.select(frame.columns)
    once = zip((found[place] for place in places), boxes_of(kept), strict=True)
    return Listing(kept, tuple(each._replace(box=box or each.box) for each, box in once))
