"""Pair losses as modules that hold their settings; the mathematics is in functional/pair_losses.py.

Each is called ``criterion(embeddings, labels)`` as :class:`triune.losses.TripletLoss` is, with the pairs or triplets of
any miner as a third argument, and a reference set after that; it divides embeddings, and reference rows, by their
length first unless ``normalize=False``. Settings are attributes, and are checked when the module is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from triune.functional.distances import Embeddings, as_embeddings, unit
from triune.functional.labels import Labels, whole_numbers
from triune.functional.pair_losses import (
    check_above_zero,
    check_sampling,
    circle_loss,
    contrastive_loss,
    fast_ap_loss,
    lifted_structure_loss,
    margin_loss,
    multi_similarity_loss,
    n_pairs_loss,
    nt_xent_loss,
    smooth_ap_loss,
    sup_con_loss,
)
from triune.functional.proxy_losses import check_classes


class _PairLoss(nn.Module):
    """How every pair loss is called; ``_loss`` of a subclass hands the batch on with its settings."""

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        indices: Sequence[Tensor] | None = None,
        reference: Embeddings | None = None,
        reference_labels: Labels | None = None,
        *,
        own_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The scalar loss of embeddings (N, D) with N labels.

        Args:
            embeddings: shape (N, D).
            labels: N integers or strings.
            indices: of any miner, in place of all pairs.
            reference: where positives and negatives are taken from, shape (M, D).
            reference_labels: the identity of each reference row.
            own_rows: which reference row is embedding i, −1 for none.
            generator: source of the random draws of a loss that makes some.
        """
        x, y = embeddings, reference
        if self.normalize:
            x = unit(as_embeddings(embeddings))
            if reference is not None:
                y = x if reference is embeddings else unit(as_embeddings(reference, "reference"))
        batch = {"pairs": indices, "reference": y, "reference_labels": reference_labels, "own_rows": own_rows}
        return self._loss(x, labels, batch, generator)

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        hidden = ("training",)
        return ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_" and k not in hidden)

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        raise NotImplementedError


class ContrastiveLoss(_PairLoss):
    """Matching pairs together, others apart up to a margin (Hadsell et al. 2006).

    See :func:`triune.functional.pair_losses.contrastive_loss`.

    >>> criterion = ContrastiveLoss(negative_margin=0.5)
    >>> embeddings, labels = torch.randn(8, 16, requires_grad=True), [0, 0, 1, 1, 2, 2, 3, 3]
    >>> criterion(embeddings, labels).backward()

    Args:
        positive_margin: matching pairs closer than this cost nothing.
        negative_margin: non-matching pairs farther apart than this cost nothing.
        power: 1, or 2 as in the paper.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(
        self, positive_margin: float = 0.0, negative_margin: float = 1.0, power: int = 1, normalize: bool = True
    ) -> None:
        super().__init__(normalize)
        check_above_zero(power=power)
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.power = power

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return contrastive_loss(
            x, labels, positive_margin=self.positive_margin, negative_margin=self.negative_margin, power=self.power,
            **batch,
        )  # fmt: skip


class LiftedStructureLoss(_PairLoss):
    """Smooth maximum of positives against smooth minimum of negatives (Hermans et al. 2017; Oh Song et al. 2016).

    See :func:`triune.functional.pair_losses.lifted_structure_loss`.

    Args:
        positive_margin: taken from the distance of matching pairs.
        negative_margin: how much farther others should be.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, positive_margin: float = 0.0, negative_margin: float = 1.0, normalize: bool = True) -> None:
        super().__init__(normalize)
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return lifted_structure_loss(
            x, labels, positive_margin=self.positive_margin, negative_margin=self.negative_margin, **batch
        )


