"""Run a network over images: embeddings, predicted classes, and masks counted against the true ones."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch.distributed import ProcessGroup
from torchmetrics.classification import BinaryConfusionMatrix, MulticlassConfusionMatrix

from triune.data.dataset import Batch
from triune.data.decode import IGNORE
from triune.errors import InputError
from triune.model.network import MultiTaskModel, Prediction, predicted_masks
from triune.parallel.divide import gather_in_order
from triune.parallel.group import all_gather, read_by_all

Array: TypeAlias = np.ndarray[Any, Any]


class Predictions(NamedTuple):
    """What a network says of N items, in the data set's order.

    Args:
        embeddings: ``(N, D)`` float32, or ``None`` without an embedding head.
        classes: ``(N,)`` int64 predicted class, or ``None`` without a class head.
        mask_confusion: ``(M, M)`` int64 pixel counts, true id by predicted id, or ``None`` without a mask head.
        masked: how many items had a mask to be counted.
    """

    embeddings: np.ndarray[Any, np.dtype[np.float32]] | None
    classes: np.ndarray[Any, np.dtype[np.int64]] | None
    mask_confusion: np.ndarray[Any, np.dtype[np.int64]] | None
    masked: int


@torch.inference_mode()
def predict(
    model: MultiTaskModel,
    batches: Iterable[Batch],
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    divide_over: ProcessGroup | None = None,
) -> Predictions:
    """Run a network in evaluation mode over some items.

    Args:
        model: the network.
        batches: the items.
        device: where the network is and the batches are moved to.
        progress: called after each batch with the number of items that are done.
        divide_over: processes that each have some of the batches, in turns; all get the predictions of all.
    """
    # Where one process cannot read an image the others must not wait for what it predicts.
    embeddings, classes, counted, masked = read_by_all(lambda: _own(model, batches, device, progress), divide_over)
    rows, predicted = gather_in_order(embeddings, divide_over), gather_in_order(classes, divide_over)
    confusions = all_gather(counted, divide_over)
    return Predictions(
        embeddings=np.concatenate(rows) if rows else None,
        classes=np.concatenate(predicted) if predicted else None,
        mask_confusion=np.sum(confusions, axis=0) if confusions else None,
        masked=sum(all_gather([masked], divide_over)),
    )


def _own(
    model: MultiTaskModel,
    batches: Iterable[Batch],
    device: torch.device | str,
    progress: Callable[[int], None] | None,
) -> tuple[list[Array], list[Array], list[Array], int]:
    """Embeddings and classes of each batch, mask counts of all in a list of one (none: empty), items with a mask."""
    was_training = model.training
    model.eval()
    embeddings: list[Array] = []
    classes: list[Array] = []
    counts: BinaryConfusionMatrix | MulticlassConfusionMatrix | None = None
    masked = done = 0
    for batch in batches:
        output = model(batch.images.to(device))
        _check_finite(output, batch)
        if output.embedding is not None:
            embeddings.append(output.embedding.float().cpu().numpy())
        if output.class_logits is not None:
            classes.append(output.class_logits.argmax(dim=1).cpu().numpy())
        if output.mask_logits is not None:
            counts = counts or _mask_counter(output.mask_logits.shape[1])
            known = (batch.masks != IGNORE).flatten(1).any(dim=1)
            masked += int(known.sum())
            if known.any():
                counts.update(predicted_masks(output.mask_logits).cpu()[known], batch.masks[known].cpu())
        done += len(batch.images)
        if progress is not None:
            progress(done)
    model.train(was_training)
    counted = [counts.compute().long().numpy()] if counts is not None and masked else []
    return embeddings, classes, counted, masked


def _check_finite(output: Prediction, batch: Batch) -> None:
    """Refuse an answer that is none: its largest logit would still name a class.

    Raises:
        InputError: it names the first item.
    """
    for answer in output:
        if answer is not None:
            wrong = ~torch.isfinite(answer.flatten(1)).all(dim=1).cpu()
            if wrong.any():
                row = int(batch.rows[wrong][0])
                raise InputError(
                    f"the network's answer for item {row} (counted from 0) is not finite: its training diverged, train "
                    "again with a lower --optimizer.lr"
                )


def _mask_counter(channels: int) -> BinaryConfusionMatrix | MulticlassConfusionMatrix:
    # Several processes add up their counts here in any case: torchmetrics would wait for those that have no mask.
    if channels == 1:
        return BinaryConfusionMatrix(ignore_index=IGNORE, sync_on_compute=False)
    return MulticlassConfusionMatrix(num_classes=channels, ignore_index=IGNORE, sync_on_compute=False)
