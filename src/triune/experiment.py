"""A whole experiment: data, training, judgement on the held-out items."""

import gc
import sys
from pathlib import Path

from torch import nn

from triune.evaluation.judge_run import evaluate_run
from triune.evaluation.results import Results
from triune.parallel.group import is_first, read_by_all, sharing
from triune.run.settings import TrainConfig
from triune.training.opened import opened_run
from triune.training.processes import training_processes
from triune.training.resume import resumed_settings
from triune.training.train import fit, shared_data


def train_and_evaluate(config: TrainConfig, criterion: nn.Module | None = None) -> tuple[Path, Results]:
    """Train, then judge the best network on the held-out items.

    In a program that torchrun started, each process calls this, and all get the same answer.

    Args:
        config: the settings.
        criterion: a metric loss called as ``criterion(embeddings, labels)``, of any library, in place of the triplet
            loss that the settings describe.

    Returns:
        The run folder and what was found, the content of its ``metrics.json``.

    Raises:
        InputError: the data or the settings cannot be used; a :class:`DataError` lists every problem of the table.
        Stopped: a signal came; it names the run if that can go on.
    """
    with training_processes(config), opened_run(config) as run:
        if config.resume is not None:
            config = read_by_all(lambda: resumed_settings(config, run), sharing())
        data = shared_data(config, run)
        facts = fit(config, data, run, criterion)
        gc.collect()  # what trains holds itself in cycles: network, gradients and optimiser would stay beside the next
        if is_first():
            print("evaluating …", file=sys.stderr, flush=True)
        return run, evaluate_run(run, config, data, training=facts, divide_over=sharing()).results
