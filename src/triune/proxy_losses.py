"""Proxy losses as modules that hold their proxies and settings; the mathematics is in functional/proxy_losses.py.

Each is called ``criterion(embeddings, labels)`` with labels from 0 to num_classes − 1; its proxies are parameters to
be trained along with the network, usually at a higher learning rate.
"""

from typing import Any

import torch
from torch import Tensor, nn

from triune.functional import proxy_losses as functional
from triune.functional.distances import Embeddings


class _ProxyLoss(nn.Module):
    """Proxies, settings and a readable repr."""

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


class NormalizedSoftmaxLoss(_ProxyLoss):
    """See :func:`triune.functional.proxy_losses.normalized_softmax_loss`."""

    def __init__(self, num_classes: int, embedding_dim: int, temperature: float = 0.05) -> None:
        super().__init__(num_classes, embedding_dim, temperature=temperature)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.normalized_softmax_loss(embeddings, labels, self.proxies, **self.settings)


class ArcFaceLoss(_ProxyLoss):
    """See :func:`triune.functional.proxy_losses.arcface_loss`; the margin is in radians."""

    def __init__(self, num_classes: int, embedding_dim: int, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, scale=scale)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.arcface_loss(embeddings, labels, self.proxies, **self.settings)


class CosFaceLoss(_ProxyLoss):
    """See :func:`triune.functional.proxy_losses.cosface_loss`."""

    def __init__(self, num_classes: int, embedding_dim: int, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, scale=scale)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.cosface_loss(embeddings, labels, self.proxies, **self.settings)


class SubCenterArcFaceLoss(_ProxyLoss):
    """See :func:`triune.functional.proxy_losses.subcenter_arcface_loss`."""

    def __init__(
        self, num_classes: int, embedding_dim: int, centers: int = 3, margin: float = 0.5, scale: float = 64.0
    ) -> None:
        super().__init__(num_classes, embedding_dim, centers, margin=margin, scale=scale)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.subcenter_arcface_loss(embeddings, labels, self.proxies, **self.settings)


class ProxyNCALoss(_ProxyLoss):
    """ProxyNCA++, see :func:`triune.functional.proxy_losses.proxy_nca_loss`."""

    def __init__(self, num_classes: int, embedding_dim: int, temperature: float = 1 / 9) -> None:
        super().__init__(num_classes, embedding_dim, temperature=temperature)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.proxy_nca_loss(embeddings, labels, self.proxies, **self.settings)


class ProxyAnchorLoss(_ProxyLoss):
    """See :func:`triune.functional.proxy_losses.proxy_anchor_loss`."""

    def __init__(self, num_classes: int, embedding_dim: int, margin: float = 0.1, alpha: float = 32.0) -> None:
        super().__init__(num_classes, embedding_dim, margin=margin, alpha=alpha)

    def forward(self, embeddings: Embeddings, labels: Tensor) -> Tensor:
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.proxy_anchor_loss(embeddings, labels, self.proxies, **self.settings)


class SoftTripleLoss(_ProxyLoss):
    """See :func:`triune.functional.proxy_losses.soft_triple_loss`."""

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
        """The scalar loss of embeddings ``(N, D)`` with N classes."""
        return functional.soft_triple_loss(embeddings, labels, self.proxies, **self.settings)


PROXY_LOSSES: dict[str, type[nn.Module]] = {
    "normalized-softmax": NormalizedSoftmaxLoss,
    "arcface": ArcFaceLoss,
    "cosface": CosFaceLoss,
    "subcenter-arcface": SubCenterArcFaceLoss,
    "proxy-nca": ProxyNCALoss,
    "proxy-anchor": ProxyAnchorLoss,
    "soft-triple": SoftTripleLoss,
}
"""The losses by the names of ``--metric_loss``."""
