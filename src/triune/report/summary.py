"""A run's metrics as a short table for the terminal."""

from typing import Any

from triune.evaluation.measures import NAMES

FITTED = {"val": "validation pairs"}


FPRS = ("0.05", "0.01", "0.001")


RANKINGS = ("expanded", "re-ranked")


def summary(metrics: dict[str, Any]) -> str:
    """The headline numbers of ``metrics.json``: verification beside the baselines, the threshold, the other heads."""
    lines = _verification(metrics) + _comparison(metrics.get("comparison")) + _folds(metrics.get("folds"))
    lines += _operating_point(metrics.get("operating_point"))
    for found in metrics.get("conditions") or []:
        lines += _conditions(found)
    classes, masks = metrics.get("classification"), metrics.get("segmentation")
    if classes and "accuracy" in classes:
        lines.append(f"class accuracy {classes['accuracy']:.3f} on {classes['items']} {classes['split']} images")
    if masks and "iou" in masks:
        lines.append(
            f"mask IoU {masks['iou']:.3f}, Dice {masks['dice']:.3f} on {masks['items']} {masks['split']} images"
        )
    return "\n".join(lines)


def _verification(metrics: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, list[str]]] = []
    doubt, sure = False, None
    for name, splits in metrics.get("verification", {}).items():
        figures = splits.get("test") or splits.get("val")
        if figures is None or "unavailable" in figures:
            continue
        points = figures["tpr_at_fpr"]
        retrieval = metrics.get("retrieval", {}).get(name, {})
        recall = retrieval.get("recall_at", {}).get("1", float("nan"))
        values = [points[fpr]["tpr"] for fpr in FPRS]
        values += [figures["auc"], figures["eer"], recall, retrieval.get("map_at_r", float("nan"))]
        unreliable = [not points[fpr]["reliable"] for fpr in FPRS] + [False] * 4
        doubt |= any(unreliable)
        cells = [f"{value:.3f}{'?' if bad else ' '}" for value, bad in zip(values, unreliable, strict=True)]
        rows.append((NAMES.get(name, name), cells))
        ends = figures.get("interval")
        if ends:
            sure = figures["uncertainty"]
            cells = [f"{ends[key][0]:.3f}-{ends[key][1]:.3f} " for key in (*FPRS, "auc", "eer")]
            rows.append((f"  {sure['level']:.0%} interval", [*cells, "", ""]))
    if not rows:
        return []
    for name in RANKINGS:
        retrieval = metrics.get("retrieval", {}).get(name)
        if retrieval:
            rows.append(
                (f"  {name}", [""] * 5 + [f"{retrieval['recall_at']['1']:.3f} ", f"{retrieval['map_at_r']:.3f} "])
            )
    heads = ("TPR@5%", "@1%", "@0.1%", "AUC", "EER", "R@1", "MAP@R")
    widths = [14 if sure and place < 5 else 8 for place in range(len(heads))]
    label = max(20, 1 + max(len(name) for name, _ in rows))
    lines = [" " * label + "".join(f"{head} ".rjust(width) for head, width in zip(heads, widths))]
    lines += [f"{name:<{label}}" + "".join(cell.rjust(w) for cell, w in zip(cells, widths)) for name, cells in rows]
    if doubt:
        lines.append("? too few non-matching pairs for a figure to lean on (fewer than 30 false positives expected)")
    if sure:
        lines.append(f"intervals resample the {sure['identities']} identities {sure['resamples']} times")
    return [line.rstrip() for line in (*lines, "")]


def _comparison(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    lines = [f"this model minus {found['against']}, with {found['level']:.0%} interval"]
    named = {f"TPR@{100 * float(fpr):g}%": d for fpr, d in found["tpr_at_fpr"].items()}
    for name, d in {**named, "AUC": found["auc"], "EER": found["eer"]}.items():
        lines.append(f"  {name:<10} {d['estimate']:+.3f}  {d['low']:+.3f} to {d['high']:+.3f}  p = {d['p_value']:.3f}")
    return [*lines, ""]


def _folds(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    accuracy = found["accuracy"]
    lines = [
        f"over {len(found['names'])} folds, thresholds from the others: accuracy {accuracy['mean']:.4f} "
        f"+/- {accuracy['standard_error']:.4f} (standard error)"
    ]
    for fpr, rates in found["tpr_at_fpr"].items():
        tpr, realised, doubt = rates["tpr"], rates["fpr"], "" if rates["reliable"] else "?"
        figures = f"{tpr['mean']:.4f} +/- {tpr['standard_error']:.4f} at FPR {realised['mean']:.4f}"
        lines.append(f"  TPR@{100 * float(fpr):g}%{doubt}  {figures}")
    return [*lines, ""]


def _conditions(found: dict[str, Any]) -> list[str]:
    names = [row["condition"] for row in found["rows"]]
    width = max([len(found["column"]), *map(len, names)], default=0) + 2
    where = "these pairs" if found["fitted_here"] else "other data"
    lines = [
        f"by {found['column']}, all at the threshold {found['threshold']:.4f} fitted on {where}",
        f"  {found['column']:<{width}}{'same':>10}{'different':>13}  {'TPR':<21} FPR",
    ]
    for row in found["rows"]:
        tpr, fpr = (_with_ends(row[rate], digits) for rate, digits in (("tpr", 3), ("fpr", 4)))
        lines.append(f"  {row['condition']:<{width}}{row['matches']:>10,}{row['impostors']:>13,}  {tpr:<21} {fpr}")
    return [*lines, ""]


def _with_ends(values: list[float], digits: int) -> str:
    estimate, low, high = values
    ends = "" if low != low else f" ({low:.{digits}f}-{high:.{digits}f})"
    return f"{estimate:.{digits}f}{ends}"


def _operating_point(point: dict[str, Any] | None) -> list[str]:
    if point is None:
        return []
    if "unavailable" in point:
        return [f"no threshold: {point['unavailable']}"]
    lines = [
        f"threshold: accept at {point['metric']} distance <= {point['distance']:.4f}, "
        f"chosen on {FITTED.get(point['fitted_on'], point['fitted_on'])} for FPR {point['target_fpr']:.1%}"
    ]
    for split, words in (("val", "there"), ("test", "on test pairs")):
        counts = point.get(split)
        if counts:
            lines.append(
                f"  {words}: TPR {counts['tpr']:.3f}  FPR {counts['fpr']:.3f}  precision {counts['precision']:.3f}  "
                f"TP {counts['tp']}  FP {counts['fp']}  TN {counts['tn']}  FN {counts['fn']}"
            )
    return lines
