"""The ranges of settings as types, which pydantic checks, and a setting's type in words, for help and errors."""

import math
import operator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Field

Count = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy takes for a seed."""

MOST_PIXELS_A_SIDE = 8192
"""Of what a network sees; a card or a setting that asks for more would take all memory."""

Side = Annotated[int, Field(ge=1, le=MOST_PIXELS_A_SIDE)]
"""Of that, in pixels."""

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AtLeastOne = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]

_PLAIN = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    NoneType: "null",
    Any: "anything",
}


def is_number(value: Any) -> bool:
    """Whether a value is one number, of any library: text and None are none, nor is NaN."""
    try:
        return bool(-math.inf <= value <= math.inf)
    except (TypeError, ValueError, RuntimeError):  # the last two of arrays and tensors with several values
        return False


def is_whole(value: Any) -> bool:
    """Whether a value is one whole number, of any library."""
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def in_words(kind: Any) -> str:
    """What values a setting takes: ``Annotated[int, Field(ge=1)]`` is "a whole number of at least 1".

    Args:
        kind: the type of a setting, ranges included.
    """
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        return f"{in_words(arguments[0])}{_range(arguments[1:])}"
    if get_origin(kind) in (Union, UnionType, Literal):
        return _either(kind)
    if get_origin(kind) is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)}, of which each is {in_words(arguments[0])}"
    if get_origin(kind) is tuple:
        return f"a list [A, B, …] of which each is {in_words(arguments[0])}"
    if get_origin(kind) is dict:
        return "names with values {NAME: VALUE, …}"
    return _PLAIN.get(kind, f"settings of {getattr(kind, '__name__', kind)}")


def _either(kind: Any) -> str:
    words: list[str] = []
    for part in get_args(kind):
        if get_origin(part) is tuple and get_args(part) == (get_args(kind)[0],) * 2:
            words.append("two of them")
        elif get_origin(kind) is Literal:
            words.append(str(part))
        elif get_origin(part) is Literal:
            words += map(str, get_args(part))
        elif part is not NoneType:
            words.append(in_words(part))
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _range(metadata: tuple[Any, ...]) -> str:
    bounds: dict[str, Any] = {}
    for field in metadata:
        for bound in getattr(field, "metadata", ()):
            bounds |= {name: getattr(bound, name) for name in ("ge", "gt", "le", "lt") if hasattr(bound, name)}
    low = f"at least {bounds['ge']}" if "ge" in bounds else f"more than {bounds['gt']}" if "gt" in bounds else ""
    high = f"at most {bounds['le']}" if "le" in bounds else f"less than {bounds['lt']}" if "lt" in bounds else ""
    if low and high:
        return f" of {low} and {high}"
    return f" of {low or high}" if low or high else ""
