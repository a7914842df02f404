"""Flags and YAML to a :class:`TrainConfig`: typed, with every mistake answered in one line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from triune.errors import InputError
from triune.run.settings import TrainConfig


class TeachingParser(ArgumentParser):
    """A parser whose mistakes are :class:`InputError`: one line, exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise instead of printing the usage and a long explanation."""
        raise InputError(f"{one_line(message)} (triune {self.prog.split()[-1]} --help lists the settings)") from ex


def train_parser(prog: str = "triune train") -> TeachingParser:
    """The parser of every training setting; ``--config`` reads YAML, ``--print_config`` shows it."""
    parser = TeachingParser(prog=prog, description="Train, evaluate and report.")
    parser.add_argument("--config", action="config", help="YAML file of settings; flags override it")
    parser.add_class_arguments(TrainConfig)
    return parser


def parse_train(arguments: Sequence[str], prog: str = "triune train") -> TrainConfig:
    """The settings that flags and files ask for.

    ``--resume RUN`` starts from the settings stored in RUN; other flags still override them.

    Raises:
        InputError: a flag or a value that is not known.
    """
    parser = train_parser(prog)
    arguments = [_with_underscores(argument) for argument in arguments]
    resumed = _resumed(arguments)
    if resumed is not None:
        stored = resumed / "config.yaml"
        if not stored.is_file():
            raise InputError(f"{stored} does not exist: --resume takes the folder of an earlier run")
        arguments = ["--config", str(stored), *arguments]
    namespace = parser.parse_args(arguments)
    return build_config(parser, namespace)


def build_config(parser: ArgumentParser, namespace: Namespace) -> TrainConfig:
    """The frozen tree of dataclasses of a parsed namespace."""
    try:
        values = parser.instantiate(namespace).as_dict()
        values.pop("config", None)
        return TrainConfig(**values)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error


def read_config(path: Path) -> TrainConfig:
    """Read the settings of a ``config.yaml``."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: name a run folder that `triune train` wrote")
    return parse_train(["--config", str(path)])


def one_line(message: str) -> str:
    """A message of several lines, folded into one."""
    return " ".join(part.strip() for part in str(message).splitlines() if part.strip())


def _with_underscores(argument: str) -> str:
    """``--batch-size`` is ``--batch_size``."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _resumed(arguments: Sequence[str]) -> Path | None:
    for index, argument in enumerate(arguments):
        if argument == "--resume" and index + 1 < len(arguments):
            return Path(arguments[index + 1])
        if argument.startswith("--resume="):
            return Path(argument.removeprefix("--resume="))
    return None
