"""From embeddings and proxies to logits, and from logits to a loss: what the proxy losses share."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from triune.arrays import as_tensor
from triune.distances.embeddings import Embeddings, as_embeddings, unit


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


def cosines(embeddings: Embeddings, proxies: Tensor) -> Tensor:
    """Cosines of all items and proxies: (N, C), or (N, C, S) of S centres a class."""
    x = as_embeddings(embeddings)
    w = as_embeddings(proxies.flatten(0, -2), "proxies")
    if x.shape[1] != w.shape[1]:
        raise ValueError(f"embeddings have {x.shape[1]} dimensions but the proxies {w.shape[1]}")
    dtype = torch.promote_types(x.dtype, w.dtype)
    # Autocast would round the cosines to half precision, which the scale of the logits enlarges.
    with torch.autocast(x.device.type, enabled=False):
        return (unit(x.to(dtype)) @ unit(w.to(dtype)).T).reshape(len(x), *proxies.shape[:-1])


def checked_classes(classes: Tensor, cosine: Tensor) -> Tensor:
    """Classes (N,) as int64 on the device of the cosines (N, C, …), one for each row and none beyond C."""
    classes = as_tensor(classes, "classes").to(cosine.device)
    if classes.dtype.is_floating_point or classes.ndim != 1 or len(classes) != len(cosine):
        raise ValueError(
            f"classes has dtype {classes.dtype} and shape {tuple(classes.shape)}: "
            f"one whole number for each of {len(cosine)} embeddings is needed"
        )
    check_classes(classes, cosine.shape[1])
    return classes.long()


def with_angular_margin(cosine: Tensor, classes: Tensor, margin: float) -> Tensor:
    """Cosines (N, C) in which the own class's cos θ is replaced by cos(θ + margin), falling all the way to θ = π.

    Args:
        cosine: (N, C).
        classes: (N,) int64.
        margin: in radians.
    """
    own = cosine.gather(1, classes[:, None])
    # sin θ has an endless slope at θ = 0 and π; there the clamp passes none.
    sine = (1 - own.square()).clamp(min=1e-12).sqrt()
    shifted = own * math.cos(margin) - sine * math.sin(margin)
    beyond = own - margin * math.sin(margin)
    replaced = torch.where(own > math.cos(math.pi - margin), shifted, beyond)
    return cosine.scatter(1, classes[:, None], replaced)


def softly_assigned(cosine: Tensor, gamma: float) -> Tensor:
    """The likeness to each class (N, C): the mean over its centres (N, C, S), weighted by their softmax."""
    return (cosine * (cosine / gamma).softmax(2)).sum(2)


def class_entropy(logits: Tensor, classes: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy; 0 with a graph for an empty batch.

    Args:
        logits: (N, C).
        classes: (N,) int64.
        label_smoothing: ε; the target is 1 − ε for the own class and ε shared out among all.
    """
    check_smoothing(label_smoothing)
    return cross_entropy(logits, classes, label_smoothing=label_smoothing) if len(logits) else logits.sum()


def log_one_plus_sum(values: Tensor, kept: Tensor) -> Tensor:
    """log(1 + Σ exp) over the kept entries of each column."""
    kept_any = kept.any(0)
    masked = values.where(kept, -torch.inf).where(kept_any[None, :], 0.0)
    return softplus(masked.logsumexp(0)).where(kept_any, 0.0)


def check_smoothing(label_smoothing: float) -> None:
    """Raise ValueError unless the share of the target that goes to all classes is one."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; give a share from 0 to below 1")
