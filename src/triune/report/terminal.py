"""Results as a short table for the terminal."""

import math
from collections.abc import Sequence

from triune.evaluation.results import (
    JUDGED_SPLITS,
    AppliedThreshold,
    ClassResult,
    Comparison,
    ConditionsResult,
    FoldsResult,
    MaskResult,
    ModelResult,
    Rate,
    Results,
    RetrievalResult,
    Unavailable,
    VerificationResult,
)
from triune.report.role_words import roles_in_words
from triune.report.threshold_words import for_new_identities
from triune.verification.intervals import FEWEST_IDENTITIES

NAME_WIDTH = 20
CELL_WIDTH = 8
INTERVAL_WIDTH = 14


def summary(results: Results) -> str:
    """Verification and retrieval of every model, the comparison, the threshold, the conditions and the other heads."""
    lines = _models(results.models) + _roles(results.models) + _comparison(results.comparison) + _folds(results.folds)
    lines += _threshold(results.threshold)
    for found in results.conditions:
        lines += _conditions(found)
    classes, masks = results.classification, results.segmentation
    if isinstance(classes, ClassResult):
        lines.append(f"class accuracy {classes.accuracy:.3f} on {classes.items} {classes.split} images")
        left_out = classes.left_out()
        lines += [] if left_out is None else [f"  {left_out}"]
    for split, counts in results.data.splits.items():
        if counts.nameless and split in JUDGED_SPLITS:
            lines.append(f"{counts.nameless} of {counts.images} {split} images have no identity: no pair holds them")
    if isinstance(masks, MaskResult):
        lines.append(f"mask IoU {masks.iou:.3f}, Dice {masks.dice:.3f} on {masks.items} {masks.split} images")
    return "\n".join(lines)


def _models(models: Sequence[ModelResult]) -> list[str]:
    """A line of figures for each model, and below it its intervals and its other rankings."""
    judged = [(model, each[1]) for model in models if (each := model.judged()) is not None]
    if not judged:
        return []
    budgets = [point.target_fpr for point in judged[0][1].points]
    heads = [f"{'TPR' if place == 0 else ''}@{_percent(fpr)}" for place, fpr in enumerate(budgets)]
    rows: list[tuple[str, list[str]]] = [("", [f"{head} " for head in (*heads, "AUC", "EER", "R@1", "MAP@R")])]
    for model, found in judged:
        rows += _rows(model, found)
    sure = next((found.uncertainty for _, found in judged if found.uncertainty is not None), None)
    verified = len(budgets) + 2
    widths = [INTERVAL_WIDTH if sure and place < verified else CELL_WIDTH for place in range(verified + 2)]
    label = max(NAME_WIDTH, 1 + max(len(name) for name, _ in rows))
    lines = [f"{name:<{label}}" + "".join(cell.rjust(w) for cell, w in zip(cells, widths)) for name, cells in rows]
    if not all(point.reliable for _, found in judged for point in found.points):
        lines.append("? too few non-matching pairs for a figure to lean on (fewer than 30 false positives expected)")
    if sure:
        lines.append(f"intervals resample the {sure.identities} identities {sure.resamples} times")
        lines += [] if sure.reason is None else [f"? these intervals are not to be leaned on: {sure.reason}"]
    return [line.rstrip() for line in (*lines, "")]


def _rows(model: ModelResult, found: VerificationResult) -> list[tuple[str, list[str]]]:
    cells = [f"{point.tpr:.3f}{' ' if point.reliable else '?'}" for point in found.points]
    cells += [f"{found.auc:.3f} ", f"{found.eer:.3f} ", *_retrieval(model.retrieval)]
    rows = [(model.name, cells)]
    if found.uncertainty is not None:
        ends = [*(point.interval for point in found.points), found.auc_interval, found.eer_interval]
        mark = " " if found.uncertainty.reliable else "?"
        shown = ["" if each is None else f"{each.low:.3f}-{each.high:.3f}{mark}" for each in ends]
        rows.append((f"  {_percent(found.uncertainty.level)} interval", shown))
    blank = [""] * (len(found.points) + 2)
    return rows + [(f"  {name}", blank + _retrieval(each)) for name, each in model.rankings.items()]


