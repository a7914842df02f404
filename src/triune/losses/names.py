"""The losses by the names of the command line."""

from __future__ import annotations

from torch import nn

from triune.losses.average_precision import FastAPLoss, SmoothAPLoss
from triune.losses.contrastive import ContrastiveLoss, LiftedStructureLoss, NPairsLoss
from triune.losses.margin import MarginLoss
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
"""Losses of the pairs of a batch, by their names in ``--metric_loss``."""


PROXY_LOSSES: dict[str, type[nn.Module]] = {
    "normalized-softmax": NormalizedSoftmaxLoss,
    "arcface": ArcFaceLoss,
    "cosface": CosFaceLoss,
    "subcenter-arcface": SubCenterArcFaceLoss,
    "proxy-nca": ProxyNCALoss,
    "proxy-anchor": ProxyAnchorLoss,
    "soft-triple": SoftTripleLoss,
}
"""Losses against learnt proxies, by their names in ``--metric_loss``."""
