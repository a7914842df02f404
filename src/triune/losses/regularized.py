"""A loss with a regulariser of the embeddings added, such as their mean length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from triune.distances.embeddings import Embeddings, as_embeddings, safe_sqrt
from triune.losses.pairs import check_above_zero


def mean_length(embeddings: Embeddings, *, power: float = 1.0) -> Tensor:
    """The mean of ‖x‖ᵖ over the rows: holds embeddings down whose loss does not normalise them, or divides by length.

    >>> mean_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor(2.5000)

    Args:
        embeddings: shape (N, D); float16 and bfloat16 are computed, and returned, in float32.
        power: p, above 0; 2 is weight decay for embeddings.

    Returns:
        A scalar; 0 with a graph if there is no row. The gradient of a row of zeros is 0 for p ≥ 1.
    """
    check_above_zero(power=power)
    squared = as_embeddings(embeddings).square().sum(1)
    lengths = squared if power == 2 else safe_sqrt(squared) ** power
    return lengths.sum() / max(1, len(lengths))


class RegularizedLoss(nn.Module):
    """``criterion(embeddings, …) + weight · regularizer(embeddings)``, called as the criterion is.

    >>> criterion = RegularizedLoss(ContrastiveLoss(normalize=False), weight=0.01)
    >>> loss = criterion(torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3])

    Args:
        criterion: any loss whose first argument are embeddings.
        weight: of the regulariser, 0 or more.
        regularizer: embeddings (N, D) to a scalar; :func:`mean_length` where not given. Those of
            pytorch-metric-learning are called alike.

    Raises:
        ValueError: the weight is below 0.
    """

    def __init__(
        self, criterion: nn.Module, weight: float, regularizer: Callable[[Tensor], Tensor] = mean_length
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight is {weight}; give 0 or more")
        self.criterion = criterion
        self.weight = weight
        self.regularizer = regularizer

    def forward(self, embeddings: Embeddings, *arguments: Any, **named: Any) -> Tensor:
        """The scalar loss.

        Args:
            embeddings: shape (N, D), as the network gives them: of their own length.
            arguments: labels, and what else the criterion takes.
            named: the same by name.
        """
        loss: Tensor = self.criterion(embeddings, *arguments, **named)
        return loss + self.weight * self.regularizer(as_embeddings(embeddings))

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        name = getattr(self.regularizer, "__name__", None)
        return f"weight={self.weight}" + (f", regularizer={name}" if name else "")
