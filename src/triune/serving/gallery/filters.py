"""Conditions on a gallery's columns, as SQL writes them: ``label = 'cup' and price < 20``."""

from typing import Any, TypeAlias

import numpy as np
import polars as pl

from triune.errors import InputError
from triune.files import on_one_line

Array: TypeAlias = np.ndarray[Any, Any]


def matching(frame: pl.DataFrame, where: str, source: str) -> Array:
    """Which rows meet a condition, ``(M,)`` int64, in order; empty cells meet none but ``IS NULL``.

    Args:
        frame: columns to speak of.
        where: the condition.
        source: what messages call the frame.

    Raises:
        InputError: it is no condition on these columns.
    """
    try:
        chosen = frame.with_row_index("__place").filter(pl.sql_expr(where))["__place"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError) as error:
        reason = on_one_line(next(iter(str(error).splitlines()), type(error).__name__))
        kinds = ", ".join(f"{name} ({_word(kind)})" for name, kind in frame.schema.items())
        hint = "; --types NAME=float makes a column of text numeric" if "string" in reason else ""
        raise InputError(f"{source}: {where!r} is no condition on its columns {kinds}: {reason}{hint}") from error
    rows: Array = chosen.cast(pl.Int64).to_numpy()
    return rows


def _word(kind: pl.DataType) -> str:
    if kind == pl.String:
        return "text"
    if kind == pl.Boolean:
        return "bool"
    return "int" if kind.is_integer() else "float" if kind.is_float() else str(kind).lower()
