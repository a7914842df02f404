"""The command line: one function a command; heavy imports stay inside the functions, so that --help answers at once."""

import sys
from collections.abc import Callable
from typing import Any

from triune._version import __version__

Command = Callable[[list[str]], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 a defect or an interrupted run, 2 bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"triune {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        close = ", ".join(COMMANDS)
        print(f"triune: no command {name!r}; the commands are {close}", file=sys.stderr)
        return 2
    return _guarded(COMMANDS[name], rest)


def demo(arguments: list[str]) -> int:
    """Train on real digits and write a report to look at."""
    return train(["--data", "digits", "--run_name", "demo", *DEMO_FLAGS, *arguments])


def train(arguments: list[str]) -> int:
    """Train on a table, a folder or a named data set; then evaluate and report."""
    from triune.training.settings import parse_train

    config = parse_train(arguments)
    from triune.training.train import train as run_training

    run = run_training(config)
    from triune.evaluation.summary import print_summary

    print_summary(run)
    return 0