class NPairsLoss(_PairLoss):
    """One pair a class, told apart from the positives of all other classes (Sohn 2016).

    See :func:`triune.functional.pair_losses.n_pairs_loss`. It takes no reference set.

    Args:
        l2: weight of the embeddings' mean squared length, which the paper adds because it does not normalise.
        normalize: divide every embedding by its length first; not in the paper.
    """

    def __init__(self, l2: float = 0.02, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.l2 = l2

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        if batch["reference"] is not None:
            raise ValueError("NPairsLoss compares the pairs of a batch: leave reference out, or take NTXentLoss")
        return n_pairs_loss(x, labels, l2=self.l2, pairs=batch["pairs"])


class MultiSimilarityLoss(_PairLoss):
    """Pairs weighted by their own and by their neighbours' likeness (Wang et al. 2019).

    See :func:`triune.functional.pair_losses.multi_similarity_loss`.

    Args:
        alpha: sharpness for matching pairs, above 0.
        beta: sharpness for the others, above 0.
        base: the likeness that parts them.
        mining: keep only the pairs the paper's mining finds informative; pairs of a miner that are given stay all.
        epsilon: how far a pair may be from informative.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining: bool = True,
        epsilon: float = 0.1,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize)
        check_above_zero(alpha=alpha, beta=beta)
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.mining = mining
        self.epsilon = epsilon

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return multi_similarity_loss(
            x, labels, alpha=self.alpha, beta=self.beta, base=self.base,
            mining=self.mining and batch["pairs"] is None, epsilon=self.epsilon, **batch,
        )  # fmt: skip


class NTXentLoss(_PairLoss):
    """Softmax of each positive against the anchor's negatives: InfoNCE (Van den Oord et al. 2018, Chen et al. 2020).

    See :func:`triune.functional.pair_losses.nt_xent_loss`.

    Args:
        temperature: above 0.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, temperature: float = 0.07, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(temperature=temperature)
        self.temperature = temperature

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return nt_xent_loss(x, labels, temperature=self.temperature, **batch)


class SupConLoss(_PairLoss):
    """Softmax of each positive against all other items, averaged outside the logarithm (Khosla et al. 2020).

    See :func:`triune.functional.pair_losses.sup_con_loss`.

    Args:
        temperature: above 0.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, temperature: float = 0.1, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(temperature=temperature)
        self.temperature = temperature

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return sup_con_loss(x, labels, temperature=self.temperature, **batch)


class CircleLoss(_PairLoss):
    """Each pair weighted by how far it is from its optimum (Sun et al. 2020).

    See :func:`triune.functional.pair_losses.circle_loss`.

    Args:
        margin: the optima are 1 + margin and −margin.
        gamma: sharpness, above 0.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, margin: float = 0.4, gamma: float = 80.0, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(gamma=gamma)
        self.margin = margin
        self.gamma = gamma

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return circle_loss(x, labels, margin=self.margin, gamma=self.gamma, **batch)


class MarginLoss(_PairLoss):
    """Pairs on the right side of a learnt boundary, negatives drawn over all distances (Wu et al. 2017).

    See :func:`triune.functional.pair_losses.margin_loss`. Its boundary is the parameter ``beta``, to be given to the
    optimiser and saved with the model: one number, or one for each class, which anchors are held to (β_class in the
    paper). With classes, labels are whole numbers from 0 to num_classes − 1.

    Args:
        margin: how far from the boundary pairs should be.
        beta: where the boundary begins.
        learn_beta: whether it is learnt.
        num_classes: how many classes have a boundary of their own; not given: one boundary for all.
        nu: weight of the boundary as a regulariser.
        cutoff: distances below are drawn as if here; from 0 to 2, neither included.
        farthest: negatives from here on are not drawn.
        normalize: divide every embedding, and reference row, by its length first; the sampling needs unit rows.
    """

    def __init__(
        self,
        margin: float = 0.2,
        beta: float = 1.2,
        learn_beta: bool = True,
        num_classes: int | None = None,
        nu: float = 0.0,
        cutoff: float = 0.5,
        farthest: float = 1.4,
        normalize: bool = True,
    ) -> None:
        super().__init__(normalize)
        check_sampling(cutoff)
        self.margin = margin
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}: at least 1 is needed")
        shape = () if num_classes is None else (num_classes,)
        self.beta = nn.Parameter(torch.full(shape, float(beta)), requires_grad=learn_beta)
        self.learn_beta = learn_beta
        self.num_classes = num_classes
        self.nu = nu
        self.cutoff = cutoff
        self.farthest = farthest

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        beta: Tensor = self.beta
        if self.num_classes is not None:
            labels = whole_numbers(labels, len(x)).to(beta.device)
            check_classes(labels, self.num_classes, "boundaries")
            beta = beta[labels]
        return margin_loss(
            x, labels, margin=self.margin, beta=beta, nu=self.nu, cutoff=self.cutoff, farthest=self.farthest,
            generator=generator, **batch,
        )  # fmt: skip


class SmoothAPLoss(_PairLoss):
    """Average precision with sigmoids for steps (Brown et al. 2020).

    See :func:`triune.functional.pair_losses.smooth_ap_loss`.

    Args:
        temperature: how wide a step is, above 0.
        normalize: divide every embedding, and reference row, by its length first.
    """

    def __init__(self, temperature: float = 0.01, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(temperature=temperature)
        self.temperature = temperature

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return smooth_ap_loss(x, labels, temperature=self.temperature, **batch)


class FastAPLoss(_PairLoss):
    """Average precision from soft histograms of distances (Cakir et al. 2019).

    See :func:`triune.functional.pair_losses.fast_ap_loss`.

    Args:
        bins: of the histograms, at least 1.
        normalize: divide every embedding, and reference row, by its length first; the histograms need unit rows.
    """

    def __init__(self, bins: int = 10, normalize: bool = True) -> None:
        super().__init__(normalize)
        check_above_zero(bins=bins)
        self.bins = bins

    def _loss(self, x: Embeddings, labels: Labels, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        return fast_ap_loss(x, labels, bins=self.bins, **batch)


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
