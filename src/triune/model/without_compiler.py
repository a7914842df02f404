"""torch's compiler takes as long to import as half of torch: libraries that only name it are imported without it.

torchvision asks it whether a device can be compiled for, timm marks functions that are not to be compiled; both import
it for that, whether or not anything is ever compiled. A network in use compiles nothing.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any, Final

COMPILER: Final = "torch._dynamo"
UTILS: Final = "torch._dynamo.utils"


class _StandIn(ModuleType):
    """Stands for a module until something is asked of it that only the module itself can answer."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _step_aside()
        return getattr(import_module(self.__name__), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within it, what imports the compiler gets a stand-in; afterwards, and where it was imported before, the compiler.

    What was made with the stand-in asks the compiler when it is called.
    """
    if COMPILER in sys.modules:
        yield
        return
    compiler, utils = _StandIn(COMPILER), _StandIn(UTILS)
    compiler.__path__ = []
    vars(compiler).update(utils=utils, disable=_disabled_later)
    vars(utils).update(is_compile_supported=_is_compile_supported)
    sys.modules.update({COMPILER: compiler, UTILS: utils})
    try:
        yield
    finally:
        _step_aside()


def _step_aside() -> None:
    for name in (COMPILER, UTILS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _disabled_later(function: Callable[..., Any] | None = None, *options: Any, **named: Any) -> Callable[..., Any]:
    """As ``torch._dynamo.disable``."""
    if function is None:
        return lambda marked: _disabled_later(marked, *options, **named)

    @wraps(function)
    def disabled(*values: Any, **keywords: Any) -> Any:
        return import_module(COMPILER).disable(function, *options, **named)(*values, **keywords)

    return disabled


def _is_compile_supported(device: str) -> Any:
    """As ``torch._dynamo.utils.is_compile_supported``."""
    return import_module(UTILS).is_compile_supported(device)
