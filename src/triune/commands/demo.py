"""`triune demo`: what `triune train` does, on real digits and small."""

from importlib.resources import files
from pathlib import Path

from triune.commands.common import command
from triune.commands.train import run_training
from triune.run.parser import parse_train
from triune.run.settings import TrainConfig


def run(arguments: list[str]) -> int:
    """Train on real digits and write a report to look at."""
    defaults = Path(str(files("triune.run") / "demo.yaml"))
    config = parse_train(arguments, command("demo", TrainConfig, defaults=defaults, has_config=True))
    return run_training("demo", arguments, config)
