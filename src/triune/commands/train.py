"""`triune train`: train, evaluate and report."""

import sys

from triune.commands.cautions import tell_cautions
from triune.run.parser import parse_train
from triune.run.recipes import recipe_of
from triune.run.settings import TrainConfig


def run(arguments: list[str]) -> int:
    """Train on a table, a folder or a named data set; evaluate and report."""
    return run_training("train", arguments, parse_train(arguments))


def run_training(name: str, arguments: list[str], config: TrainConfig) -> int:
    """Train here, or in as many processes as there are devices to train on.

    Args:
        name: the command.
        arguments: its own.
        config: what they say.
    """
    from triune.training.processes import processes_to_start

    count = processes_to_start(config)
    if count == 1:
        if name == "train":
            _tell_recipe(config)
        return trained(config)
    from triune.parallel.launch import start_in_processes

    return start_in_processes(count, [name, *arguments])


def trained(config: TrainConfig) -> int:
    """Train, print what was found, and say where the report is."""
    from triune.experiment import train_and_evaluate
    from triune.parallel.group import done_by_first
    from triune.report.page import write_report
    from triune.report.terminal import summary

    folder, results = train_and_evaluate(config)
    report = done_by_first(lambda: write_report(folder))
    print(summary(results))
    tell_cautions(results)
    print(f"\nrun     {folder}\nreport  {report}")
    return 0


def _tell_recipe(config: TrainConfig) -> None:
    """Say on standard error that the settings are those of a recipe, where the data have one."""
    from triune.parallel.group import is_first

    recipe = recipe_of(config.data)
    if recipe is not None and config.resume is None and is_first():
        said = "its settings are those of a published recipe but for what flags and --config say"
        print(f"{config.data}: {said} ({recipe})", file=sys.stderr)
