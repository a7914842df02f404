"""Losses against learnt proxies of the classes: softmax with margins, NCA, Proxy-Anchor, SoftTriple.

All take embeddings (N, D) and proxies, which they divide by their length, and classes (N,) from 0 to C − 1. Half
precision is computed in float32, also under autocast. O(N·C) in time and memory. An empty batch costs 0, with a graph.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, softplus

from triune.arrays import as_tensor
from triune.distances.embeddings import Embeddings, as_embeddings, unit


class ProxyLoss(nn.Module):
    """What every proxy loss has: the learnt proxies, its settings and a readable repr.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        centers: how many proxies each class has, in a dimension of their own; one, without, where not given.
        settings: of the loss, by name.
    """

    def __init__(self, num_classes: int, embedding_dim: int, centers: int | None = None, **settings: Any) -> None:
        super().__init__()
        if num_classes < 1 or embedding_dim < 1 or (centers is not None and centers < 1):
            raise ValueError(
                f"num_classes is {num_classes}, embedding_dim {embedding_dim}, centers {centers}: at least 1 is needed"
            )
        shape = (num_classes, embedding_dim) if centers is None else (num_classes, centers, embedding_dim)
        # Only the direction of a proxy counts; of this length, a step of an optimiser turns it neither far nor little.
        self.proxies = nn.Parameter(nn.functional.normalize(torch.randn(shape), dim=-1))
        self.settings = settings

    def extra_repr(self) -> str:
        """The settings, for ``repr``."""
        shape = " × ".join(map(str, self.proxies.shape))
        return ", ".join([f"proxies {shape}", *(f"{name}={value!r}" for name, value in self.settings.items())])


def normalized_softmax_loss(
    embeddings: Embeddings, classes: Tensor, proxies: Tensor, *, temperature: float = 0.05
) -> Tensor:
    """Cross-entropy of cos(x, w) / τ (Zhai and Wu 2019, eq. 3).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        temperature: τ.
    """
    cosine, classes = _cosines(embeddings, classes, proxies)
    return _cross_entropy(cosine / temperature, classes)


class NormalizedSoftmaxLoss(ProxyLoss):
    """The plain softmax over proxies.

    See :func:`triune.losses.proxies.normalized_softmax_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        temperature: τ, above 0.
    """

    def __init__(self, num_classes: int, embedding_dim: int, temperature: float = 0.05) -> None:
        super().__init__(num_classes, embedding_dim, temperature=temperature)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return normalized_softmax_loss(embeddings, labels, self.proxies, **self.settings)


def arcface_loss(
    embeddings: Embeddings, classes: Tensor, proxies: Tensor, *, margin: float = 0.5, scale: float = 64.0
) -> Tensor:
    """Cross-entropy of s·cos θ, with cos(θ + m) for the item's own class (Deng et al. 2019, eq. 3).

    Beyond θ = π − m, where cos(θ + m) would rise again, it goes on as cos θ − m·sin m, as in the authors' code.

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        margin: m, in radians.
        scale: s.
    """
    cosine, classes = _cosines(embeddings, classes, proxies)
    return _cross_entropy(scale * _with_angular_margin(cosine, classes, margin), classes)


class ArcFaceLoss(ProxyLoss):
    """A margin in the angle to the own class.

    See :func:`triune.losses.proxies.arcface_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        margin: in radians.
        scale: of the logits.
    """

    def __init__(self, num_classes: int, embedding_dim: int, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, scale=scale)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return arcface_loss(embeddings, labels, self.proxies, **self.settings)


def cosface_loss(
    embeddings: Embeddings, classes: Tensor, proxies: Tensor, *, margin: float = 0.35, scale: float = 64.0
) -> Tensor:
    """Cross-entropy of s·cos θ, with cos θ − m for the item's own class (Wang et al. 2018, eq. 4).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        margin: m, in cosine.
        scale: s.
    """
    cosine, classes = _cosines(embeddings, classes, proxies)
    return _cross_entropy(scale * (cosine - margin * one_hot(classes, cosine.shape[1]).to(cosine.dtype)), classes)


class CosFaceLoss(ProxyLoss):
    """A margin in the cosine to the own class.

    See :func:`triune.losses.proxies.cosface_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        margin: in cosine.
        scale: of the logits.
    """

    def __init__(self, num_classes: int, embedding_dim: int, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, scale=scale)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return cosface_loss(embeddings, labels, self.proxies, **self.settings)


def subcenter_arcface_loss(
    embeddings: Embeddings, classes: Tensor, proxies: Tensor, *, margin: float = 0.5, scale: float = 64.0
) -> Tensor:
    """ArcFace to the nearest of several centres of each class (Deng et al. 2020, section 3.2).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, S, D), S centres a class.
        margin: in radians.
        scale: of the logits.
    """
    count, centers, width = proxies.shape
    cosine, classes = _cosines(embeddings, classes, proxies.reshape(count * centers, width), count)
    nearest = cosine.view(-1, count, centers).amax(2)
    return _cross_entropy(scale * _with_angular_margin(nearest, classes, margin), classes)


class SubCenterArcFaceLoss(ProxyLoss):
    """ArcFace to the nearest of several centres of each class.

    See :func:`triune.losses.proxies.subcenter_arcface_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        centers: S, how many each class has.
        margin: in radians.
        scale: of the logits.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, centers: int = 3, margin: float = 0.5, scale: float = 64.0
    ) -> None:
        super().__init__(num_classes, embedding_dim, centers, margin=margin, scale=scale)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return subcenter_arcface_loss(embeddings, labels, self.proxies, **self.settings)


