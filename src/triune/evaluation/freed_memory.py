"""Memory that was freed given back to the system, where the C library is glibc."""

import ctypes
import sys
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


def return_freed_memory() -> None:
    """Give memory that was freed back to the system: glibc keeps what threads freed, here as much as the embeddings."""
    _glibc("malloc_trim", 0)


def return_large_arrays() -> None:
    """From now on, give every large array back to the system when it is freed.

    By default glibc does so up to a size that grows with what is freed, and keeps the rest, another amount in each run.
    """
    _glibc("mallopt", _MMAP_THRESHOLD, 1 << 20)


def _glibc(name: str, *arguments: int) -> None:
    """Call a function of the C library that only some systems have."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)
