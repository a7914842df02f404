"""A whole experiment: data, training, judgement on the held-out items."""

import sys
from pathlib import Path

from torch import nn

from triune.evaluation.judge_run import evaluate_run
from triune.evaluation.results import Results
from triune.run.settings import TrainConfig
from triune.training.opened import opened_run
from triune.training.resume import resumed_settings
from triune.training.train import fit, training_data


def train_and_evaluate(config: TrainConfig, criterion: nn.Module | None = None) -> tuple[Path, Results]:
    """Train, then judge the best network on the held-out items.

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
    with opened_run(config) as run:
        config = config if config.resume is None else resumed_settings(config, run)
        data = training_data(config, run)
        facts = fit(config, data, run, criterion)
        print("evaluating …", file=sys.stderr, flush=True)
        return run, evaluate_run(run, config, data, training=facts).results
