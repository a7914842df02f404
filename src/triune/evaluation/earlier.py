"""``metrics.json`` as the first runs of version 0.1.0 wrote it, brought into the form of today."""

from typing import Any

Plain = dict[str, Any]

FITTED_ON = {"val": "validation pairs"}
CALLED = {"pixels": "raw pixels", "untrained": "untrained backbone", "pretrained": "pretrained backbone"}


def migrated(stored: Any) -> Any:
    """What format 1 held, as format 2; anything else as it is.

    Raises:
        KeyError, TypeError, AttributeError: it looks like format 1, but parts are missing.
    """
    if not isinstance(stored, dict) or "format" in stored or "verification" not in stored:
        return stored
    verification, retrieval = stored["verification"], stored["retrieval"]
    other = (stored.get("comparison") or {}).get("against")
    rankings = {name: retrieval[name] for name in ("expanded", "re-ranked") if name in retrieval}
    models = [
        {
            "name": "this model" if name == "trained" else CALLED.get(name, name),
            "role": "model" if name == "trained" else name if name in CALLED and name != other else "against",
            "verification": {split: _verification(found) for split, found in splits.items()},
            "retrieval": retrieval.get(name),
            "rankings": rankings if name == "trained" else {},
        }
        for name, splits in sorted(verification.items(), key=lambda each: each[0] != "trained")
    ]
    uncertainty = _uncertainty(verification)
    return {
        "format": 2,
        **{name: stored[name] for name in ("triune", "name", "created", "metric")},
        "data": stored["data"],
        "models": models,
        "threshold": _threshold(stored["operating_point"]),
        "comparison": _comparison(stored.get("comparison"), uncertainty),
        "conditions": [_conditions(each, stored["metric"], uncertainty) for each in stored.get("conditions") or []],
        "folds": stored.get("folds"),
        "classification": stored["classification"],
        "segmentation": _masks(stored["segmentation"]),
        "training": stored["training"],
    }


def _verification(found: Plain) -> Plain:
    if "unavailable" in found:
        return found
    ends = found.get("interval") or {}

    def interval(name: str) -> Plain | None:
        return dict(zip(("low", "high"), map(_number, ends[name]))) if name in ends else None

    return {
        **{name: found[name] for name in ("matches", "impostors", "auc", "eer", "roc")},
        "auc_interval": interval("auc"),
        "eer_interval": interval("eer"),
        "points": [
            {"target_fpr": float(fpr), **point, "interval": interval(fpr)} for fpr, point in found["tpr_at_fpr"].items()
        ],
        "histogram": found.get("histogram"),
        "uncertainty": found.get("uncertainty"),
    }


def _uncertainty(verification: Plain) -> Plain:
    """How the run's intervals were made; 0 stands for what format 1 did not say."""
    splits = verification.get("trained") or {}
    found = (splits.get("test") or {}).get("uncertainty")
    return found or {"level": 0.95, "resamples": 0, "identities": 0, "seed": 0}


def _threshold(point: Plain | None) -> Plain | None:
    if point is None or "unavailable" in point:
        return point
    return {
        **{name: point[name] for name in ("metric", "target_fpr", "threshold", "distance")},
        "fitted_on": FITTED_ON.get(point["fitted_on"], point["fitted_on"]),
        "on_fitted": _confusion(point["val"]),
        "on_test": _confusion(point["test"]),
    }


def _confusion(counts: Plain | None) -> Plain | None:
    if counts is None:
        return None
    return {name: _number(each) if name in ("tpr", "fpr", "precision") else each for name, each in counts.items()}


def _comparison(found: Plain | None, uncertainty: Plain) -> Plain | None:
    if found is None:
        return None
    return {
        "against": found["against"],
        "uncertainty": {**uncertainty, "level": found["level"]},
        "auc": _numbers(found["auc"]),
        "eer": _numbers(found["eer"]),
        "tpr_at_fpr": {fpr: _numbers(each) for fpr, each in found["tpr_at_fpr"].items()},
    }


def _conditions(found: Plain, metric: str, uncertainty: Plain) -> Plain:
    def rate(values: list[Any]) -> Plain:
        return dict(zip(("estimate", "low", "high"), map(_number, values)))

    threshold = float(found["threshold"])
    return {
        "column": found["column"],
        "threshold": threshold,
        "distance": 1 - threshold if metric == "cosine" else -threshold,
        "fitted_here": found["fitted_here"],
        "uncertainty": {**uncertainty, "level": found["level"]},
        "rows": [{**row, "tpr": rate(row["tpr"]), "fpr": rate(row["fpr"])} for row in found["rows"]],
        "inequity": {
            name: {
                "max_over_min": _number(each["max_over_min"]),
                "max_over_mean": _number(each["max_over_mean"]),
                "worst": None if each["worst"] is None else str(each["worst"]),
            }
            for name, each in found["inequity"].items()
        },
    }


def _masks(found: Plain | None) -> Plain | None:
    if found is None or "unavailable" in found:
        return found
    return {
        **found,
        "iou": _number(found["iou"]),
        "dice": _number(found["dice"]),
        "per_channel": [_number(each) for each in found["per_channel"]],
    }


def _numbers(found: Plain) -> Plain:
    return {name: _number(each) for name, each in found.items()}


def _number(value: Any) -> Any:
    """Format 1 wrote NaN as null."""
    return float("nan") if value is None else value
