"""The command line: a command is found by its name, and however it ends, it ends in one line."""

import contextlib
import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TextIO

from triune._version import __version__
from triune.commands import COMMANDS, DIVIDED, TRAINING
from triune.errors import InputError
from triune.parallel.started import end_with_starter, started_place
from triune.signals import leave_at_once, signal_of, word_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of a call from Python; where not given, those of the process, which signals then end in a line.

    Returns:
        The exit code: 0 done, 1 stopped by the environment (disk full, no permission), 2 bad input, 128 and the
        number of the signal where one ended it.
    """
    if arguments is None:
        leave_at_once()
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = _ended(lambda: _command(given))
    # What is still in the buffer may have nowhere to go, which the interpreter would complain of at its end.
    return _ended(lambda: _flushed(code)) or code


def _command(given: list[str]) -> int:
    """The command that a line names."""
    # Where there is no home to write to it says so in three lines, and goes on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"triune {__version__}")
        return 0
    # What Pillow finds odd about a file is told in a line of our own, where it matters.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        return _fail(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}", 2)
    if name in DIVIDED and started_place() is not None:
        end_with_starter()
        from triune.parallel.command import run_in_processes

        return run_in_processes(lambda: _run(name, rest), _ended, on_gpus=name in TRAINING)
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    code: int = import_module(f"triune.commands.{name}").run(arguments)
    return code


def _flushed(code: int) -> int:
    if sys.stdout is not None:  # as it is where it was closed before the start
        sys.stdout.flush()
    return code


def _ended(command: Callable[[], int]) -> int:
    """Run a command, and say what went wrong in one line."""
    warnings.formatwarning = lambda message, *_: f"triune: warning: {message}\n"
    try:
        return command()
    except InputError as error:
        # Of a table all problems are told, a line each.
        return _fail(str(error), 2, each_line=hasattr(error, "problems"))
    except SystemExit as ended:  # --help and --print_config, which end where they are found
        return int(ended.code or 0)
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
        return _fail("whoever read the output went away (a closed pipe)", 1)
    except OSError as error:
        where = error.filename
        if where is None and error.errno in (errno.ENOSPC, errno.EIO):  # files are named where they are written
            where = "standard output"
            _to_nowhere(sys.stdout)
        where = f": {where}" if where else ""
        # A path that no machine would take is bad input; all else is this machine's.
        return _fail(f"{error.strerror or error}{where}", 2 if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else 1)
    except MemoryError as error:
        return _fail(f"there is not enough memory for this: {error or 'ask for less at once'}", 1)
    except KeyboardInterrupt as stopped:
        run = f"; go on after its last epoch with `triune train --resume {stopped}`" if str(stopped) else ""
        number = signal_of(stopped)
        return _fail(f"{word_of(number)}{run}", 128 + number)


def _to_nowhere(stream: TextIO | None) -> None:
    """Let a stream that takes nothing more lead nowhere, so that the interpreter can end without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def overview() -> str:
    """What `triune --help` prints."""
    lines = ["usage: triune COMMAND …", "", "Deep metric learning: classify, segment, embed, verify.", ""]
    lines += [f"  {name:<9} {sentence}" for name, sentence in COMMANDS.items()]
    lines += ["", "triune COMMAND --help shows a command's settings; triune --version the version."]
    return "\n".join(lines)


def _fail(message: str, code: int, *, each_line: bool = False) -> int:
    from triune.files import on_one_line

    lines = message.split("\n") if each_line else [message]
    shown = [on_one_line(line) for line in [f"triune: {lines[0]}", *lines[1:]]]
    with contextlib.suppress(OSError):
        print("\n".join(shown), file=sys.stderr, flush=True)
        return code
    _to_nowhere(sys.stderr)
    return code
