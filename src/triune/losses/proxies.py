"""Losses against learnt proxies of the classes: softmax with margins, NCA, Proxy-Anchor, SoftTriple.

All take embeddings (N, D) and proxies, which they divide by their length, and classes (N,) from 0 to C − 1. Half
precision is computed in float32, also under autocast. O(N·C) in time and memory. An empty batch costs 0, with a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from triune.distances.embeddings import Embeddings, unit
from triune.losses.class_logits import (
    check_smoothing,
    checked_classes,
    class_entropy,
    cosines,
    log_one_plus_sum,
    softly_assigned,
    with_angular_margin,
)


class ProxyLoss(nn.Module):
    """What every proxy loss has: the learnt proxies, its settings and a readable repr.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        centers: how many proxies each class has, in a dimension of their own; one, without, where not given.
        label_smoothing: of a loss that is a softmax over classes; from 0 to below 1.
        settings: of the loss, by name.
    """

    _loss: Callable[..., Tensor]

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        centers: int | None = None,
        label_smoothing: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__()
        check_smoothing(label_smoothing)
        if num_classes < 1 or embedding_dim < 1 or (centers is not None and centers < 1):
            raise ValueError(
                f"num_classes is {num_classes}, embedding_dim {embedding_dim}, centers {centers}: at least 1 is needed"
            )
        shape = (num_classes, embedding_dim) if centers is None else (num_classes, centers, embedding_dim)
        # Only the direction of a proxy counts; of this length, a step of an optimiser turns it neither far nor little.
        self.proxies = nn.Parameter(nn.functional.normalize(torch.randn(shape), dim=-1))
        self.label_smoothing = label_smoothing
        self.settings = settings

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        softmax = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        return self._loss(embeddings, labels, self.proxies, **softmax, **self.settings)

    def get_logits(self, embeddings: Embeddings) -> Tensor:
        """How much each embedding (N, D) looks like each class, (N, C), without margins; the largest is the class.

        What the loss takes the softmax of: cosines times the scale or over the temperature, of several centres those of
        the nearest or softly assigned ones; minus squared distances over the temperature for ProxyNCA; and plain
        cosines for Proxy-Anchor, which has no softmax.
        """
        return self._logits(cosines(embeddings, self.proxies))

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        shape = " × ".join(map(str, self.proxies.shape))
        settings = self.settings | ({"label_smoothing": self.label_smoothing} if self.label_smoothing else {})
        return ", ".join([f"proxies {shape}", *(f"{name}={value!r}" for name, value in settings.items())])

    def _logits(self, cosine: Tensor) -> Tensor:
        """Logits (N, C) from the cosines of all proxies, of shape (N, C) or (N, C, S)."""
        return cosine


def normalized_softmax_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    temperature: float = 0.05,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of cos(x, w) / τ (Zhai and Wu 2019, eq. 3).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        temperature: τ.
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all (Szegedy et al. 2016).
    """
    cosine = cosines(embeddings, proxies)
    return class_entropy(cosine / temperature, checked_classes(classes, cosine), label_smoothing)


class NormalizedSoftmaxLoss(ProxyLoss):
    """The plain softmax over proxies.

    See :func:`triune.losses.proxies.normalized_softmax_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        temperature: τ, above 0.
        label_smoothing: the share of the target that goes to all classes alike.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, temperature: float = 0.05, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(num_classes, embedding_dim, temperature=temperature, label_smoothing=label_smoothing)

    _loss = staticmethod(normalized_softmax_loss)

    def _logits(self, cosine: Tensor) -> Tensor:
        return cosine / float(self.settings["temperature"])


def arcface_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of s·cos θ, with cos(θ + m) for the item's own class (Deng et al. 2019, eq. 3).

    Beyond θ = π − m, where cos(θ + m) would rise again, it goes on as cos θ − m·sin m, as in the authors' code.

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        margin: m, in radians.
        scale: s.
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all (Szegedy et al. 2016).
    """
    cosine = cosines(embeddings, proxies)
    classes = checked_classes(classes, cosine)
    return class_entropy(scale * with_angular_margin(cosine, classes, margin), classes, label_smoothing)


class ArcFaceLoss(ProxyLoss):
    """A margin in the angle to the own class.

    See :func:`triune.losses.proxies.arcface_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        margin: in radians.
        scale: of the logits.
        label_smoothing: the share of the target that goes to all classes alike.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        margin: float = 0.5,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, scale=scale, label_smoothing=label_smoothing)

    _loss = staticmethod(arcface_loss)

    def _logits(self, cosine: Tensor) -> Tensor:
        return cosine * float(self.settings["scale"])


def cosface_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of s·cos θ, with cos θ − m for the item's own class (Wang et al. 2018, eq. 4).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        margin: m, in cosine.
        scale: s.
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all (Szegedy et al. 2016).
    """
    cosine = cosines(embeddings, proxies)
    classes = checked_classes(classes, cosine)
    logits = scale * (cosine - margin * one_hot(classes, cosine.shape[1]).to(cosine.dtype))
    return class_entropy(logits, classes, label_smoothing)


