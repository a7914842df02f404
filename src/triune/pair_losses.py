"""Pair losses as modules that hold their settings; the mathematics is in functional/pair_losses.py.

Each is called ``criterion(embeddings, labels)``, or with the index pairs or triplets of any miner as a third argument
where it can be restricted to some pairs, and divides embeddings by their length first unless ``normalize=False``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from triune.functional import pair_losses as functional
from triune.functional.distances import Embeddings, as_embeddings, unit
from triune.functional.labels import Labels


class _PairLoss(nn.Module):
    """Settings, normalisation and a readable repr; subclasses say in ``loss`` what it costs."""

    def __init__(self, normalize: bool, **settings: Any) -> None:
        super().__init__()
        self.normalize = normalize
        self.settings = settings

    def forward(self, embeddings: Embeddings, labels: Labels, indices: Sequence[Tensor] | None = None) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N labels; ``indices`` of a miner choose the pairs."""
        x = as_embeddings(embeddings)
        return self.loss(unit(x) if self.normalize else x, labels, indices)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        return ", ".join(f"{name}={value!r}" for name, value in {**self.settings, "normalize": self.normalize}.items())


class ContrastiveLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.contrastive_loss`."""

    def __init__(
        self, positive_margin: float = 0.0, negative_margin: float = 1.0, power: int = 1, normalize: bool = True
    ) -> None:
        super().__init__(normalize, positive_margin=positive_margin, negative_margin=negative_margin, power=power)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        return functional.contrastive_loss(x, labels, pairs=indices, **self.settings)


class LiftedStructureLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.lifted_structure_loss`."""

    def __init__(self, positive_margin: float = 0.0, negative_margin: float = 1.0, normalize: bool = True) -> None:
        super().__init__(normalize, positive_margin=positive_margin, negative_margin=negative_margin)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        return functional.lifted_structure_loss(x, labels, pairs=indices, **self.settings)


class NPairsLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.n_pairs_loss`; embeddings keep their length, as in the paper."""

    def __init__(self, l2: float = 0.02, normalize: bool = False) -> None:
        super().__init__(normalize, l2=l2)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        _no_indices(self, indices)
        return functional.n_pairs_loss(x, labels, **self.settings)


class MultiSimilarityLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.multi_similarity_loss`; with ``mining`` on the paper's mined pairs."""

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining: bool = True,
        epsilon: float = 0.1,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize, alpha=alpha, beta=beta, base=base)
        self.mining = mining
        self.epsilon = epsilon

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        if indices is None and self.mining:
            indices = functional.multi_similarity_pairs(x, labels, epsilon=self.epsilon)
        return functional.multi_similarity_loss(x, labels, pairs=indices, **self.settings)


class NTXentLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.nt_xent_loss`."""

    def __init__(self, temperature: float = 0.07, normalize: bool = True) -> None:
        super().__init__(normalize, temperature=temperature)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        return functional.nt_xent_loss(x, labels, pairs=indices, **self.settings)


class SupConLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.sup_con_loss`."""

    def __init__(self, temperature: float = 0.1, normalize: bool = True) -> None:
        super().__init__(normalize, temperature=temperature)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        return functional.sup_con_loss(x, labels, pairs=indices, **self.settings)


class CircleLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.circle_loss`."""

    def __init__(self, margin: float = 0.4, gamma: float = 80.0, normalize: bool = True) -> None:
        super().__init__(normalize, margin=margin, gamma=gamma)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        return functional.circle_loss(x, labels, pairs=indices, **self.settings)


class MarginLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.margin_loss`; its boundary β is learnt, its negatives distance-weighted.

    Args:
        margin: α.
        beta: where β begins.
        learn_beta: whether it is learnt.
        nu: weight of β as a regulariser.
        cutoff, farthest: of the sampling.
        normalize: divide embeddings by their length; the sampling needs unit rows.
    """

    def __init__(
        self,
        margin: float = 0.2,
        beta: float = 1.2,
        learn_beta: bool = True,
        nu: float = 0.0,
        cutoff: float = 0.5,
        farthest: float = 1.4,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize, margin=margin, nu=nu)
        self.beta = nn.Parameter(torch.tensor(beta), requires_grad=learn_beta)
        self.cutoff = cutoff
        self.farthest = farthest

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs; the negatives are drawn from torch's default generator."""
        if indices is None:
            indices = functional.distance_weighted_triplets(x, labels, cutoff=self.cutoff, farthest=self.farthest)
        if len(indices) != 3:
            raise ValueError("the margin loss takes triplets (a, p, n), not pairs")
        return functional.margin_loss(x, indices, beta=self.beta, **self.settings)


class SmoothAPLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.smooth_ap_loss`."""

    def __init__(self, temperature: float = 0.01, normalize: bool = True) -> None:
        super().__init__(normalize, temperature=temperature)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        _no_indices(self, indices)
        return functional.smooth_ap_loss(x, labels, **self.settings)


class FastAPLoss(_PairLoss):
    """See :func:`triune.functional.pair_losses.fast_ap_loss`."""

    def __init__(self, bins: int = 10, normalize: bool = True) -> None:
        super().__init__(normalize, bins=bins)

    def loss(self, x: Tensor, labels: Labels, indices: Sequence[Tensor] | None) -> Tensor:
        """What the batch costs."""
        _no_indices(self, indices)
        return functional.fast_ap_loss(x, labels, **self.settings)


def _no_indices(module: nn.Module, indices: Sequence[Tensor] | None) -> None:
    if indices is not None:
        raise ValueError(f"{type(module).__name__} ranks whole batches: it takes no pairs or triplets of a miner")


PAIR_LOSSES: dict[str, type[nn.Module]] = {
    "contrastive": ContrastiveLoss,
    "lifted-structure": LiftedStructureLoss,
    "n-pairs": NPairsLoss,
    "multi-similarity": MultiSimilarityLoss,
    "nt-xent": NTXentLoss,
    "sup-con": SupConLoss,
    "circle": CircleLoss,
    "margin": MarginLoss,
    "smooth-ap": SmoothAPLoss,
    "fast-ap": FastAPLoss,
}
"""The losses by the names of ``--metric_loss``."""
