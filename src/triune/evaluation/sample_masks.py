"""Predicted masks of some test items as files, for the report and for people to look at."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from triune.data.boxes import boxes_of
from triune.data.dataset import ItemDataset
from triune.data.decode import upright_size
from triune.files import written_whole
from triune.model.network import MultiTaskModel
from triune.model.own_size import mask_of_image

SAMPLE_MASKS: Final = 12


@torch.inference_mode()
def write_sample_masks(folder: Path, model: MultiTaskModel, dataset: ItemDataset, device: torch.device) -> None:
    """Write predicted masks of some test items as ``ROW.png``: mask ids, in the image's own size, 255 where not seen.

    Args:
        folder: where to.
        model: the network, which has a mask head.
        dataset: the test items; those with a mask are drawn from, evenly over the split.
        device: where the network is.
    """
    masked = np.flatnonzero(dataset.frame["mask"].is_not_null().to_numpy())
    boxes = boxes_of(dataset.frame)
    for index in masked[np.linspace(0, len(masked) - 1, min(SAMPLE_MASKS, len(masked))).astype(int)]:
        row = dataset.frame.row(int(index), named=True)
        logits = model(dataset.input(int(index))[None].to(device)).mask_logits
        ids = mask_of_image(logits, dataset.transform.preprocessing, upright_size(row["image"]), boxes[index])
        with written_whole(folder / f"{row['row']}.png") as temporary:
            Image.fromarray(ids).save(temporary)
