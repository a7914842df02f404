"""A table of items as Lightning loaders: class-balanced training batches, plain batches for everything else."""

from typing import Any

import lightning.pytorch as pl
import polars
from torch.utils.data import DataLoader

from triune.data.batches import ClassBalancedBatchSampler
from triune.data.images import Batch, ItemDataset, collate, eval_transform, train_transform
from triune.data.table import ItemTable
from triune.training.config import TrainConfig


class ItemData(pl.LightningDataModule):
    """Loaders of one table.

    Args:
        table: the items; their ``split`` column says what each is for.
        config: the run's settings.
        classes: names of the classes, in the order of the classification head's outputs.
    """

    def __init__(self, table: ItemTable, config: TrainConfig, classes: list[str]) -> None:
        super().__init__()
        self.table = table
        self.config = config
        self.classes = classes
        self.identities = table.frame["identity"].drop_nulls().unique().sort().to_list()

    def dataset(self, split: str, *, augmented: bool = False) -> ItemDataset:
        """The items of one split, as they are or augmented."""
        images = self.config.images
        transform = train_transform(images.size, images.augment) if augmented else eval_transform(images.size)
        return ItemDataset(
            self.table.frame.filter(polars.col("split") == split),
            size=images.size,
            channels=images.channels,
            classes=self.classes,
            identities=self.identities,
            transform=transform,
        )

    def loader(self, split: str) -> DataLoader[Batch]:
        """Every item of a split once, in the table's order."""
        return self._loader(self.dataset(split), batch_size=self.config.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of P identities with K images each; plain shuffled batches where no item has an identity."""
        dataset = self.dataset("train", augmented=True)
        config = self.config
        sampler = ClassBalancedBatchSampler(
            dataset.identity_codes,
            classes_per_batch=config.batch_size // config.samples_per_class,
            samples_per_class=config.samples_per_class,
            seed=config.seed,
        )
        return self._loader(dataset, batch_sampler=sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation items."""
        return self.loader("val")

    def _loader(self, dataset: ItemDataset, **options: Any) -> DataLoader[Batch]:
        workers = self.config.images.workers
        return DataLoader(
            dataset, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0, **options
        )
