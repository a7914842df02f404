"""The losses by the names of the command line, and a criterion made by name."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from triune.errors import InputError
from triune.losses.average_precision import FastAPLoss, SmoothAPLoss
from triune.losses.contrastive import ContrastiveLoss, LiftedStructureLoss, NPairsLoss
from triune.losses.joined import DistributedTripletLoss, JoinedLoss
from triune.losses.margin import MarginLoss
from triune.losses.memory import CrossBatchMemory
from triune.losses.proxies import (
    ArcFaceLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    ProxyAnchorLoss,
    ProxyNCALoss,
    SoftTripleLoss,
    SubCenterArcFaceLoss,
)
from triune.losses.softmax import NTXentLoss, SupConLoss
from triune.losses.weighted import CircleLoss, MultiSimilarityLoss

TRIPLET = "triplet"
"""The name of the triplet loss."""

N_PAIRS = "n-pairs"
"""The name of the one pair loss that takes no reference set."""

PAIR_LOSSES: dict[str, type[nn.Module]] = {
    "contrastive": ContrastiveLoss,
    "lifted-structure": LiftedStructureLoss,
    N_PAIRS: NPairsLoss,
    "multi-similarity": MultiSimilarityLoss,
    "nt-xent": NTXentLoss,
    "sup-con": SupConLoss,
    "circle": CircleLoss,
    "margin": MarginLoss,
    "smooth-ap": SmoothAPLoss,
    "fast-ap": FastAPLoss,
}
"""Losses of the pairs of a batch, by name."""

PROXY_LOSSES: dict[str, type[nn.Module]] = {
    "normalized-softmax": NormalizedSoftmaxLoss,
    "arcface": ArcFaceLoss,
    "cosface": CosFaceLoss,
    "subcenter-arcface": SubCenterArcFaceLoss,
    "proxy-nca": ProxyNCALoss,
    "proxy-anchor": ProxyAnchorLoss,
    "soft-triple": SoftTripleLoss,
}
"""Losses against learnt proxies of the classes, by name."""

PEER = "pml:"
"""What the name of a class of pytorch-metric-learning begins with."""


def make_criterion(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    num_classes: int,
    embedding_dim: int,
    memory: int = 0,
    memory_start: int = 0,
) -> nn.Module:
    """The loss of a name, called as ``criterion(embeddings, labels)``; over several processes, of the joined batch.

    >>> make_criterion("sup-con", {"temperature": 0.2}, num_classes=10, embedding_dim=64)
    JoinedLoss(
      (criterion): SupConLoss(normalize=True, temperature=0.2)
    )

    Args:
        name: ``"triplet"``, a name of :data:`PAIR_LOSSES` or :data:`PROXY_LOSSES`, or ``"pml:CLASS"`` for any loss of
            pytorch-metric-learning.
        options: settings of that loss, by the names of its class; ``num_classes="auto"`` of the margin loss gives it a
            boundary for each class.
        num_classes: how many classes training has; proxy losses keep a proxy for each.
        embedding_dim: the length of an embedding.
        memory: how many embeddings of earlier batches triplets and pairs are also taken from; 0 keeps to the batch.
        memory_start: the first step that uses the memory.

    Raises:
        InputError: the name or an option is not known, or pytorch-metric-learning is not installed.
    """
    options = dict(options or {})
    if options.get("reduction") == "none":
        raise InputError(f"metric_loss {name}: reduction 'none' gives no single number to minimise: leave it out")
    if memory and (name not in (TRIPLET, *PAIR_LOSSES) or name == N_PAIRS):
        raise InputError(
            f"a memory of earlier batches is for the triplet loss and pair losses with a reference set, not {name}"
        )
    if name == TRIPLET or name in PAIR_LOSSES:
        if options.get("num_classes") == "auto":
            options["num_classes"] = num_classes
        if name == TRIPLET:
            criterion = _made(DistributedTripletLoss, name, options)
        else:
            criterion = JoinedLoss(_made(PAIR_LOSSES[name], name, options))
        if memory == 0:
            return criterion
        ring = {"size": memory, "embedding_dim": embedding_dim, "start": memory_start}
        return _made(CrossBatchMemory, name, {"criterion": criterion, **ring})
    if name in PROXY_LOSSES:
        return _made(PROXY_LOSSES[name], name, options, num_classes=num_classes, embedding_dim=embedding_dim)
    if name.startswith(PEER):
        return _peer_loss(name.removeprefix(PEER), options, num_classes, embedding_dim)
    known = [TRIPLET, *PAIR_LOSSES, *PROXY_LOSSES, f"{PEER}CLASS"]
    raise InputError(f"there is no metric_loss {name!r}; known are {', '.join(known)}")


def _peer_loss(name: str, options: Mapping[str, Any], num_classes: int, embedding_dim: int) -> nn.Module:
    """A loss of pytorch-metric-learning with the sizes it asks for, which is seen to take embeddings and labels."""
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise InputError(f"{PEER}{name} needs pytorch-metric-learning: pip install 'triune[compare]'") from error
    kind = getattr(losses, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        raise InputError(f"pytorch-metric-learning has no loss {name!r}; its names are like TripletMarginLoss")
    sizes = {"num_classes": num_classes, "embedding_size": embedding_dim, "descriptors_dim": embedding_dim}
    wanted = {size: value for size, value in sizes.items() if size in _option_names(kind)}
    criterion = _made(kind, f"{PEER}{name}", options, **wanted)
    _try(criterion, f"{PEER}{name}", min(num_classes, 2), embedding_dim)
    return criterion


def _try(criterion: nn.Module, name: str, classes: int, embedding_dim: int) -> None:
    """Let a copy of a foreign loss see eight embeddings: its own code looks at no option before it needs it.

    Raises:
        InputError: it raises something, or answers with something else than one number.
    """
    embeddings = torch.randn(8, embedding_dim, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % classes
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            loss = copy.deepcopy(criterion)(embeddings, labels)
        except Exception as error:  # whatever its code trips over
            said = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"metric_loss {name} cannot be computed of embeddings and labels: {said}") from error
    if not (isinstance(loss, torch.Tensor) and loss.numel() == 1):
        raise InputError(f"metric_loss {name} gives no single number to minimise: choose another reducer")


def _made(kind: type[nn.Module], name: str, options: Mapping[str, Any], **filled: Any) -> nn.Module:
    """A module of a class; a wrong option is answered with those that the class takes.

    Args:
        kind: the class.
        name: of the loss, for messages.
        options: its settings by name.
        filled: settings that follow from the data, which ``options`` must leave out.

    Raises:
        InputError: an option is not known, cannot be, or is filled in.
    """
    twice = next((each for each in options if each in filled), None)
    if twice is not None:
        raise InputError(f"metric_loss {name}: {twice} is filled in ({filled[twice]}): leave it out of its options")
    try:
        return kind(**filled, **options)
    except (TypeError, ValueError) as error:
        known = ", ".join(each for each in _option_names(kind) if each not in filled)
        raise InputError(f"metric_loss {name}: {_wrong(error)}; its options are {known}") from error


def _wrong(error: Exception) -> str:
    """What is wrong with options, in words of those who gave them: Python speaks of arguments and operands."""
    said = str(error)
    unknown = re.search(r"unexpected keyword argument ('\w+')", said)
    missing = re.search(r"missing \d+ required .*arguments?: (.+)", said)
    if unknown is not None:
        return f"there is no option {unknown[1]}"
    if missing is not None:
        return f"it needs {missing[1]}"
    return f"an option is of another kind ({said})" if isinstance(error, TypeError) else said


def _option_names(kind: type) -> list[str]:
    """Names that a class takes when it is made, and those that it passes on to its parents through ``**``."""
    names: list[str] = []
    for cls in inspect.getmro(kind):
        if "__init__" not in vars(cls):
            continue
        _, *parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(names))
