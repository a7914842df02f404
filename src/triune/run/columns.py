"""Tables among a run's files: written whole with the columns of a schema, and read back or refused in one line."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import polars

from triune.checksums import check_file
from triune.data.parquet import read_frame
from triune.errors import InputError
from triune.files import written_whole

Schema: TypeAlias = Mapping[str, Any]
"""The type of each column, in the order of the file."""


def write_csv(path: Path, frame: polars.DataFrame, schema: Schema) -> None:
    """Write a table as CSV, whole or not at all; what is null becomes an empty cell.

    Args:
        path: the file.
        frame: the table; columns that the schema does not name are left out.
        schema: the columns of the file and their types.
    """
    with written_whole(path) as temporary:
        frame.select(*schema).cast(polars.Schema(schema)).write_csv(temporary)


def read_csv(path: Path, schema: Schema, required: int) -> polars.DataFrame:
    """Read what :func:`write_csv` wrote; an empty cell is null.

    Args:
        path: the file.
        schema: its columns; others are passed over.
        required: so many of the first ones must be there; where others are not, they are all null.

    Raises:
        InputError: it is missing, damaged or another file; the message names row and column.
    """
    check_file(path)
    try:
        text = polars.read_csv(path, infer_schema=False)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise _unreadable(path, error) from error
    absent = [name for name in list(schema)[:required] if name not in text.columns]
    if absent:
        raise InputError(f"{path} is damaged or another file: it has no column {absent[0]}")
    columns = []
    for name, kind in schema.items():
        cells = text[name] if name in text.columns else polars.Series(name, [None] * len(text), polars.String)
        read = cells.cast(kind, strict=False)
        wrong = read.is_null() & cells.is_not_null()
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise InputError(f"{path} row {row + 2}, column {name}: {cells[row]!r} is not {_words(kind)}")
        columns.append(read)
    return polars.DataFrame(columns)


def write_parquet(path: Path, frame: polars.DataFrame, schema: Schema) -> None:
    """Write a table as Parquet, whole or not at all.

    Args:
        path: the file.
        frame: the table; columns that the schema does not name are left out.
        schema: the columns of the file and their types.
    """
    with written_whole(path) as temporary:
        frame.select(*schema).cast(polars.Schema(schema)).write_parquet(temporary)


def read_parquet(path: Path, schema: Schema, later: Schema = MappingProxyType({})) -> polars.DataFrame:
    """Read what :func:`write_parquet` wrote.

    Args:
        path: the file.
        schema: the columns that must be there.
        later: columns that earlier versions did not write; they are all null where they are not there.

    Raises:
        InputError: it is missing, damaged or another file; the message names the column.
    """
    frame = read_frame(path, vouched=check_file(path))
    absent = [polars.lit(None, kind).alias(name) for name, kind in later.items() if name not in frame.columns]
    frame, schema = frame.with_columns(absent), {**schema, **later}
    for name, kind in schema.items():
        if name not in frame.columns:
            raise InputError(f"{path} is damaged or another file: it has no column {name}")
        if frame.schema[name] != kind:
            raise InputError(f"{path}, column {name}: it holds {frame.schema[name]}, not {kind}")
    return frame.select(*schema)


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist: name a run folder that `triune train` finished")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
    return InputError(f"{path} is damaged or another file: {reason}")


def _words(kind: Any) -> str:
    return {polars.Int64: "a whole number", polars.Float64: "a number"}.get(kind, str(kind))
