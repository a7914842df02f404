"""Conditions on a gallery's columns, as SQL writes them: ``label = 'cup' and price < 20``."""

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from triune.errors import InputError
from triune.files import on_one_line
from triune.ranges import is_whole
from triune.serving.pictures import require_path

Array: TypeAlias = np.ndarray[Any, Any]
Excluded: TypeAlias = str | Path | int | Iterable[str | Path | int]

_QUOTED: Final = r"""'[^']*'|"[^"]*"|`[^`]*`"""


def matching(frame: pl.DataFrame, where: str, source: str) -> Array:
    """Which rows meet a condition, ``(M,)`` int64, in order; empty cells meet none but ``IS NULL``.

    Args:
        frame: columns to speak of.
        where: the condition.
        source: what messages call the frame.

    Raises:
        InputError: it is no condition on these columns.
    """
    kinds = ", ".join(f"{name} ({_word(kind)})" for name, kind in frame.schema.items())
    refused = f"{source}: {where!r} is no condition on its columns {kinds}: "
    try:
        condition = condition_of(where)
        unknown = [name for name in condition.meta.root_names() if name not in frame.columns]
        if not unknown:
            chosen = frame.with_row_index("__place").filter(condition)["__place"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError) as error:
        reason = on_one_line(next(iter(str(error).splitlines()), type(error).__name__))
        raise InputError(f"{refused}{reason}{_way_out(str(error), frame, where)}") from error
    if unknown:
        name = unknown[0]
        hint = f"; text takes single quotes: '{name}'" if f'"{name}"' in where else _bare_name(frame, where)
        raise InputError(f"{refused}there is no column {name!r}{hint}")
    rows: Array = chosen.cast(pl.Int64).to_numpy()
    return rows


def _way_out(reason: str, frame: pl.DataFrame, where: str) -> str:
    """What to do where a name needs quotes, or text is compared with a number: which of the two the column is decides.

    Args:
        reason: what polars says.
        frame: columns to speak of.
        where: the condition.
    """
    if quotes := _bare_name(frame, where):
        return quotes
    columns = [name for name in re.findall(r'col\("([^"]+)"\)', reason) if name in frame.columns]
    if "List(String)" in reason or ("string" in reason and columns and frame.schema[columns[0]].is_numeric()):
        return "; numbers take no quotes: leave them away"
    return "; --types NAME=float makes a column of text numeric" if "string" in reason or "String" in reason else ""


def _bare_name(frame: pl.DataFrame, where: str) -> str:
    """What to do where a condition names a column that is not a plain word without quotes; empty where it does not."""
    bare = re.sub(r'"[^"]*"', "", where)
    for name in frame.columns:
        if not name.isidentifier() and name.strip() and '"' not in name and name in bare:
            return f'; a name that is not a plain word takes double quotes: "{name}"'
    return ""


def condition_of(where: str) -> pl.Expr:
    """A condition as polars reads it, of which nothing is left out.

    Raises:
        polars.exceptions.SQLInterfaceError: it is none; or words follow it that SQL would take for another name of it
            or for a comment, so that they would say nothing.
    """
    condition = pl.sql_expr(where)
    if re.search(r"--|/\*", re.sub(_QUOTED, "", where)):
        raise pl.exceptions.SQLInterfaceError("it holds a comment (-- or /*), which would be passed over")
    try:
        pl.sql_expr(f"({where}\n)")
    except pl.exceptions.PolarsError as error:
        raise pl.exceptions.SQLInterfaceError("words follow the condition: join conditions by and, or") from error
    return condition


def allowed(frame: pl.DataFrame, where: str | None, exclude: Excluded | None, source: str) -> Array | None:
    """The rows that may be found, ``(M,)`` int64; ``None`` where all may.

    Args:
        frame: ``row``, ``image`` and whatever else the condition speaks of.
        where: a condition that they must meet.
        exclude: paths or numbers of rows that are left out, or one of them.
        source: what messages call the frame.

    Raises:
        InputError: it is no condition on these columns, or what is left out is neither a path nor a number.
    """
    rows = None if where is None else matching(frame, where, source)
    if exclude is None:
        return rows
    names, several = set[str](), set[int]()
    for each in exclude if isinstance(exclude, Iterable) and not isinstance(exclude, str | Path) else [exclude]:
        if isinstance(each, str | Path):
            require_path(str(each), "an image to exclude")
            names |= {str(each), os.path.abspath(each)}
        elif is_whole(each) and not isinstance(each, bool):
            several.add(int(each))
        else:
            raise InputError(f"exclude holds {each!r}: paths or numbers of rows are needed")
    out = frame.filter(pl.col("image").is_in(sorted(names)))["row"].to_numpy()
    numbers = np.array(sorted(several), np.int64)
    every: Array = frame["row"].to_numpy() if rows is None else rows
    kept: Array = every[~np.isin(every, np.concatenate([out, numbers]))]
    return kept


def named_or_matching(frame: pl.DataFrame, given: Sequence[str], where: str | None, source: str) -> set[str]:
    """The images that are a given path, lie below one, or match one as a pattern; and those that meet a condition.

    Args:
        frame: with a column ``image``.
        given: paths, folders or patterns; the files need not be there any more.
        where: the condition; none where not given.
        source: what messages call the frame.

    Raises:
        InputError: there is no such image, or it is no condition.
    """
    images: list[str] = frame["image"].to_list()
    chosen = set() if where is None else {images[row] for row in matching(frame, where, source).tolist()}
    for each in given:
        require_path(each, "an image to remove")
        path = os.path.abspath(each)
        below = path.rstrip(os.sep) + os.sep
        found = {image for image in images if image in (path, each) or image.startswith(below)}
        found = found or {image for image in images if fnmatch.fnmatchcase(image, path)}
        if not found:
            raise InputError(f"{source} holds no image {each}: nothing was removed")
        chosen |= found
    return chosen


def _word(kind: pl.DataType) -> str:
    if kind == pl.String:
        return "text"
    if kind == pl.Boolean:
        return "bool"
    return "int" if kind.is_integer() else "float" if kind.is_float() else str(kind).lower()
