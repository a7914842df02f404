"""Features of a frozen backbone, computed once: an epoch trains the heads on vectors, without an image."""

import sys
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from triune.data.dataset import Batch, ItemDataset
from triune.errors import InputError
from triune.model.network import Features, MultiTaskModel, Prediction
from triune.run.loaders import ItemData
from triune.training.module import TrainingModule

SPLITS = ("train", "val")
"""Those that training looks at."""


def check_cachable(model: MultiTaskModel) -> None:
    """Refuse a network whose heads read more than vectors.

    Raises:
        InputError: it has a mask head.
    """
    if model.mask_channels:
        raise InputError(
            "model.cache_features keeps a vector of each image, and masks need its maps: train without masks "
            "(--beta 0), or leave --model.cache_features away"
        )


class RowData(pl.LightningDataModule):
    """Batches of rows with their classes and identities, in the order of the items' own batches; no image is read.

    Args:
        data: the items.
    """

    def __init__(self, data: ItemData) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> DataLoader[Any]:
        """As the items' own, see :meth:`~triune.run.loaders.ItemData.train_dataloader`."""
        self.data.trainer = self.trainer
        return _rows(self.data.dataset("train"), self.data.train_dataloader().batch_sampler)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """The validation items; nothing where there are none."""
        if not self.data.count("val"):
            return []
        loader = self.data.val_dataloader()
        assert isinstance(loader, DataLoader)
        return _rows(self.data.dataset("val"), loader.batch_sampler)

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        """Move a batch."""
        return batch.to(device, non_blocking=True)


def _rows(dataset: ItemDataset, batches: Any) -> DataLoader[Any]:
    return DataLoader(_Rows(dataset), batch_sampler=batches, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch


class _Rows(Dataset[Any]):
    def __init__(self, dataset: ItemDataset) -> None:
        self.classes, self.identities = dataset.class_codes, dataset.identity_codes

    def __len__(self) -> int:
        return len(self.classes)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = torch.tensor(list(indices), dtype=torch.int64)
        count = len(rows)
        return Batch(
            images=torch.empty(count, 0),
            classes=self.classes[rows],
            identities=self.identities[rows],
            masks=torch.empty(count, 0, 0, dtype=torch.int64),
            rows=rows,
        )


class CachedFeatures(pl.Callback):
    """Computes the features of all training and validation items when training begins or goes on.

    They are computed after a checkpoint was loaded, in the items' order and in batches of one size: a run that goes on
    has the same ones.

    Args:
        data: the items.
    """

    def __init__(self, data: ItemData) -> None:
        self.data = data

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Compute them and give them to the module."""
        assert isinstance(module, TrainingModule)
        with trainer.precision_plugin.forward_context():
            found = {
                split: vectors_of(module.model, self.data, split, module.device)
                for split in SPLITS
                if self.data.count(split)
            }
        module.answers = HeadAnswers(module.model, found)
        size = sum(each.nbytes for features in found.values() for each in features if each is not None)
        images = sum(self.data.count(split) for split in found)
        if not trainer.is_global_zero:
            return
        print(
            f"features of {images:,} images computed once, {size / 2**20:.0f} MiB; images are not augmented",
            file=sys.stderr,
            flush=True,
        )


class HeadAnswers:
    """The answers of the heads to items whose features are known.

    Args:
        model: whose heads they are.
        features: by split, in the order of its rows.
    """

    def __init__(self, model: MultiTaskModel, features: dict[str, Features]) -> None:
        self.model = model
        self.features = features

    def __call__(self, batch: Batch, split: str) -> Prediction:
        """Of a batch of rows."""
        known = (None if each is None else each[batch.rows] for each in self.features[split])
        return self.model.heads(Features(*known))


def vectors_of(model: MultiTaskModel, data: ItemData, split: str, device: torch.device) -> Features:
    """The features of every item of a split, in its order, on the device.

    Args:
        model: the network; it answers as in use.
        data: the items.
        split: which of them.
        device: where the network is.
    """
    training, dtype = model.training, next(model.parameters()).dtype
    model.eval()
    parts: list[Features] = []
    with torch.no_grad():
        for batch in data.loader(split):
            moved = data.transfer_batch_to_device(batch, device, 0)
            parts.append(model.vectors(moved.images.to(dtype)))
    model.train(training)

    def joined(each: Sequence[Tensor | None]) -> Tensor | None:
        found = [part for part in each if part is not None]
        return torch.cat(found) if found else None

    return Features(*(joined(each) for each in zip(*parts, strict=True)))
