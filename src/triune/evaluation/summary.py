"""A run's metrics as a short table for the terminal."""

from typing import Any

NAMES = {
    "trained": "this model",
    "pixels": "raw pixels",
    "untrained": "untrained backbone",
    "pretrained": "pretrained backbone",
}


def summary(metrics: dict[str, Any]) -> str:
    """The headline numbers of ``metrics.json``: verification beside the baselines, the threshold, the other heads."""
    lines = _verification(metrics) + _operating_point(metrics.get("operating_point"))
    classes, masks = metrics.get("classification"), metrics.get("segmentation")
    if classes and "accuracy" in classes:
        lines.append(f"class accuracy {classes['accuracy']:.3f} on {classes['items']} {classes['split']} images")
    if masks and "iou" in masks:
        lines.append(
            f"mask IoU {masks['iou']:.3f}, Dice {masks['dice']:.3f} on {masks['items']} {masks['split']} images"
        )
    return "\n".join(lines)


def _verification(metrics: dict[str, Any]) -> list[str]:
    rows = []
    for name, splits in metrics.get("verification", {}).items():
        figures = splits.get("test") or splits.get("val")
        if figures is None or "unavailable" in figures:
            continue
        points = figures["tpr_at_fpr"]
        retrieval = metrics.get("retrieval", {}).get(name, {})
        recall = retrieval.get("recall_at", {}).get("1", float("nan"))
        values = [points[fpr]["tpr"] for fpr in ("0.05", "0.01", "0.001")]
        values += [figures["auc"], figures["eer"], recall, retrieval.get("map_at_r", float("nan"))]
        unreliable = [not points[fpr]["reliable"] for fpr in ("0.05", "0.01", "0.001")] + [False] * 4
        cells = [f"{value:.3f}{'?' if doubt else ' '}" for value, doubt in zip(values, unreliable, strict=True)]
        rows.append((NAMES.get(name, name), cells, any(unreliable)))
    if not rows:
        return []
    heads = ("TPR@5%", "@1%", "@0.1%", "AUC", "EER", "R@1", "MAP@R")
    lines = [" " * 20 + "".join(f"{head:>8}" for head in heads)]
    lines += [f"{label:<20}" + "".join(f"{cell:>8}" for cell in cells) for label, cells, _ in rows]
    if any(doubt for *_, doubt in rows):
        lines.append("? too few non-matching pairs for a figure to lean on (fewer than 30 false positives expected)")
    return [*lines, ""]


def _operating_point(point: dict[str, Any] | None) -> list[str]:
    if point is None:
        return []
    if "unavailable" in point:
        return [f"no threshold: {point['unavailable']}"]
    lines = [
        f"threshold: accept at {point['metric']} distance <= {point['distance']:.4f}, "
        f"chosen on validation pairs for FPR {point['target_fpr']:.1%}"
    ]
    for split, words in (("val", "there"), ("test", "on test pairs")):
        counts = point.get(split)
        if counts:
            lines.append(
                f"  {words}: TPR {counts['tpr']:.3f}  FPR {counts['fpr']:.3f}  precision {counts['precision']:.3f}  "
                f"TP {counts['tp']}  FP {counts['fp']}  TN {counts['tn']}  FN {counts['fn']}"
            )
    return lines
