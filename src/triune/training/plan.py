"""What a training says before it begins, and how long it expects to take once some steps are done."""

import sys
import time
from typing import Any, Final

import lightning.pytorch as pl

from triune.data.batches import ClassBalancedBatchSampler
from triune.model.network import MultiTaskModel
from triune.plurals import plural
from triune.run.loaders import ItemData
from triune.run.settings import TrainConfig

TIMED: Final = 20
"""Steps that the estimate is made from, after the first, which loads and compiles."""

PATIENCE: Final = 10.0
"""Seconds after which fewer steps do."""

PARTS: Final = {"train": "trains on", "val": "validates on", "calibration": "sets its threshold on", "test": "tests on"}


def plan(config: TrainConfig, data: ItemData, model: MultiTaskModel, batches: Any) -> list[str]:
    """The lines: what there is to learn from, the network, and how long.

    Args:
        config: the settings, settled.
        data: the items.
        model: the network.
        batches: the batch sampler of an epoch.
    """
    splits = [f"{verb} {_images(data, split)}" for split, verb in PARTS.items() if data.count(split)]
    weights = sum(parameter.numel() for parameter in model.parameters())
    learnt = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    some = "" if learnt == weights else f", of which {_short(learnt)} are trained"
    classes = plural(len(data.classes), "class", "classes") if model.num_classes else "no classes"
    channels = model.mask_channels
    masks = f"masks of {plural(channels, 'channel')}" if channels else "no masks"
    kind = plural(len(batches), "step")
    if isinstance(batches, ClassBalancedBatchSampler):
        named = plural(batches.classes_per_batch, "identity", "identities")
        kind += f" of {named} x {plural(batches.samples_per_class, 'image')}"
    epochs = config.whole_epochs
    height, width = data.images.size
    found = [
        "; ".join(splits),
        f"{config.model.backbone}, {_short(weights)} parameters{some}: images of {height} x {width} pixels, {classes}, "
        f"{masks}, embedding of {model.embedding_dim}",
        f"{plural(epochs, 'epoch')} of {kind}: {plural(epochs * len(batches), 'step')}",
    ]
    if data.batches.reason:
        found.append(data.batches.reason)
    tasks = [model.num_classes and config.class_weight, channels and config.beta, model.embedding_dim and config.gamma]
    name = config.loss.weighting
    if name != "fixed" and sum(map(bool, tasks)) < 2:
        found.append(f"loss.weighting {name} weighs several tasks, and there is one: it changes nothing")
    return found


def _images(data: ItemData, split: str) -> str:
    part = data.table.part(split)
    identities = part["identity"].drop_nulls().n_unique()
    return plural(len(part), "image") + (f" of {plural(identities, 'identity', 'identities')}" if identities else "")


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"


class Estimate(pl.Callback):
    """Says once, on standard error, how long the training will take by its first steps."""

    def __init__(self) -> None:
        self._done = 0
        self._begun = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Counts a step; after enough of them or of seconds, or with the first epoch, the line is printed."""
        if self._done < 0 or not trainer.is_global_zero:
            return
        if self._begun == 0.0:
            self._begun = time.monotonic()
            return
        self._done += 1
        seconds = time.monotonic() - self._begun
        if self._done < TIMED and seconds < PATIENCE and not trainer.is_last_batch:
            return
        step = seconds / self._done
        left = step * (trainer.estimated_stepping_batches - trainer.global_step)
        if left > 0:
            print(f"about {in_words(left)} to train at {step:.2f} s a step", file=sys.stderr, flush=True)
        self._done = -1


def in_words(seconds: float) -> str:
    """A time as people say it: seconds below two minutes, minutes below two hours, then hours."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
