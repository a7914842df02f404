"""A table of items as Lightning loaders: class-balanced batches to train on, plain ones for everything else."""

import errno
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
import polars
import torch
from torch.distributed import ProcessGroup
from torch.utils.data import DataLoader

from triune.data.augment import AugmentConfig
from triune.data.batches import ClassBalancedBatchSampler, ShareOfBatches, ShuffledBatchSampler
from triune.data.boxes import without_boxes
from triune.data.collage import add_collages
from triune.data.colours import without_colours
from triune.data.dataset import Batch, ItemDataset, collate
from triune.data.items import ItemTable
from triune.data.transform import eval_transform, train_transform
from triune.errors import InputError
from triune.parallel.blocks import own_blocks
from triune.parallel.group import rank_and_size, sharing
from triune.run.batching import batches_for
from triune.run.chosen import chosen_preprocessing
from triune.run.preprocessing import StoredPreprocessing
from triune.run.settings import TrainConfig
from triune.signals import held_back

Loader = DataLoader[Any]

COLOURS_SEEN = 16
"""Training images that are looked at, evenly over the table, for whether there are colours."""


class ItemData(pl.LightningDataModule):
    """Loaders of one table.

    Args:
        table: the items; their ``split`` column says what each is for. Where no mask is learnt from, none is read.
        config: the run's settings.
        classes: names of the classes, in the order of the classification head's outputs.
        identities: the identities trained on, in the order of their codes; those of the training items, sorted, where
            not given.
        images: how images are prepared; as the settings ask for where not given.
    """

    def __init__(
        self,
        table: ItemTable,
        config: TrainConfig,
        classes: list[str],
        identities: list[str] | None = None,
        images: StoredPreprocessing | None = None,
    ) -> None:
        super().__init__()
        self.images = chosen_preprocessing(config) if images is None else images
        table = table if self.images.boxes else replace(table, frame=without_boxes(table.frame))
        self.table = table if config.learns_masks else without_masks(table)
        self.config = config
        self.classes = classes
        # Those trained on come first, so that their codes number the proxies of a loss from 0.
        self.training_identities = self._identities("train") if identities is None else identities
        trained = set(self.training_identities)
        self.identities = self.training_identities + [i for i in self._identities(None) if i not in trained]
        named = table.part("train")["identity"]
        self.batches = batches_for(config, named.drop_nulls().value_counts()["count"].to_list(), named.null_count())
        self._datasets: dict[str, ItemDataset] = {}

    def dataset(self, split: str) -> ItemDataset:
        """The items of one split; made once, so that decoded images stay in memory. Training items are augmented."""
        if split not in self._datasets:
            images, seen = self.config.images, self.images.preprocessing
            transform = train_transform(seen, self.augment) if split == "train" else eval_transform(seen)
            self._datasets[split] = ItemDataset(
                self.table.part(split),
                channels=images.channels,
                classes=self.classes,
                identities=self.identities,
                transform=transform,
                reading=self.table.reading,
                cache_bytes=images.cache_mib << 20,
                seed=self.config.seed,
            )
        return self._datasets[split]

    @cached_property
    def augment(self) -> AugmentConfig:
        """The random changes of training images, all of them as numbers: images without colours are not mirrored."""
        asked = self.config.augment
        if asked.flip != "auto":
            return asked
        paths = self.table.part("train")["image"].to_list()
        looked_at = (
            {paths[place] for place in np.linspace(0, len(paths) - 1, COLOURS_SEEN).astype(int)} if paths else ()
        )
        grey = paths and all(without_colours(path, self.table.reading.bits) for path in looked_at)
        return replace(asked, flip=0.0 if grey else asked.mirrored)

    def count(self, split: str) -> int:
        """How many items a split has."""
        return len(self.table.part(split))

    def loader(self, split: str, divide_over: ProcessGroup | None = None) -> Loader:
        """Every item of a split once, in the table's order; of several processes each takes its turns of batches."""
        dataset, size = self.dataset(split), self.batches.size
        starts = own_blocks(range(0, len(dataset), size), divide_over)
        batches = [range(start, min(start + size, len(dataset))) for start in starts]
        return self._loader(dataset, batch_sampler=batches)

    def sampler(self) -> ClassBalancedBatchSampler | None:
        """P identities with K images a batch, or ``None`` where too few items have an identity for that.

        Where there are fewer than P identities, all of them are in every batch, with more images each.
        """
        dataset, config = self.dataset("train"), self.config
        size, samples, _ = self.batches
        least = min(2, samples)  # an identity gives a pair, where pairs are asked for
        counts = torch.unique(dataset.identity_codes[dataset.identity_codes >= 0], return_counts=True)[1]
        usable = int((counts >= least).sum())
        if usable < 2 or config.model.embedding_dim == 0:
            return None
        per_batch = min(size // samples, usable)
        if per_batch < 1:
            raise InputError(f"batch_size {size} is below samples_per_class {samples}")
        nameless = int((dataset.identity_codes < 0).sum())
        unlabelled = round(size * nameless / len(dataset))
        return ClassBalancedBatchSampler(
            dataset.identity_codes,
            classes_per_batch=per_batch,
            samples_per_class=max(least, (size - unlabelled) // per_batch),
            seed=config.seed,
            unlabelled=-1,
            unlabelled_per_batch=unlabelled,
        )

    def train_dataloader(self) -> Loader:
        """Class-balanced batches; plain shuffled ones where items have no identities.

        Several processes follow one plan, that of a single process: each loads its share of every batch.

        Raises:
            InputError: there are too few images a batch for so many processes.
        """
        dataset, config = self.dataset("train"), self.config
        sampler = self.sampler() or ShuffledBatchSampler(len(dataset), self.batches.size, config.seed)
        rank, processes = rank_and_size(sharing())
        if processes == 1:
            return self._loader(dataset, batch_sampler=sampler)
        share = ShareOfBatches(sampler, rank, processes, by=config.trainer.share)
        return self._loader(dataset, batch_sampler=share)

    def val_dataloader(self) -> Loader | list[Loader]:
        """The validation items; nothing where there are none. Of several processes each loads its share."""
        count = self.count("val")
        rank, processes = rank_and_size(sharing())
        if not count or processes == 1:
            return self.loader("val") if count else []
        # A process without any batch would not take part in the validation, and the others would wait for it.
        size = min(self.batches.size, -(-count // processes))
        starts = range(0, count, size)[rank::processes] or range(1)
        batches = [range(start, min(start + size, count)) for start in starts]
        return self._loader(self.dataset("val"), batch_sampler=batches)

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        """Move a batch, add collages, and lay images out channels-last, in which convolutions are fastest."""
        moved = batch.to(device, non_blocking=True)
        if self.trainer and self.trainer.training and self.config.images.collages:
            moved = self._with_collages(moved)
        return replace(moved, images=moved.images.contiguous(memory_format=torch.channels_last))

    def _identities(self, split: str | None) -> list[str]:
        frame = self.table.frame if split is None else self.table.part(split)
        names: list[str] = frame["identity"].drop_nulls().unique().sort().to_list()
        return names

    def _with_collages(self, batch: Batch) -> Batch:
        """The batch with this process's share of the invented identities, whose codes no other process uses."""
        config, (rank, processes) = self.config, rank_and_size(sharing())
        ends = [config.images.collages * (rank + end) // processes for end in (0, 1)]
        first = len(self.identities) + ends[0]
        return add_collages(batch, ends[1] - ends[0], self.batches.samples_per_class, config.seed, first=first)

    def _loader(self, dataset: ItemDataset, **options: Any) -> Loader:
        workers = self.config.images.workers
        collated = partial(collate, mean=self.images.mean, std=self.images.std)
        return _LateLoader(dataset, collate_fn=collated, num_workers=workers, persistent_workers=workers > 0, **options)


def without_masks(table: ItemTable) -> ItemTable:
    """The items as they are where nothing is learnt from masks."""
    return replace(table, frame=table.frame.with_columns(polars.lit(None, polars.String).alias("mask")))


class _LateLoader(DataLoader[Any]):
    """A loader that begins to fetch when the first batch is asked for, not when its iterator is made.

    Lightning makes the iterator of a resumed run before it has counted the epochs; workers would fetch the batches of
    an earlier epoch, whatever the sampler is told afterwards.
    """

    def __iter__(self) -> Any:
        try:
            with held_back():  # in the middle of a fork the exception of a signal would be lost, or told twice
                batches = super().__iter__()
            yield from batches
        except InputError as error:  # torch puts the traceback of a loader process into the message
            raise InputError(str(error).rstrip().splitlines()[-1].split("InputError: ")[-1]) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise ChildProcessError(errno.ECHILD, f"a loader process ended: {str(error).splitlines()[0]}") from error
