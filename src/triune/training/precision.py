"""Mixed precision on a processor may cost time and not save it: the network itself is asked."""

import time
from typing import Final

import torch

from triune.model.network import MultiTaskModel

TOLD: Final = 1.2
"""How much longer than in float32 a step must take to be told."""

DTYPES: Final = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

TURNS: Final = 2


def slowdown(model: MultiTaskModel, shape: tuple[int, int, int], precision: str) -> float:
    """How many times as long as in float32 a forward and backward pass takes on the processor, with eight images.

    Weights, statistics of batch normalisation and random numbers stay as they are.

    Args:
        model: the network, on the processor.
        shape: channels, height and width of the images.
        precision: of Lightning.
    """
    images = torch.zeros(8, *shape).contiguous(memory_format=torch.channels_last)  # as training lays them out
    seconds = {False: float("inf"), True: float("inf")}
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            for _ in range(TURNS):
                for mixed in (False, True):
                    begun = time.perf_counter()
                    with torch.autocast("cpu", DTYPES[precision], enabled=mixed):
                        output = model(images)
                        parts = [part for part in output if part is not None]
                        torch.autograd.backward(torch.stack([part.float().sum() for part in parts]).sum())
                    seconds[mixed] = min(seconds[mixed], time.perf_counter() - begun)
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    return seconds[True] / seconds[False]


def warned(model: MultiTaskModel, shape: tuple[int, int, int], precision: str, on_processor: bool) -> str | None:
    """A line where mixed precision costs time on this machine; ``None`` where it does not.

    Args:
        model: the network.
        shape: channels, height and width of the images.
        precision: of Lightning.
        on_processor: whether the processor trains, and not a GPU.
    """
    if not on_processor or precision not in DTYPES:
        return None
    times = slowdown(model, shape, precision)
    if times < TOLD:
        return None
    return (
        f"{precision} takes {times:.0f} times as long as 32-true for this network on this processor: "
        "--trainer.precision 32-true"
    )
