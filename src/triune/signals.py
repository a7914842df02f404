"""Ctrl-C and SIGTERM: the program ends in one line, and never between the beginning and the end of a file."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a program to end and may be answered."""


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end.

    Args:
        number: of the signal.
        run: the run whose training was stopped and can go on; empty where there is none.
    """

    def __init__(self, number: int, run: str = "") -> None:
        super().__init__(run)
        self.number = number


def signal_of(stopped: KeyboardInterrupt) -> int:
    """The signal that raised an exception: Python's own is raised by Ctrl-C."""
    return stopped.number if isinstance(stopped, Stopped) else int(signal.SIGINT)


def stopped_by(error: BaseException | None) -> KeyboardInterrupt | None:
    """The signal's exception that an error is, or that was being answered when it arose; ``None`` where there is none.

    Whoever cleans up after a signal, twice perhaps, may fail at what was left half done: it is the signal that counts.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def word_of(number: int) -> str:
    """What is said of a signal."""
    return "terminated" if number == signal.SIGTERM else "interrupted"


def leave_at_once() -> None:
    """From now on a signal ends the process in one line, wherever it is: while modules are imported, above all.

    An exception would be lost there, or would come out of an import as another one.
    :func:`raising` and :func:`held_back` say where there is something to clean up first.
    """
    for number in ENDING:
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    # Of several processes one speaks.
    first = os.environ.get("RANK", "0") == "0"
    with contextlib.suppress(Exception):  # the stream may be closed, or be written to at this moment
        if first:
            print(f"triune: {word_of(number)}", file=sys.stderr, flush=True)
    os._exit(128 + number)


def leave_in_silence() -> None:
    """From now on a signal that would end the process in a line ends it without: what is wrong was said already."""
    for number in ENDING:
        if signal.getsignal(number) is _leave:
            signal.signal(number, lambda number, frame: os._exit(128 + number))


@contextmanager
def raising() -> Iterator[None]:
    """Within the block a signal raises :class:`Stopped`, so that what was begun can be cleaned up.

    Only where :func:`leave_at_once` was called: in a program of the user's signals are the user's.
    """
    ours = [number for number in ENDING if signal.getsignal(number) is _leave]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _leave)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


@contextmanager
def held_back() -> Iterator[None]:
    """A signal that comes within the block takes effect at its end: a file is written whole, or not begun.

    An exception in the middle would reach a serialiser's compiled code, which makes another error of it.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}
    answered = [number for number in ENDING if callable(before[number])]
    for number in answered:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number in answered:
            signal.signal(number, before[number])
        if came:
            signal.raise_signal(came[0])
