"""Triune: deep metric learning. The public names, each imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from triune._version import __version__

if TYPE_CHECKING:
    from triune.cached_gradients import grad_cache
    from triune.data.batches import ClassBalancedBatchSampler
    from triune.distributed import DistributedTripletLoss, JoinedLoss
    from triune.errors import InputError
    from triune.functional.clustering import clustering_quality
    from triune.functional.conditions import rates_by_condition
    from triune.functional.distances import check_finite, paired_distance, pairwise_distance
    from triune.functional.episodes import few_shot
    from triune.functional.intervals import bootstrap_verification, compare_verification
    from triune.functional.losses import TripletOutcome, triplet_loss, triplet_margin_loss
    from triune.functional.margins import diagnose, suggest_margin
    from triune.functional.neighbours import RetrievalMetrics, retrieval_metrics, retrieval_per_query, top_k
    from triune.functional.pairs import verify_embeddings
    from triune.functional.roc import Confusion, Verification, verify_scores
    from triune.functional.thresholds import Threshold, fit_threshold
    from triune.functional.triplets import Triplets, mine_triplets
    from triune.losses import TripletLoss
    from triune.memory import CrossBatchMemory
    from triune.miners import TripletMiner
    from triune.model.network import MultiTaskModel, Prediction
    from triune.model.objective import LossTerms, MultiTaskObjective, Targets

_HOMES = {
    "ClassBalancedBatchSampler": "triune.data.batches",
    "Confusion": "triune.functional.roc",
    "CrossBatchMemory": "triune.memory",
    "DistributedTripletLoss": "triune.distributed",
    "JoinedLoss": "triune.distributed",
    "InputError": "triune.errors",
    "LossTerms": "triune.model.objective",
    "MultiTaskModel": "triune.model.network",
    "MultiTaskObjective": "triune.model.objective",
    "Prediction": "triune.model.network",
    "RetrievalMetrics": "triune.functional.neighbours",
    "Targets": "triune.model.objective",
    "Threshold": "triune.functional.thresholds",
    "TripletLoss": "triune.losses",
    "TripletMiner": "triune.miners",
    "TripletOutcome": "triune.functional.losses",
    "Triplets": "triune.functional.triplets",
    "Verification": "triune.functional.roc",
    "bootstrap_verification": "triune.functional.intervals",
    "check_finite": "triune.functional.distances",
    "clustering_quality": "triune.functional.clustering",
    "compare_verification": "triune.functional.intervals",
    "diagnose": "triune.functional.margins",
    "few_shot": "triune.functional.episodes",
    "fit_threshold": "triune.functional.thresholds",
    "grad_cache": "triune.cached_gradients",
    "mine_triplets": "triune.functional.triplets",
    "paired_distance": "triune.functional.distances",
    "pairwise_distance": "triune.functional.distances",
    "rates_by_condition": "triune.functional.conditions",
    "retrieval_metrics": "triune.functional.neighbours",
    "retrieval_per_query": "triune.functional.neighbours",
    "suggest_margin": "triune.functional.margins",
    "top_k": "triune.functional.neighbours",
    "triplet_loss": "triune.functional.losses",
    "triplet_margin_loss": "triune.functional.losses",
    "verify_embeddings": "triune.functional.pairs",
    "verify_scores": "triune.functional.roc",
}

__all__ = [
    "ClassBalancedBatchSampler",
    "Confusion",
    "CrossBatchMemory",
    "DistributedTripletLoss",
    "JoinedLoss",
    "InputError",
    "LossTerms",
    "MultiTaskModel",
    "MultiTaskObjective",
    "Prediction",
    "RetrievalMetrics",
    "Targets",
    "Threshold",
    "TripletLoss",
    "TripletMiner",
    "TripletOutcome",
    "Triplets",
    "Verification",
    "__version__",
    "bootstrap_verification",
    "check_finite",
    "clustering_quality",
    "compare_verification",
    "diagnose",
    "few_shot",
    "fit_threshold",
    "grad_cache",
    "mine_triplets",
    "paired_distance",
    "pairwise_distance",
    "rates_by_condition",
    "retrieval_metrics",
    "retrieval_per_query",
    "suggest_margin",
    "top_k",
    "triplet_loss",
    "triplet_margin_loss",
    "verify_embeddings",
    "verify_scores",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'triune' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
