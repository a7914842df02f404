"""Labels of any kind (integers, strings, tensors, arrays) as plain arrays and as exact 64-bit integer codes.

What is here asks for no torch: who names images by an exported file has none. :mod:`triune.labels` gives the same codes
as tensors.

A missing label (None, NaN, NA, NaT, a masked or an empty entry, or one of :data:`~triune.names.MISSING_WORDS`) is an
error that names its row. No number means it here: −1 is a label like any other. (Inside the program, where missing
labels of a table have become integer codes already, −1 stands for them.)
"""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np

from triune.names import MISSING_WORDS, lookalikes, visible
from triune.tensors import is_tensor

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = np.ndarray[Any, Any]
Labels: TypeAlias = Union["Tensor", Array, Sequence[int], Sequence[str]]


def label_codes(
    labels: Labels, *, count: int | None = None, name: str = "labels", against: str = "embeddings"
) -> Array:
    """Map labels to int64 numbers so that equal labels, and only equal labels, have equal ones.

    Integers are kept as they are; they never pass through floating point, so 2**24 and 2**24 + 1 stay two classes.
    Strings become their rank among the sorted distinct strings.

    Args:
        labels: N integers, booleans or strings, as a tensor, NumPy array or sequence; shape ``(N,)``.
        count: the number of labels there should be.
        name: how errors call the labels.
        against: how errors call the thing there is one label a row of.

    Returns:
        int64 codes, shape ``(N,)``.

    Raises:
        ValueError: as :func:`plain_labels`, or the labels are not ``count`` many.
    """
    array = plain_labels(labels, name)
    if array.dtype.kind == "U" or beyond_int64(array):
        array = np.unique(array, return_inverse=True)[1].reshape(array.shape)
    if count is not None and len(array) != count:
        raise ValueError(f"{name} has {len(array)} entries but {against} has {count} rows")
    return array.astype(np.int64)


def label_codes_together(
    first: Labels,
    second: Labels,
    *,
    counts: tuple[int | None, int | None] = (None, None),
    names: tuple[str, str] = ("labels", "reference_labels"),
    against: tuple[str, str] = ("embeddings", "reference"),
) -> tuple[Array, Array]:
    """Map two sets of labels to codes in which equal labels, and only equal labels, of either set have equal codes.

    Integers are kept as they are, and strings become their rank among the distinct strings of both sets, so that codes
    stand in the order of the labels.

    Args:
        first: N labels of any kind that :func:`label_codes` takes, shape ``(N,)``.
        second: M labels of the same kind, shape ``(M,)``.
        counts: N and M as they should be; None where any number will do.
        names: how errors call the two sets.
        against: how errors call the things there is one label a row of.

    Returns:
        int64 codes, shapes ``(N,)`` and ``(M,)``.

    Raises:
        ValueError: as :func:`label_codes`; or one set holds strings and the other numbers.
    """
    codes = label_codes(first, count=counts[0], name=names[0], against=against[0])
    other_codes = label_codes(second, count=counts[1], name=names[1], against=against[1])
    arrays = [plain_labels(part, name) for part, name in zip((first, second), names)]
    words = [array.dtype.kind == "U" for array in arrays]
    if words[0] != words[1] and all(array.size for array in arrays):
        raise ValueError(
            f"{names[0]} has dtype {arrays[0].dtype} and {names[1]} {arrays[1].dtype}: they cannot be equal; "
            f"use one kind of label, integers or strings"
        )
    if not any(words) and not any(map(beyond_int64, arrays)):
        return codes, other_codes
    # Codes by rank: both sets are ranked as one, numbers as Python's integers, which none is too large for.
    kind = str if any(words) else object
    both = np.concatenate([array.astype(kind) for array in arrays])
    if any(words):
        _refuse_lookalikes(set(both.tolist()), f"{names[0]} and {names[1]}")
    ranks = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return ranks[: len(arrays[0])], ranks[len(arrays[0]) :]


def plain_labels(labels: Labels, name: str = "labels") -> Array:
    """Labels as a NumPy array of integers, of booleans, or of strings in Unicode's composed form (NFC).

    Args:
        labels: N integers, booleans or strings, shape ``(N,)``; bytes are read as UTF-8.
        name: how errors call them.

    Raises:
        ValueError: they are not one-dimensional, floats or something else, some numbers and some strings, one is
            missing, or two strings differ by nothing that can be seen. The message names the row.
    """
    if is_tensor(labels):
        return np.asarray(whole_tensor(labels, name).detach().cpu().numpy())
    array = _array_of(labels, name)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; one label a row, shape (N,), is needed")
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind in "OT":  # T: NumPy's strings of any length
        array = _of_one_kind(array, name)
    if array.dtype.kind == "S":
        array = _decoded(array, name)
    if array.dtype.kind == "U":
        return _composed(array, name)
    if array.dtype.kind in "fcmM" and (missing := array != array).any():
        raise ValueError(_is_missing(name, int(missing.argmax()), array[missing.argmax()]))
    if array.dtype.kind not in "iub":
        raise ValueError(
            f"{name} has dtype {array.dtype}: class labels are integers or strings; "
            f"convert them with .astype('int64') if they hold whole numbers"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def whole_tensor(labels: "Tensor", name: str) -> "Tensor":
    """Labels in a tensor, as they are.

    Args:
        labels: shape ``(N,)``.
        name: how errors call them.

    Raises:
        ValueError: they are no whole numbers, or not one-dimensional.
    """
    if labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise ValueError(
            f"{name} has dtype {labels.dtype}: class labels are integers or strings "
            f"(floats would merge large labels); convert them with .long() if they hold whole numbers"
        )
    if labels.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(labels.shape)}; one label a row, shape (N,), is needed")
    return labels


