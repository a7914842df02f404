"""Libraries that come with Triune's extras."""

from importlib import import_module
from typing import Any

from triune.errors import InputError


def library(name: str, extra: str) -> Any:
    """A module of a library that is installed on demand.

    Args:
        name: the module.
        extra: which of Triune's extras it comes with.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"this needs {name}, which is not installed: pip install 'triune[{extra}]'") from error
