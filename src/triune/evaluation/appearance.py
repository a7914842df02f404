"""How the validation images of a run look to its network, for telling images of another kind later."""

import numpy as np
import torch

from triune.data.dataset import ItemDataset
from triune.model.network import MultiTaskModel, looks_of
from triune.run.familiar import Familiar, familiar_of

MOST = 2000
"""Validation images that are looked at, evenly over the split."""

BATCH = 64


@torch.inference_mode()
def familiar_with(model: MultiTaskModel, dataset: ItemDataset, device: torch.device) -> Familiar | None:
    """What a network knows the look of; ``None`` where fewer than two identities are known.

    Args:
        model: in evaluation mode.
        dataset: the validation items; those without an identity are left out.
        device: where the network is.
    """
    known = np.flatnonzero(dataset.identity_codes.numpy() >= 0)
    chosen = known[np.linspace(0, len(known) - 1, min(MOST, len(known))).astype(int)]
    if not len(chosen):
        return None
    looks: list[tuple[torch.Tensor, ...]] = []
    for start in range(0, len(chosen), BATCH):
        images = [dataset.input(int(index)) for index in chosen[start : start + BATCH]]
        looks.append(looks_of(model.maps(torch.stack(images).to(device))))
    parts = [torch.cat(each).cpu().numpy() for each in zip(*looks, strict=True)]
    return familiar_of(parts, dataset.identity_codes.numpy()[chosen])