def _array_of(labels: Any, name: str) -> Array:
    """A NumPy array in which nothing has been turned into something else."""
    if isinstance(labels, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(labels)
        if masked.any():
            raise ValueError(_is_missing(name, int(np.nonzero(masked)[0][0]), np.ma.masked))
        return np.asarray(labels.data)
    if isinstance(labels, np.ndarray):
        return labels
    if isinstance(labels, list | tuple):
        # NumPy makes "nan" of a NaN, and "1" of a 1, that stands among strings.
        kinds = set(map(type, labels))
        if not kinds <= {int, bool, float} and not kinds <= {str, np.str_}:
            if any(issubclass(kind, list | tuple | np.ndarray) for kind in kinds):
                return _nested(labels, name)
            array = np.empty(len(labels), dtype=object)
            array[:] = [label.item() if is_tensor(label) and label.ndim == 0 else label for label in labels]
            return array
        if kinds <= {str, np.str_}:
            return np.array(labels, dtype=str) if labels else np.empty(0, dtype=np.int64)
    return np.asarray(labels)


def _nested(labels: Sequence[Any], name: str) -> Array:
    try:
        return np.asarray(labels)
    except ValueError as error:
        raise ValueError(f"{name} holds rows of several lengths; one label a row, shape (N,), is needed") from error


def _of_one_kind(array: Array, name: str) -> Array:
    """Python objects as an array of integers or of strings."""
    values = array.astype(object).tolist()
    if set(map(type, values)) <= {str}:
        return array.astype(str)
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if _absent(value):
            raise ValueError(_is_missing(name, row, value))
        if isinstance(value, str | bytes):
            kind = "a string"
        elif isinstance(value, int | np.integer | np.bool_):
            kind = "a number"
        else:
            shown = f"{value!r}, of the type {type(value).__name__}"
            raise ValueError(f"{name}, row {row}: it is {shown}; class labels are integers or strings")
        first.setdefault(kind, row)
    if len(first) > 1:
        raise ValueError(
            f"{name} holds numbers (row {first['a number']}: {values[first['a number']]!r}) and strings "
            f"(row {first['a string']}: {values[first['a string']]!r}): use one kind of label, integers or strings"
        )
    if "a string" in first:
        return np.array([_text(value, name, row) for row, value in enumerate(values)], dtype=str)
    whole = [int(value) for value in values]
    if min(whole) >= -(2**63) and max(whole) < 2**63:
        return np.array(whole, dtype=np.int64)
    if min(whole) >= 0 and max(whole) < 2**64:
        return np.array(whole, dtype=np.uint64)
    row = next(row for row, value in enumerate(whole) if not -(2**63) <= value < 2**63)
    raise ValueError(f"{name}, row {row}: {whole[row]} is beyond 64 bits; write such labels as strings")


def _absent(value: Any) -> bool:
    """None, NaN, NaT, NA and the like."""
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, str | bytes | int):
        return False
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas' NA is neither equal nor unequal
        return True


def _decoded(array: Array, name: str) -> Array:
    return np.array([_text(value, name, row) for row, value in enumerate(array.tolist())], dtype=str)


def _text(value: str | bytes, name: str, row: int) -> str:
    if isinstance(value, str):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}, row {row}: {value!r} is no UTF-8 text") from error


def _composed(array: Array, name: str) -> Array:
    """Strings in the composed form, where none is missing and none looks like another."""
    values = array.tolist()
    distinct = set(values)
    composed = {value: unicodedata.normalize("NFC", value) for value in distinct if not value.isascii()}
    for value in distinct:
        text = value if value.isascii() and value.isprintable() else visible(value)
        if text.strip() in MISSING_WORDS:
            raise ValueError(_is_missing(name, values.index(value), value))
    changed = {value: text for value, text in composed.items() if text != value}
    _refuse_lookalikes({changed.get(value, value) for value in distinct}, name, values)
    if changed:
        array = np.array([changed.get(value, value) for value in values], dtype=str)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _refuse_lookalikes(names: set[str], name: str, values: Sequence[str] = ()) -> None:
    alike = lookalikes(names)
    if alike is not None:
        rows = [f" (row {values.index(each)})" if each in values else "" for each in alike]
        one, two = (f"{each!a}{row}" for each, row in zip(alike, rows))
        raise ValueError(
            f"{name}: {one} and {two} look the same, but are two labels: remove the spaces or invisible characters"
        )


def _is_missing(name: str, row: int, value: Any) -> str:
    shown = str(value) if isinstance(value, np.generic) else ascii(value)
    return f"{name}, row {row}: the label is missing ({shown}); leave such rows away, or give each a label of its own"


def beyond_int64(array: Array) -> bool:
    """Whether some of the numbers are too large for int64, so that they are numbered by rank, as words are."""
    return array.dtype.kind == "u" and bool(array.size) and int(array.max()) > np.iinfo(np.int64).max
