"""A batch that is too large for memory goes through the network in chunks; its loss is that of the whole batch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from triune.losses.cached_gradients import TwoPasses
from triune.model.network import MultiTaskModel, Prediction


class ChunkedPrediction:
    """The network's answers to a batch, made without a graph; :meth:`backward` makes them again, with one, in parts.

    Args:
        model: the network.
        images: ``(B, C, H, W)``.
        chunk: images at a time.
    """

    def __init__(self, model: MultiTaskModel, images: Tensor, chunk: int) -> None:
        self._shapes: list[torch.Size | None] = []

        def packed(part: Tensor) -> Tensor:
            """All answers of an image in one row."""
            answers: Prediction = model(part)
            self._shapes = [None if each is None else each.shape[1:] for each in answers]
            return torch.cat([each.flatten(1) for each in answers if each is not None], dim=1)

        self._passes = TwoPasses(packed, images, chunk, model)
        rows = self._passes.embeddings
        lengths = [shape.numel() for shape in self._shapes if shape is not None]
        parts = iter(torch.split(rows, lengths, dim=1))
        self.prediction = Prediction(
            *(None if shape is None else next(parts).reshape(len(rows), *shape) for shape in self._shapes)
        )

    def backward(self, exchanged: Sequence[nn.Parameter] = ()) -> None:
        """Send the gradients of the answers, which a loss has left, through the network.

        Args:
            exchanged: the parameters that learn, where several processes exchange their gradients.
        """
        self._passes.backward(exchanged=exchanged)
