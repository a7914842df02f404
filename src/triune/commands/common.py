"""What several commands share: how they are parsed, how far they are, what they leave out, JSON."""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from triune.commands import COMMANDS
from triune.errors import InputError
from triune.run.parser import Command

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun

T = TypeVar("T")


def command(
    name: str,
    settings: type[T],
    words: tuple[str, ...] = (),
    *,
    defaults: Path | None = None,
    has_config: bool = False,
) -> Command[T]:
    """A command as its parser needs to know it.

    Args:
        name: a key of :data:`triune.commands.COMMANDS`.
        settings: the dataclass of its settings.
        words: settings that are given without a flag, in their order.
        defaults: a YAML file whose values are the defaults; the dataclass's own where not given.
        has_config: whether ``--config`` reads YAML and ``--print_config`` shows it.
    """
    return Command(f"triune {name}", COMMANDS[name], settings, words, defaults, has_config)


def progress(word: str, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """What says how far it is: on one line of a terminal; elsewhere in plain lines, as :class:`_Lines` spaces them.

    Args:
        word: what is done, such as "embedded".
        clock: gives seconds.
    """
    lines = _Lines(clock)

    def said(done: int, of: int) -> None:
        if sys.stderr is None:
            return
        if sys.stderr.isatty():
            print(f"\r{word} {done:,} of {of:,}", end="\n" if done == of else "", file=sys.stderr, flush=True)
        elif lines.due(done, of):
            print(f"{word} {done:,} of {of:,}", file=sys.stderr, flush=True)

    return said


class _Lines:
    """When a plain line is due: of work that takes no more than ``APART`` seconds, never.

    Of longer work each further tenth is told, no two lines closer than ``APART``, and no further apart than
    ``AT_LATEST``; its end, too, so that a log shows that it came to it.
    """

    APART: Final = 10.0
    AT_LATEST: Final = 60.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._time = clock()
        self._done = 0
        self._any = False

    def due(self, done: int, of: int) -> bool:
        """Whether a line is due, which is then counted as said."""
        now = self._clock()
        waited = now - self._time
        further = 10 * (done - self._done) >= of or waited >= self.AT_LATEST
        if not ((self._any and done == of) or (done < of and waited >= self.APART and further)):
            return False
        self._time, self._done, self._any = now, done, True
        return True


def loaded(run: str, weights: Path | None) -> "LoadedRun":
    """A run or a public backbone; of weights from a file it is said on standard error what matched.

    Args:
        run: a run folder, or ``timm:NAME``.
        weights: a local file of the weights of ``timm:NAME``.

    Raises:
        InputError: there is no such run or backbone, or its weights cannot be had.
    """
    from triune.parallel.group import is_first
    from triune.serving.loaded import load

    found = load(run, weights=weights)
    matched = found.network.card.matched
    if matched and is_first():
        print(f"weights of {weights}: {matched}", file=sys.stderr)
    return found


def require_new(*outputs: Path | None) -> None:
    """Refuse to write over what is there, before anything is loaded.

    Args:
        outputs: files or folders that are to be written; ``None`` where one is not asked for.

    Raises:
        InputError: one is there already. An empty folder is none.
    """
    for path in outputs:
        if path is not None and path.is_dir():
            if any(path.iterdir()):
                raise InputError(f"{path} is there already: name a new folder")
        elif path is not None and path.exists():
            raise InputError(f"{path} is there already: name a new file")


def tell_left_out(names: list[str]) -> None:
    """Say on standard error how many images could not be read, and which is the first."""
    if len(names) == 1:
        print(f"1 image could not be read and was left out: {names[0]}", file=sys.stderr)
    elif names:
        print(f"{len(names):,} images could not be read and were left out; the first is {names[0]}", file=sys.stderr)


def tell_unfamiliar(names: list[str], what: str) -> None:
    """Say on standard error which images look like nothing that the run was validated on.

    Args:
        names: the images.
        what: what says little of them, such as "the verdict".
    """
    from triune.files import on_one_line

    if not names:
        return
    shown = ", ".join(on_one_line(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    look = "looks" if len(names) == 1 else f"({len(names)} images) look"
    print(f"caution: {shown} {look} like nothing that the run was validated on: {what} says little", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print plain values as JSON; infinity and NaN, which it has not, in words, as in the files of a run."""
    print(json.dumps(_in_words(value), indent=1))


def _in_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_words(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_words(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