def proxy_nca_loss(embeddings: Embeddings, classes: Tensor, proxies: Tensor, *, temperature: float = 1 / 9) -> Tensor:
    """Cross-entropy of −‖x − p‖² / τ on unit vectors: ProxyNCA++ (Teh, DeVries and Taylor 2020, eq. 6).

    Args:
        embeddings: shape (N, D).
        classes: (N,) int64 from 0 to C − 1.
        proxies: shape (C, D).
        temperature: τ.
    """
    cosine, classes = _cosines(embeddings, classes, proxies)
    return _cross_entropy((2 * cosine - 2) / temperature, classes)


class ProxyNCALoss(ProxyLoss):
    """ProxyNCA++: a softmax over squared distances.

    See :func:`triune.losses.proxies.proxy_nca_loss`.

    Args:
        num_classes: C, how many classes have a proxy.
        embedding_dim: D, the length of an embedding.
        temperature: τ, above 0.
    """

    def __init__(self, num_classes: int, embedding_dim: int, temperature: float = 1 / 9) -> None:
        super().__init__(num_classes, embedding_dim, temperature=temperature)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return proxy_nca_loss(embeddings, labels, self.proxies, **self.settings)


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
    cosine, classes = _cosines(embeddings, classes, proxies)
    if not len(cosine):
        return cosine.sum() + proxies.sum() * 0
    own = one_hot(classes, cosine.shape[1]).bool()
    near = _log_one_plus_sum(-alpha * (cosine - margin), own)
    far = _log_one_plus_sum(alpha * (cosine + margin), ~own)
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

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return proxy_anchor_loss(embeddings, labels, self.proxies, **self.settings)


def soft_triple_loss(
    embeddings: Embeddings,
    classes: Tensor,
    proxies: Tensor,
    *,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    regularization: float = 0.2,
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
    """
    count, centers, width = proxies.shape
    flat = proxies.reshape(count * centers, width)
    cosine, classes = _cosines(embeddings, classes, flat, count)
    by_class = cosine.view(-1, count, centers)
    assigned = (by_class * (by_class / gamma).softmax(2)).sum(2)
    loss = _cross_entropy(scale * (assigned - margin * one_hot(classes, count).to(cosine.dtype)), classes)
    if centers < 2 or not regularization:
        return loss
    w = unit(proxies.float() if proxies.dtype.itemsize < 4 else proxies)
    first, second = torch.triu_indices(centers, centers, offset=1, device=w.device)
    # The root's gradient at coinciding centres is endless: a little under the root, as in the authors' code.
    apart = (2 - 2 * (w[:, first] * w[:, second]).sum(2) + 1e-5).clamp(min=1e-8).sqrt()
    return loss + regularization * apart.mean() / 2 * (1 if len(cosine) else 0)


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
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, centers, scale=scale, gamma=gamma, margin=margin, regularization=regularization
        )

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings (N, D) with N classes."""
        return soft_triple_loss(embeddings, labels, self.proxies, **self.settings)


def check_classes(classes: Tensor, count: int, what: str = "proxies") -> None:
    """Raise ValueError unless all classes (N,) are from 0 to count − 1.

    Looked at on the CPU only: a GPU would have to be waited for, and reports a wrong index by itself, as compiled
    code does.

    Args:
        classes: whole numbers.
        count: how many classes there are.
        what: how the error calls what there is one of for each class.
    """
    if classes.device.type != "cpu" or torch.compiler.is_compiling() or not len(classes):
        return
    first, last = int(classes.min()), int(classes.max())
    if not 0 <= first <= last < count:
        raise ValueError(
            f"classes run from {first} to {last} but {what} from 0 to {count - 1}: "
            f"number the training classes from 0, and give the loss num_classes"
        )


def _cosines(
    embeddings: Embeddings, classes: Tensor, proxies: Tensor, count: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines of all items and proxies (N, P), and the classes, checked."""
    x = as_embeddings(embeddings)
    w = as_embeddings(proxies, "proxies")
    classes = as_tensor(classes, "classes").to(x.device)
    if classes.dtype.is_floating_point or classes.ndim != 1 or len(classes) != len(x):
        raise ValueError(
            f"classes has dtype {classes.dtype} and shape {tuple(classes.shape)}: "
            f"one whole number for each of {len(x)} embeddings is needed"
        )
    if x.shape[1] != w.shape[1]:
        raise ValueError(f"embeddings have {x.shape[1]} dimensions but the proxies {w.shape[1]}")
    check_classes(classes, len(w) if count is None else count)
    dtype = torch.promote_types(x.dtype, w.dtype)
    # Autocast would round the cosines to half precision, which the scale of the logits enlarges.
    with torch.autocast(x.device.type, enabled=False):
        return unit(x.to(dtype)) @ unit(w.to(dtype)).T, classes.long()


def _with_angular_margin(cosine: Tensor, classes: Tensor, margin: float) -> Tensor:
    """Cosines (N, C) in which the own class's cos θ is replaced by cos(θ + margin), falling all the way to θ = π."""
    own = cosine.gather(1, classes[:, None])
    # sin θ has an endless slope at θ = 0 and π; there the clamp passes none.
    sine = (1 - own.square()).clamp(min=1e-12).sqrt()
    shifted = own * math.cos(margin) - sine * math.sin(margin)
    beyond = own - margin * math.sin(margin)
    replaced = torch.where(own > math.cos(math.pi - margin), shifted, beyond)
    return cosine.scatter(1, classes[:, None], replaced)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy; 0 with a graph for an empty batch."""
    return cross_entropy(logits, classes) if len(logits) else logits.sum()


def _log_one_plus_sum(values: Tensor, kept: Tensor) -> Tensor:
    """log(1 + Σ exp) over the kept entries of each column."""
    kept_any = kept.any(0)
    masked = values.where(kept, -torch.inf).where(kept_any[None, :], 0.0)
    return softplus(masked.logsumexp(0)).where(kept_any, 0.0)
