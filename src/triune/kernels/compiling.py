"""How the kernels of this folder are compiled: Numba, with the freedom in floating point that each can bear."""

from collections.abc import Callable
from typing import Any

from numba import njit

from triune.signals import held_back


def compile_kernel(flags: set[str]) -> Any:
    """A Numba decorator that caches on disk, where there is a place to write to.

    A signal that comes while a kernel is compiled, or loaded from the cache, takes effect after that.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        options: dict[str, Any] = {"nogil": True, "fastmath": flags, "error_model": "numpy"}
        try:
            kernel = njit(cache=True, **options)(function)
        except RuntimeError:  # no directory to cache in: compile anew in each process
            kernel = njit(**options)(function)
        return _undisturbed(kernel)

    return decorate


def _undisturbed(kernel: Any) -> Any:
    """The kernel, compiled without a signal in between.

    LLVM calls back into Python for the code that lies in the cache: an exception is lost there, and the process ends in
    a segmentation fault.
    """
    compile_as_numba_does = kernel.compile

    def compile_whole(*arguments: Any) -> Any:
        with held_back():
            return compile_as_numba_does(*arguments)

    kernel.compile = compile_whole
    return kernel
