"""Who drove the weights that all tasks share, and where tasks fought: read from a run's history."""

from typing import Final, NamedTuple

import polars

TASKS: Final = {"classification": "classes", "segmentation": "masks", "triplet": "triplets"}
"""Name of a task in the history → on the page."""


class Driver(NamedTuple):
    """How much a task moved the shared weights.

    Args:
        task: its name.
        norm: the mean norm of its gradient.
        share: of the sum of the tasks' mean norms.
    """

    task: str
    norm: float
    share: float


class Fight(NamedTuple):
    """How the gradients of two tasks lay to each other.

    Args:
        tasks: both names.
        cosine: the mean; 1 the same direction, -1 against each other.
        against: the share of the measurements in which it was below 0.
    """

    tasks: str
    cosine: float
    against: float


def norm_column(task: str) -> str:
    """The column of the norm of a task's gradient."""
    return f"train_grad_norm_{task}"


def pairs() -> dict[str, str]:
    """The column of each cosine → the names of its two tasks."""
    names = list(TASKS)
    return {
        f"train_grad_cosine_{a}_{b}": f"{TASKS[a]}, {TASKS[b]}" for i, a in enumerate(names) for b in names[i + 1 :]
    }


def drivers(history: polars.DataFrame) -> list[Driver]:
    """The tasks, the strongest first; none where fewer than two were measured.

    Args:
        history: of :func:`~triune.run.history.read_history`.
    """
    means = {task: mean for task in TASKS if (mean := _mean(history, norm_column(task))) is not None}
    total = sum(means.values())
    if len(means) < 2 or not total:
        return []
    found = [Driver(TASKS[task], mean, mean / total) for task, mean in means.items()]
    return sorted(found, key=lambda each: -each.norm)


def fights(history: polars.DataFrame) -> list[Fight]:
    """Two tasks each that were measured together, those that lay most against each other first.

    Args:
        history: of :func:`~triune.run.history.read_history`.
    """
    found = []
    for column, names in pairs().items():
        cosines = history[column].drop_nulls().drop_nans()
        if len(cosines):
            values = cosines.cast(polars.Float64).to_list()
            against = sum(value < 0 for value in values) / len(values)
            found.append(Fight(names, sum(values) / len(values), against))
    return sorted(found, key=lambda each: each.cosine)


def _mean(history: polars.DataFrame, column: str) -> float | None:
    values = history[column].cast(polars.Float64).drop_nulls().drop_nans().to_list()
    return sum(values) / len(values) if values else None
