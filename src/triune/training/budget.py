"""What a training settles once the data are known: how long it lasts, its batches, whether classes are learnt."""

from dataclasses import replace
from math import ceil
from typing import Any, Final

from pydantic import ValidationError

from triune.data.items import ItemTable
from triune.errors import InputError
from triune.run.loaders import ItemData
from triune.run.settings import TrainConfig

LEAST_STEPS: Final = 300
"""Where the epochs are not given and the set is so small that they would be fewer steps."""


def settled(config: TrainConfig, data: ItemData, steps_an_epoch: int) -> TrainConfig:
    """The settings with numbers in place of 'auto', as the run stores them.

    Args:
        config: the settings.
        data: the items, in their splits.
        steps_an_epoch: batches that show every training image about once.
    """
    images = config.images
    if not config.model.cache_features:  # which sees images as they are
        images = replace(images, augment=replace(images.augment, flip=data.augment.flip))
    size, samples, _ = data.batches
    numbers: dict[str, Any] = {
        "epochs": _epochs(config, steps_an_epoch),
        "alpha": _alpha(config, data.table),
        "images": images,
    }
    try:
        return replace(config, steps=None, batch_size=size, samples_per_class=samples, **numbers)
    except ValidationError as error:  # a chunk as large as the batch turned out to be
        raise InputError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from error


def _epochs(config: TrainConfig, steps_an_epoch: int) -> int:
    if config.steps is not None:
        return ceil(config.steps / steps_an_epoch)
    if config.epochs != "auto":
        return config.epochs
    return max(config.whole_epochs, ceil(LEAST_STEPS / steps_an_epoch))


def _alpha(config: TrainConfig, table: ItemTable) -> float:
    """0 where the class head would learn what the embedding learns, and no item could show how well."""
    if config.alpha != "auto":
        return config.alpha
    if not config.gamma or not config.learns_embedding or not table.classes_are_identities:
        return config.class_weight
    trained = set(table.part("train")["label"].drop_nulls())
    judged = table.frame.filter(table.frame["split"].is_in(("val", "test", "holdout")))["label"].drop_nulls()
    return config.class_weight if trained & set(judged) else 0.0
