"""Verification and retrieval as torchmetrics Metrics: gather embeddings over an epoch, compute at its end."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from triune.distances.embeddings import Embeddings, as_embeddings
from triune.distances.metric import Metric as Distance, check_metric
from triune.labels import Labels, encode_labels, plain_labels
from triune.retrieval.metrics import retrieval_metrics
from triune.verification.all_pairs import verify_embeddings


class _EpochMetric(Metric):
    """Embeddings and labels of an epoch, of all processes; subclasses say what is computed of them."""

    is_differentiable = False
    full_state_update = False
    embeddings: list[Tensor]
    labels: list[Tensor]

    def __init__(self, metric: Distance, prefix: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_metric(metric)
        self.metric: Distance = metric
        self.prefix = prefix
        self.add_state("embeddings", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Embeddings, labels: Labels) -> None:
        """Keep a batch: embeddings ``(B, D)``, moved to the metric's device, and labels ``(B,)``, whole numbers.

        Raises:
            ValueError: the labels are strings or not B many, or D is not that of the batches before.
        """
        x = as_embeddings(embeddings).detach().to(self.device)
        if not isinstance(labels, Tensor) and plain_labels(labels).dtype.kind == "U":
            raise ValueError(
                "labels are strings: a batch cannot give them numbers that hold for all batches and processes; "
                "number the identities once, before training"
            )
        codes = encode_labels(labels, count=len(x), device=self.device)
        if self.embeddings and self.embeddings[0].shape[1] != x.shape[1]:
            raise ValueError(f"embeddings are {x.shape[1]} wide, but those before were {self.embeddings[0].shape[1]}")
        self.embeddings.append(x)
        self.labels.append(codes)

    def forward(self, embeddings: Embeddings, labels: Labels) -> None:
        """The same as :meth:`update`: the pairs of one batch alone say little, and may not match at all."""
        self.update(embeddings, labels)

    def compute(self) -> dict[str, Tensor]:
        """The figures of everything since the last reset, over all processes, as float32 scalars by name.

        All are NaN, with a warning, where they are not defined: no two items of the same identity, or no two of
        different ones. A loop's short check before training then does not end in an error.

        Raises:
            ValueError: there was no :meth:`update`, or an embedding is not finite (its row is named).
        """
        if len(self.embeddings) == 0:
            raise ValueError(f"{type(self).__name__} has seen no embeddings: call update(embeddings, labels) before")
        x, labels = dim_zero_cat(self.embeddings), dim_zero_cat(self.labels)
        identities = len(torch.unique(labels))
        if identities < len(labels) and self._needs_impostors <= (identities > 1):
            figures = self._figures(x, labels)
        else:
            lack = "of the same identity" if identities == len(labels) else "of different identities"
            warnings.warn(f"{type(self).__name__}: no two of {len(labels)} items are {lack}: all is NaN", stacklevel=2)
            figures = dict.fromkeys(self._names(), float("nan"))
        return {
            f"{self.prefix}{name}": torch.tensor(value, dtype=torch.float32, device=self.device)
            for name, value in figures.items()
        }

    @property
    def _sharing(self) -> ProcessGroup | None:
        """The processes whose items are gathered here, to share the pairs; ``None`` where these are its own alone."""
        if not self._is_synced or not dist.is_initialized():
            return None
        group: ProcessGroup | None = self.process_group or dist.group.WORLD
        return group

    @property
    @abstractmethod
    def _needs_impostors(self) -> bool:
        """Whether pairs of different identities are needed, too."""

    @abstractmethod
    def _names(self) -> list[str]:
        """What the figures are called."""

    @abstractmethod
    def _figures(self, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
        """The figures by name."""


class VerificationMetric(_EpochMetric):
    """``auc``, ``eer`` and ``tpr_at_fpr_X`` over all pairs of an epoch's embeddings, and those of all processes.

    The figures are those of :func:`~triune.verification.all_pairs.verify_embeddings`. In a Lightning loop, call
    ``metric.update(embeddings, labels)`` in ``validation_step``, and at the end of the epoch
    ``self.log_dict(metric.compute())`` and ``metric.reset()``. Over several processes each must have been given a
    batch; they share the pairs of all. Padding by a sampler repeats items, and a repeated item matches itself: let the
    sampler drop or not pad.

    >>> metric = VerificationMetric(fprs=(0.05,), prefix="val_")
    >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), [0, 0, 1])
    >>> metric.compute()
    {'val_auc': tensor(1.), 'val_eer': tensor(0.), 'val_tpr_at_fpr_0.05': tensor(1.)}

    Memory: N·(4·D + 8) bytes on the metric's device, and in each process those of all; ``compute_on_cpu=True`` keeps
    them in the host's memory.

    Args:
        metric: ``"cosine"``, ``"euclidean"`` or ``"squared_euclidean"``.
        fprs: false-positive budgets.
        prefix: put before every name.
        **kwargs: those of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: the metric is unknown, or a budget is not from 0 to 1.
    """

    def __init__(
        self, metric: Distance = "cosine", fprs: Sequence[float] = (0.05,), prefix: str = "", **kwargs: Any
    ) -> None:
        super().__init__(metric, prefix, **kwargs)
        wrong = [fpr for fpr in fprs if not 0 <= fpr <= 1]
        if wrong:
            raise ValueError(f"fprs holds {wrong[0]}: rates from 0 to 1 are needed")
        self.fprs = tuple(fprs)

    @property
    def _needs_impostors(self) -> bool:
        return True

    def _names(self) -> list[str]:
        return ["auc", "eer", *(f"tpr_at_fpr_{fpr:g}" for fpr in self.fprs)]

    def _figures(self, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
        v = verify_embeddings(embeddings, labels, metric=self.metric, fprs=self.fprs, divide_over=self._sharing)
        return dict(zip(self._names(), [v.auc, v.eer, *(v.tpr_at_fpr(fpr) for fpr in self.fprs)], strict=True))


class RetrievalMetric(_EpochMetric):
    """``recall_at_K``, ``precision_at_K``, ``r_precision``, ``map_at_r`` and ``mrr``, each item a query for the others.

    The figures are those of :func:`~triune.retrieval.metrics.retrieval_metrics`; use, memory and the rest as
    :class:`VerificationMetric`.

    >>> metric = RetrievalMetric(ks=(1,))
    >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), [0, 0, 1])
    >>> metric.compute()["recall_at_1"]
    tensor(1.)

    Args:
        ks: the ranks K.
        metric: ``"cosine"``, ``"euclidean"`` or ``"squared_euclidean"``.
        prefix: put before every name.
        **kwargs: those of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: the metric is unknown, or a rank is below 1.
    """

    higher_is_better = True

    def __init__(
        self, ks: Sequence[int] = (1, 5, 10), metric: Distance = "cosine", prefix: str = "", **kwargs: Any
    ) -> None:
        super().__init__(metric, prefix, **kwargs)
        if not ks or any(k < 1 for k in ks):
            raise ValueError(f"ks is {tuple(ks)}: ranks start at 1, and one is needed")
        self.ks = tuple(ks)

    @property
    def _needs_impostors(self) -> bool:
        return False

    def _names(self) -> list[str]:
        at = [f"{kind}_at_{k}" for kind in ("recall", "precision") for k in self.ks]
        return [*at, "r_precision", "map_at_r", "mrr"]

    def _figures(self, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
        r = retrieval_metrics(embeddings, labels, ks=self.ks, metric=self.metric, divide_over=self._sharing)
        at = [*(r.recall_at[k] for k in self.ks), *(r.precision_at[k] for k in self.ks)]
        return dict(zip(self._names(), [*at, r.r_precision, r.map_at_r, r.mrr], strict=True))
