"""What there is without training: raw pixels and the backbone before training, as embeddings."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.distributed import ProcessGroup
from torch.nn.functional import adaptive_avg_pool2d, normalize

from triune.data.dataset import Batch, ItemDataset
from triune.model.network import MultiTaskModel
from triune.parallel.blocks import own_blocks
from triune.parallel.divide import gather_in_order

PIXEL_SIDE = 32


def pixel_embeddings(
    dataset: ItemDataset, divide_over: ProcessGroup | None = None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Each image shrunk to 32 x 32, less its own mean, at unit length: ``(N, C * 1024)`` float32."""
    own = own_blocks(range(len(dataset)), divide_over)
    rows = [adaptive_avg_pool2d(dataset.stored(i)[0].float(), PIXEL_SIDE).flatten().numpy() for i in own]
    pixels = torch.from_numpy(np.stack(gather_in_order(rows, divide_over)))
    return normalize(pixels - pixels.mean(dim=1, keepdim=True), dim=1).numpy()


@torch.inference_mode()
def backbone_embeddings(
    model: MultiTaskModel,
    batches: Iterable[Batch],
    device: torch.device | str = "cpu",
    divide_over: ProcessGroup | None = None,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The average of the deepest feature map, at unit length, of a network that was not trained here.

    Args:
        model: the network; of it only the backbone is used.
        batches: the N items.
        device: where the network is and the batches are moved to.
        divide_over: processes that each have some of the batches, in turns; all get the rows of all.

    Returns:
        ``(N, C)``, C the channels of that feature map.
    """
    model.eval()
    rows = []
    for batch in batches:
        deepest = model.features(batch.images.to(device))[-1]
        rows.append(normalize(deepest.float().mean(dim=(2, 3)), dim=1).cpu().numpy())
    return np.concatenate(gather_in_order(rows, divide_over))
