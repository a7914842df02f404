"""The running average of the weights, which is evaluated and kept."""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

FORGETS: Final = 9.0
"""After n updates the decay is at most 1 - 9 / (10 + n), so that the average is over the last tenth of the steps."""


class WarmAverage(WeightAveraging):
    """An exponential average whose decay grows from 0.18 to ``decay``.

    With the full decay from the beginning a short run's average is mostly the weights that it began with. The same
    warm-up is TensorFlow's ``ExponentialMovingAverage(num_updates=…)``.

    Args:
        decay: the highest, below 1. Reached after about 9 / (1 - decay) steps.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=warm_average(decay))


def warm_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]:
    """The update of torch's ``AveragedModel``: average += (1 - min(decay, 1 - 9 / (10 + n))) · (weights - average).

    Whole numbers, such as counts of batches, are taken over as they are.

    Args:
        decay: the highest.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor) -> None:
        share = (FORGETS / (FORGETS + 1 + updates)).clamp(min=1 - decay)  # stays on its device: nothing waits for it
        for average, weight in zip(averages, weights, strict=True):
            if average.is_floating_point():
                average.lerp_(weight, share.to(average.dtype))
            else:
                average.copy_(weight)

    return update
