"""A training that goes on: with the settings, the data and the network that it was begun with, or not at all."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import nn

from triune.data.boxes import without_boxes
from triune.data.items import ItemTable
from triune.errors import InputError
from triune.plurals import plural
from triune.run.changes import resumed_items
from triune.run.loaders import without_masks
from triune.run.origin import Origin, images_of, located, read_origin
from triune.run.parser import read_config
from triune.run.places import MODEL
from triune.run.settings import TrainConfig, as_plain
from triune.training.checkpoints import Resumable, resumable

FREE: Final = {
    *("data", "root", "output", "resume", "resume_with_changes", "epochs", "steps"),
    *("model.weights", "images.workers", "images.cache_mib", "loss.conflicts_every"),
    *(
        "trainer.accelerator",
        "trainer.devices",
        "trainer.share",
        "trainer.patience",
        "trainer.on_nonfinite",
        "trainer.deterministic",
    ),
}
"""Settings that a training may go on with another value of: where the data lie (what they hold is compared), how long
it lasts, what is measured on the way, what it runs on, and where the weights lie that it was begun with: the checkpoint
holds what became of them."""


def resumed_settings(config: TrainConfig, run: Path) -> TrainConfig:
    """The settings that a run goes on with: those it was begun with, but for :data:`FREE`; with paths that exist here.

    Raises:
        InputError: another setting was changed, by its name; or the data are nowhere to be found.
    """
    stored, asked = (flat(as_plain(each)) for each in (read_config(run / "config.yaml"), config))
    for name, value in asked.items():
        if name not in FREE and stored.get(name) != value:
            raise InputError(
                f"--{name} was {_shown(stored.get(name))} when {run} was begun, and is {_shown(value)} now: a training "
                f"goes on with its own settings; start another one with --config {run / 'config.yaml'} --{name} ..."
            )
    return located(run, config, needed=("data", "root"))


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A tree of settings by dotted names; ``metric_loss_options`` is one setting."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name != "metric_loss_options":
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = value
    return found


def resumed_table(config: TrainConfig, run: Path, table: ItemTable) -> ItemTable:
    """The items of the data that a run goes on with, see :func:`~triune.run.changes.resumed_items`.

    Args:
        config: the settings.
        run: the run folder.
        table: its data, read again.

    Raises:
        InputError: the data changed, and ``config`` does not allow it.
    """
    origin = read_origin(run)
    looked_at = table if config.learns_masks else without_masks(table)
    if not images_of(config, origin).boxes:
        looked_at = replace(looked_at, frame=without_boxes(looked_at.frame))
    own_split = config.split == "auto" and not config.calibration
    return resumed_items(run, looked_at, origin, with_changes=config.resume_with_changes, own_split=own_split)


def checkpoint_to_resume(config: TrainConfig, run: Path, origin: Origin | None) -> Resumable | None:
    """The checkpoint that a run goes on from; ``None`` where no epoch was finished, and training begins anew.

    Args:
        config: the settings.
        run: the run folder.
        origin: what the run stored of its data.

    Raises:
        InputError: the checkpoints are damaged or gone; or more epochs are done than are asked for.
    """
    found = resumable(run / "checkpoints", None if origin is None else origin.run)
    if found is None:
        if (run / MODEL).exists():
            raise InputError(f"{run} was trained to its end, and its checkpoints are gone: there is nothing to resume")
        print(f"{run} has no finished epoch yet: its training begins anew", file=sys.stderr, flush=True)
        return None
    done = int(found.content["epoch"]) + 1
    if config.epochs != "auto" and config.epochs < done:
        raise InputError(
            f"{plural(config.epochs, 'epoch')} asked for, but {run} has {done} already: ask for as many or more by "
            "--epochs or --steps"
        )
    return found


def check_weights(found: Resumable, module: nn.Module) -> None:
    """Refuse a checkpoint whose weights are not those of the module that is to go on.

    Raises:
        InputError: the first that differs, by its name and size.
    """
    stored = {name: tuple(weights.shape) for name, weights in found.content["state_dict"].items()}
    needed = {name: tuple(weights.shape) for name, weights in module.state_dict().items()}
    for name in [*needed, *stored]:
        if stored.get(name) != needed.get(name):
            raise InputError(
                f"{found.path} is of another network: its weights {name} are {_size(stored.get(name))}, those of the "
                f"settings and the data {_size(needed.get(name))}"
            )


def without_downloads(config: TrainConfig) -> TrainConfig:
    """The settings of a network whose weights come from a checkpoint: none are fetched or read for it first."""
    return replace(config, model=replace(config.model, pretrained=False, weights=None))


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) if shape else "a number"
