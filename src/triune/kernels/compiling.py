"""How the kernels of this folder are compiled: Numba, with the freedom in floating point that each can bear."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compile_kernel(flags: set[str]) -> Any:
    """A Numba decorator that caches on disk, where there is a place to write to."""

    def decorate(function: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {"nogil": True, "fastmath": flags, "error_model": "numpy"}
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no directory to cache in: compile anew in each process
            return njit(**options)(function)

    return decorate
