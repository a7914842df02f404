"""What there is without training: raw pixels and the backbone before training, as embeddings."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, normalize

from triune.data.images import Batch, ItemDataset
from triune.model.network import MultiTaskModel

PIXEL_SIDE = 32


def pixel_embeddings(dataset: ItemDataset) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Each image shrunk to 32 x 32, less its own mean, at unit length: ``(N, C * 1024)`` float32."""
    rows = [adaptive_avg_pool2d(dataset.stored(i)[0].float(), PIXEL_SIDE).flatten() for i in range(len(dataset))]
    pixels = torch.stack(rows)
    return normalize(pixels - pixels.mean(dim=1, keepdim=True), dim=1).numpy()


@torch.inference_mode()
def backbone_embeddings(
    model: MultiTaskModel, batches: Iterable[Batch], device: torch.device | str = "cpu"
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The average of the deepest feature map, at unit length, of a network that was not trained here."""
    model.eval()
    rows = []
    for batch in batches:
        deepest = model.features(batch.images.to(device))[-1]
        rows.append(normalize(deepest.float().mean(dim=(2, 3)), dim=1).cpu())
    return torch.cat(rows).numpy()
