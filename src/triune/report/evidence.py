"""The report's sections on how far figures carry: another model beside this one, conditions, folds."""

import math
from html import escape
from typing import Any

from triune.report.markup import Scale, Section, budget, count, is_number, number, percent, plural, table


def comparison_section(metrics: dict[str, Any]) -> Section | None:
    """The differences between two models on the same items, with intervals and p-values."""
    found = metrics.get("comparison")
    if not found:
        return None
    rows = [(f"TPR at {budget(fpr)}", _difference(d)) for fpr, d in found["tpr_at_fpr"].items()]
    rows += [("AUC", _difference(found["auc"])), ("EER", _difference(found["eer"]))]
    told = (
        f"This model minus <b>{escape(str(found['against']))}</b>, on the same pairs. The intervals resample "
        "identities for both models at once, so what both find hard cancels. A difference whose interval leaves out "
        "zero is more than chance; a lower EER is better."
    )
    heads = ["", "difference", f"{budget(found['level'])} interval", "p-value"]
    return Section("comparison", "Against the other model", told, table(heads, rows, "Differences of the two models"))


def conditions_section(metrics: dict[str, Any]) -> Section | None:
    """TPR and FPR within each value of each condition, at one threshold."""
    parts = []
    for found in metrics.get("conditions") or []:
        rows = [
            (
                escape(row["condition"]),
                [
                    count(row["items"]),
                    count(row["identities"]),
                    count(row["matches"]),
                    count(row["impostors"]),
                    _rate(row["tpr"]),
                    _rate(row["fpr"]),
                ],
            )
            for row in found["rows"]
        ]
        heads = [escape(found["column"]), "items", "identities", "same pairs", "different pairs", "TPR", "FPR"]
        parts.append(table(heads, rows, f"Rates within each {found['column']}") + _inequity(found))
    if not parts:
        return None
    first = metrics["conditions"][0]
    scale = Scale(str(metrics["metric"]))
    where = "these very pairs" if first["fitted_here"] else "other data"
    told = (
        f"Pairs within each condition, all at the same threshold (a {scale.name} of "
        f"{number(scale.shown(first['threshold']), 4)}, fitted on {where}), since a system in use has one. Small "
        f"figures are {budget(first['level'])} intervals; where they overlap widely, the conditions may well be alike."
    )
    return Section("conditions", "By condition", told, "".join(parts))


def folds_section(metrics: dict[str, Any]) -> Section | None:
    """Accuracy and TPR@FPR over the folds of a published list of pairs."""
    found = metrics.get("folds")
    if not found:
        return None
    rows = [("accuracy", [_estimate(found["accuracy"]), "–"])]
    rows += [
        (f"TPR at {budget(fpr)}", [_estimate(rates["tpr"]), _estimate(rates["fpr"])])
        for fpr, rates in found["tpr_at_fpr"].items()
    ]
    told = (
        f"{plural(len(found['names']), 'fold')}: thresholds are chosen on all folds but one and applied to that one. "
        "Mean ± standard error over the folds."
    )
    return Section("folds", "Over folds", told, table(["", "in the fold left out", "FPR there"], rows, "Over folds"))


def _difference(found: dict[str, Any]) -> list[str]:
    ends = f"{_signed(found['low'])} to {_signed(found['high'])}"
    p = found["p_value"]
    return [_signed(found["estimate"]), ends, "–" if not is_number(p) else "under 0.001" if p < 0.001 else number(p)]


def _inequity(found: dict[str, Any]) -> str:
    said = []
    for rate, name in (("fpr", "FPR"), ("fnr", "FNR")):
        ratio = found["inequity"][rate]
        over = ratio["max_over_min"]
        if is_number(over) and not math.isnan(over):
            said.append(f"{name}: the worst ({escape(str(ratio['worst']))}) is {number(over, 2)} times the best")
        elif ratio["worst"] is not None:
            said.append(f"{name}: the ratio of worst to best is not defined, since one rate is 0")
    return f"<p class='told'>{'; '.join(said)}.</p>" if said else ""


def _rate(values: list[Any]) -> str:
    estimate, low, high = values
    ends = f"<br><small>{percent(low)} to {percent(high)}</small>" if is_number(low) and is_number(high) else ""
    return percent(estimate) + ends


def _estimate(found: dict[str, Any]) -> str:
    return f"{percent(found['mean'])} ± {number(100 * found['standard_error'], 2)}"


def _signed(value: Any) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}" if is_number(value) else "–"
