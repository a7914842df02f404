"""From the bytes of an image to the numbers that a network takes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from triune.data.decode import Array
from triune.data.preprocessing import MEAN, STD, Preprocessing


def network_input(pixels: Array, seen: Preprocessing) -> Tensor:
    """What :meth:`Preprocessing.image` gives ``(H, W, C)`` as a network takes it, ``(C, H, W)`` float32.

    Args:
        pixels: uint8.
        seen: how the image was prepared, which says mean and standard deviation.
    """
    return normalise(torch.tensor(pixels).permute(2, 0, 1), seen.mean, seen.std)


def normalise(images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """Images as a network takes them: scaled to [0, 1], less the mean, over the standard deviation.

    Args:
        images: ``(..., C, H, W)`` uint8.
        mean: C means of the channels, in [0, 1]; those of ImageNet's photographs (:data:`MEAN`) where not given.
        std: C standard deviations likewise (:data:`STD`).

    Returns:
        ``(..., C, H, W)`` float32.
    """
    channels = images.shape[-3]
    centre = torch.tensor(mean or MEAN[channels], device=images.device)[:, None, None] * 255
    spread = torch.tensor(std or STD[channels], device=images.device)[:, None, None] * 255
    return (images.float() - centre).div_(spread)


def denormalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The bytes ``(..., C, H, W)`` that :func:`normalise` made its numbers of.

    Args:
        images: ``(..., C, H, W)`` float32.
        mean: C means of the channels, in [0, 1].
        std: C standard deviations likewise.
    """
    centre, spread = (torch.tensor(each, device=images.device)[:, None, None] * 255 for each in (mean, std))
    return (images * spread + centre).round_().clamp_(0, 255).to(torch.uint8)