class CosFaceLoss(ProxyLoss):
    """A margin in the cosine to the own class.

    See :func:`triune.losses.proxies.cosface_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        margin: in cosine.
        scale: of the logits.
        label_smoothing: the share of the target that goes to all classes alike.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        margin: float = 0.35,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, scale=scale, label_smoothing=label_smoothing)

    _loss = staticmethod(cosface_loss)

    def _logits(self, cosine: Tensor) -> Tensor:
        return cosine * float(self.settings["scale"])


def subcenter_arcface_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """ArcFace to the nearest of several centres of each class (Deng et al. 2020, section 3.2).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, S, D), S centres a class.
        margin: in radians.
        scale: of the logits.
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all (Szegedy et al. 2016).
    """
    nearest = cosines(embeddings, proxies).amax(2)
    classes = checked_classes(classes, nearest)
    return class_entropy(scale * with_angular_margin(nearest, classes, margin), classes, label_smoothing)


class SubCenterArcFaceLoss(ProxyLoss):
    """ArcFace to the nearest of several centres of each class.

    See :func:`triune.losses.proxies.subcenter_arcface_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        centers: S, how many each class has.
        margin: in radians.
        scale: of the logits.
        label_smoothing: the share of the target that goes to all classes alike.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        centers: int = 3,
        margin: float = 0.5,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, centers, margin=margin, scale=scale, label_smoothing=label_smoothing
        )

    _loss = staticmethod(subcenter_arcface_loss)

    def _logits(self, cosine: Tensor) -> Tensor:
        return cosine.amax(2) * float(self.settings["scale"])


def proxy_nca_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    temperature: float = 1 / 9,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of −‖x − p‖² / τ on unit vectors: ProxyNCA++ (Teh, DeVries and Taylor 2020, eq. 6).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        temperature: τ.
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all (Szegedy et al. 2016).
    """
    cosine = cosines(embeddings, proxies)
    return class_entropy((2 * cosine - 2) / temperature, checked_classes(classes, cosine), label_smoothing)


class ProxyNCALoss(ProxyLoss):
    """ProxyNCA++: a softmax over squared distances.

    See :func:`triune.losses.proxies.proxy_nca_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        temperature: τ, above 0.
        label_smoothing: the share of the target that goes to all classes alike.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, temperature: float = 1 / 9, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(num_classes, embedding_dim, temperature=temperature, label_smoothing=label_smoothing)

    _loss = staticmethod(proxy_nca_loss)

    def _logits(self, cosine: Tensor) -> Tensor:
        return (2 * cosine - 2) / float(self.settings["temperature"])


def proxy_anchor_loss(
    embeddings: Embeddings, classes: Tensor, proxies: Tensor, *, margin: float = 0.1, alpha: float = 32.0
) -> Tensor:
    """Proxies draw their own items near and push all others away (Kim et al. 2020, eq. 4).

    The mean over the proxies present in the batch of log(1 + Σ exp(−α(s − δ))) over their own items, plus the mean over
    all proxies of log(1 + Σ exp(α(s + δ))) over all other items.

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        margin: δ.
        alpha: α.
    """
    cosine = cosines(embeddings, proxies)
    classes = checked_classes(classes, cosine)
    if not len(cosine):
        return cosine.sum() + proxies.sum() * 0
    own = one_hot(classes, cosine.shape[1]).bool()
    near = log_one_plus_sum(-alpha * (cosine - margin), own)
    far = log_one_plus_sum(alpha * (cosine + margin), ~own)
    present = own.any(0).sum().clamp(min=1)
    return near.sum() / present + far.sum() / cosine.shape[1]


class ProxyAnchorLoss(ProxyLoss):
    """Proxies as anchors, items as positives and negatives.

    See :func:`triune.losses.proxies.proxy_anchor_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        margin: δ.
        alpha: α, the sharpness.
    """

    def __init__(self, num_classes: int, embedding_dim: int, margin: float = 0.1, alpha: float = 32.0) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, alpha=alpha)

    _loss = staticmethod(proxy_anchor_loss)


def soft_triple_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    regularization: float = 0.2,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax over classes of softly assigned centres, which are drawn together (Qian et al. 2019, eqs. 4, 7 and 10).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, S, D), S centres a class.
        scale: λ of the softmax over classes.
        gamma: γ, the temperature of the assignment to centres.
        margin: δ.
        regularization: τ, weight of half the mean distance between two centres of a class: eq. 10 divides the sum over
            S(S − 1)/2 pairs by S(S − 1).
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all (Szegedy et al. 2016).
    """
    count, centers, _ = proxies.shape
    assigned = softly_assigned(cosines(embeddings, proxies), gamma)
    classes = checked_classes(classes, assigned)
    logits = scale * (assigned - margin * one_hot(classes, count).to(assigned.dtype))
    loss = class_entropy(logits, classes, label_smoothing)
    if centers < 2 or not regularization:
        return loss
    w = unit(proxies.float() if proxies.dtype.itemsize < 4 else proxies)
    first, second = torch.triu_indices(centers, centers, offset=1, device=w.device)
    # The root's gradient at coinciding centres is endless: a little under the root, as in the authors' code.
    apart = (2 - 2 * (w[:, first] * w[:, second]).sum(2) + 1e-5).clamp(min=1e-8).sqrt()
    return loss + regularization * apart.mean() / 2 * (1 if len(assigned) else 0)


class SoftTripleLoss(ProxyLoss):
    """Several centres a class, softly assigned.

    See :func:`triune.losses.proxies.soft_triple_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        centers: S, how many each class has.
        scale: λ of the softmax over classes.
        gamma: γ, the temperature of the assignment to centres.
        margin: δ.
        regularization: τ, weight of the mean distance between the centres of a class.
        label_smoothing: the share of the target that goes to all classes alike.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        centers: int = 10,
        scale: float = 20.0,
        gamma: float = 0.1,
        margin: float = 0.01,
        regularization: float = 0.2,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, centers, scale=scale, gamma=gamma, margin=margin,
            regularization=regularization, label_smoothing=label_smoothing,
        )  # fmt: skip

    _loss = staticmethod(soft_triple_loss)

    def _logits(self, cosine: Tensor) -> Tensor:
        return softly_assigned(cosine, self.settings["gamma"]) * float(self.settings["scale"])