def _retrieval(found: RetrievalResult | Unavailable | None) -> list[str]:
    if not isinstance(found, RetrievalResult):
        return ["- ", "- "]
    return [f"{found.recall_at[1]:.3f} ", f"{found.map_at_r:.3f} "]


def _roles(models: list[ModelResult]) -> list[str]:
    """Who asked and who answered in retrieval, where the table says it."""
    found = models[0].retrieval if models else None
    if not isinstance(found, RetrievalResult) or found.roles is None:
        return []
    return [f"retrieval: {roles_in_words(found)}", f"  mAP {found.map:.3f} of this model"]


def _comparison(found: Comparison | None) -> list[str]:
    if found is None:
        return []
    doubt = "" if found.uncertainty.reason is None else f", not to be leaned on: {found.uncertainty.reason}"
    lines = [f"this model minus {found.against}, with {_percent(found.uncertainty.level)} interval{doubt}"]
    named = {f"TPR@{_percent(fpr)}": each for fpr, each in found.tpr_at_fpr.items()}
    for name, d in {**named, "AUC": found.auc, "EER": found.eer}.items():
        lines.append(f"  {name:<10} {d.estimate:+.3f}  {d.low:+.3f} to {d.high:+.3f}  p = {d.p_value:.3f}")
    return [*lines, ""]


def _folds(found: FoldsResult | None) -> list[str]:
    if found is None:
        return []
    lines = [
        f"over {len(found.names)} folds, thresholds from the others: accuracy {found.accuracy.mean:.4f} "
        f"+/- {found.accuracy.standard_error:.4f} (standard error)"
    ]
    for fpr, rates in found.tpr_at_fpr.items():
        doubt = "" if rates.reliable else "?"
        figures = f"{rates.tpr.mean:.4f} +/- {rates.tpr.standard_error:.4f} at FPR {rates.fpr.mean:.4f}"
        lines.append(f"  TPR@{_percent(fpr)}{doubt}  {figures}")
    return [*lines, ""]


def _threshold(found: AppliedThreshold | Unavailable | None) -> list[str]:
    if found is None:
        return []
    if isinstance(found, Unavailable):
        return [f"no threshold: {found.unavailable}"]
    lines = [
        f"threshold: accept at {found.metric} distance <= {found.distance:.4f}, "
        f"chosen on {found.fitted_on} for FPR {found.target_fpr:.1%}"
    ]
    for counts, where in ((found.on_fitted, "there"), (found.on_test, "on test pairs")):
        if counts is not None:
            lines.append(
                f"  {where}: TPR {counts.tpr:.3f}  FPR {counts.fpr:.3f}  precision {counts.precision:.3f}  "
                f"TP {counts.tp}  FP {counts.fp}  TN {counts.tn}  FN {counts.fn}"
            )
    return [*lines, f"  {for_new_identities(found.target_fpr, found.expected, found.confidence)}"]


def _conditions(found: ConditionsResult) -> list[str]:
    names = [row.condition for row in found.rows]
    width = max([len(found.column), *map(len, names)], default=0) + 2
    where = "these pairs" if found.fitted_here else "other data"
    sure = f", with {_percent(found.uncertainty.level)} intervals" if found.uncertainty.resamples else ""
    lines = [
        f"by {found.column}, all at distance <= {found.distance:.4f} fitted on {where}{sure}",
        f"  {found.column:<{width}}{'same':>10}{'different':>13}  {'TPR':<21} FPR",
    ]
    few = found.uncertainty.resamples > 0 and not all(row.reliable for row in found.rows)
    for row in found.rows:
        doubt = "" if row.reliable else "?"
        tpr, fpr = _with_ends(row.tpr, 3, doubt), _with_ends(row.fpr, 4, doubt)
        lines.append(f"  {row.condition:<{width}}{row.matches:>10,}{row.impostors:>13,}  {tpr:<21} {fpr}")
    if few:
        lines.append(f"? fewer than {FEWEST_IDENTITIES} identities: these intervals are not to be leaned on")
    return [*lines, ""]


def _with_ends(rate: Rate, digits: int, doubt: str) -> str:
    ends = "" if math.isnan(rate.low) else f" ({rate.low:.{digits}f}-{rate.high:.{digits}f}{doubt})"
    return f"{rate.estimate:.{digits}f}{ends}"


def _percent(share: float) -> str:
    """5%, 0.1%, 97.5%."""
    return f"{100 * share:.6g}%"
