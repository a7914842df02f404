"""A whole experiment: data, training, judgement on the held-out items."""

import sys
from pathlib import Path

from torch import nn

from triune.evaluation.judge_run import evaluate_run
from triune.evaluation.results import Results
from triune.run.loaders import ItemData
from triune.run.settings import TrainConfig
from triune.training.train import class_names, fit, load_items, run_folder


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
    """
    table = load_items(config)
    data = ItemData(table, config, class_names(table))
    run = run_folder(config)
    facts = fit(config, data, run, criterion)
    print("evaluating …", file=sys.stderr, flush=True)
    return run, evaluate_run(run, config, data, training=facts).results
