"""A file of embeddings or of scored pairs judged: figures with intervals, by condition, and beside another model's."""

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune._version import __version__
from triune.data.columns import Columns
from triune.data.pair_lists import PairList, read_pairs
from triune.data.problems import DataError
from triune.data.tables import read_cells
from triune.distances.embeddings import Metric
from triune.errors import InputError
from triune.evaluation import measures
from triune.evaluation.files import (
    other_name,
    read_against,
    read_embeddings,
    read_groups,
    read_labels,
    read_names,
    read_templates,
)
from triune.evaluation.freed_memory import return_freed_memory
from triune.pairs.listed import score_pairs
from triune.parallel.command import check_same, read_by_all
from triune.retrieval.metrics import average, metrics_of_rankings, retrieval_per_query
from triune.retrieval.reranking import expand_gallery, rerank
from triune.verification.all_pairs import verify_embeddings, why_not_verifiable
from triune.verification.bootstrap import Intervals, bootstrap_verification
from triune.verification.comparison import Comparison, Difference, compare_intervals
from triune.verification.conditions import ConditionRates, RatesByCondition, rates_by_condition
from triune.verification.folds import FoldResult, cross_validated_accuracy
from triune.verification.roc import Verification, verify_scores
from triune.verification.thresholds import Threshold

Array: TypeAlias = np.ndarray[Any, Any]


CMC_RANKS = 50


MAP_ITEMS = 2000


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Args:
        resamples: how often identities are drawn; 0 for no intervals.
        level: the share of intervals that should cover the truth.
        seed: of the drawing.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Judgement:
    """What was found, and what figures are drawn from.

    Args:
        metrics: plain values, for ``metrics.json`` and the report.
        verifications: by name, for curves.
        cmc: by name, the share of queries with a hit among the first 1, 2, ….
        threshold: the score from which pairs are accepted; NaN where there is none.
        items: embeddings ``(N, D)`` and labels for the map, of at most :data:`MAP_ITEMS`, or ``None``.
    """

    metrics: dict[str, Any]
    verifications: dict[str, Verification]
    cmc: dict[str, Array] = field(default_factory=dict)
    threshold: float = float("nan")
    items: tuple[Array, Array] | None = None


def evaluate_embeddings(
    embeddings: Path,
    labels: Path,
    metric: Metric = "cosine",
    *,
    groups: Path | None = None,
    exclude: str | None = None,
    against: Path | None = None,
    threshold: Path | None = None,
    resampling: Resampling = Resampling(),
    reranked: bool = False,
    templates: Path | None = None,
    divide_over: ProcessGroup | None = None,
) -> Judgement:
    """Exact verification and retrieval of embeddings from any model, read from files.

    Args:
        embeddings: ``.npy`` of shape ``(N, D)``.
        labels: ``.npy`` of shape ``(N,)``, or a text file with one label a line.
        metric: the distance.
        groups: CSV of N rows in the same order; each column is a condition (camera, breed) whose values are compared.
        exclude: the column of ``groups`` that says where an item comes from (photo session, video, camera): pairs
            within one are no test, and are left out; of rankings, only a query's relevant items are.
        against: another model's embeddings of the same items, ``(N, E)``.
        threshold: ``thresholds.json`` of a run, or one :meth:`Threshold.as_dict` as JSON, to be applied to these pairs.
        resampling: how intervals are made.
        reranked: judge retrieval with expanded items and with k-reciprocal re-ranking as well.
        templates: CSV of N rows; embeddings of one ``template`` are averaged, and templates are judged in their place.
        divide_over: processes that share the work; each reads the files, and all get the same.

    Raises:
        InputError: a file cannot be read, or does not fit the others.
    """

    def read() -> tuple[dict[str, tuple[Path, Array]], Array, dict[str, Array], Threshold | None]:
        rows = read_embeddings(embeddings)
        names = read_labels(labels, len(rows), embeddings)
        images, sets = len(rows), None
        if templates is not None:
            if groups is not None:
                raise InputError("--groups describes images, --templates judges sets of them: leave one away")
            sets = read_templates(templates, images, embeddings)
            names = sets.labels(names, labels)
            rows = sets.pooled(rows, embeddings)
        conditions = read_groups(groups, len(rows), embeddings) if groups is not None else {}
        if exclude is not None and exclude not in conditions:
            known = f"{groups} has the columns {', '.join(conditions)}" if groups else "give the CSV with --groups"
            raise InputError(f"--exclude names the column {exclude!r}: {known}")
        if reranked and exclude is not None:
            raise InputError("--rerank judges whole rankings: leave --exclude away")
        reason = why_not_verifiable(names)
        if reason is not None:
            raise InputError(f"{labels}: {reason}")
        models = {"trained": (embeddings, rows)}
        if against is not None:
            other = read_against(against, images, embeddings)
            models[other_name(against, embeddings)] = (against, other if sets is None else sets.pooled(other, against))
        fitted = _read_threshold(threshold, metric) if threshold is not None else None
        return models, names, conditions, fitted

    models, names, conditions, fitted = read_by_all(read, divide_over)
    rows = models["trained"][1]
    contents = {str(path): x for path, x in models.values()} | {str(labels): names}
    check_same(contents | {f"{groups}, column {name},": each for name, each in conditions.items()}, divide_over)
    sessions = conditions.get(exclude) if exclude is not None else None
    figures: dict[str, Any] = {}
    retrieval: dict[str, Any] = {}
    verifications: dict[str, Verification] = {}
    cmc: dict[str, Array] = {}
    intervals: dict[str, Intervals] = {}
    for name, (path, x) in models.items():
        try:
            # First, since a verification holds a sorted copy of the rows, and retrieval makes one of its own.
            found = retrieval_per_query(x, names, metric=metric, groups=sessions, divide_over=divide_over)
            cmc[name] = found.cmc(min(CMC_RANKS, len(x) - 1))
            retrieval[name] = measures.retrieval_figures(average(found, len(x)))
            del found
            return_freed_memory()
            verification = verify_embeddings(x, names, metric=metric, groups=sessions, divide_over=divide_over)
            figures[name] = {"test": measures.figures_of(verification)}
            return_freed_memory()
            if resampling.resamples:
                intervals[name] = bootstrap_verification(
                    x,
                    names,
                    metric=metric,
                    groups=sessions,
                    verification=verification,
                    divide_over=divide_over,
                    **vars(resampling),
                )
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        return_freed_memory()
        verifications[name] = verification
        figures[name]["test"] |= _intervals(intervals.get(name), resampling)
    if reranked:
        expanded = expand_gallery(rows, metric=metric, divide_over=divide_over)
        retrieval["expanded"] = measures.retrieval_summary(expanded, names, "cosine", divide_over)
        depth = max(CMC_RANKS, int(np.unique(names, return_counts=True)[1].max()))
        rankings = rerank(rows, k=depth, metric=metric, divide_over=divide_over).rows
        retrieval["re-ranked"] = measures.retrieval_figures(metrics_of_rankings(rankings, names))
    metrics = bare_metrics(embeddings.stem, str(embeddings), metric, figures, retrieval)
    if len(intervals) > 1:
        first, second = intervals.values()
        metrics["comparison"] = _comparison(compare_intervals(first, second), next(reversed(models)))
    point = _given_threshold(fitted, verifications["trained"]) if fitted is not None else None
    metrics["operating_point"] = point
    score = point["threshold"] if point else verifications["trained"].threshold_at_fpr(measures.FPRS[0])
    metrics["conditions"] = [
        _by_condition(column, rates_by_condition(
            rows, names, values, score, metric=metric, groups=sessions, divide_over=divide_over, **vars(resampling)
        ), fitted_here=point is None)
        for column, values in conditions.items()
        if column != exclude
    ]  # fmt: skip
    shown = np.arange(len(rows))
    if len(rows) > MAP_ITEMS:
        shown = np.random.default_rng(resampling.seed).choice(len(rows), MAP_ITEMS, replace=False)
    # What is drawn from needs no embeddings: two sorted copies of them would stay.
    detached = {name: each.detached() for name, each in verifications.items()}
    return Judgement(metrics, detached, cmc, score, (rows[shown], names[shown]))


def evaluate_pairs(
    embeddings: Path, pairs: Path, names: Path | None, metric: Metric = "cosine", templates: Path | None = None
) -> Judgement:
    """Exact verification of listed pairs of embeddings, over folds where the list has them.

    Args:
        embeddings: ``.npy`` of shape ``(N, D)``.
        pairs: CSV with ``first``, ``second``, ``match`` and maybe ``fold``, or LFW's ``pairs.txt``.
        names: text file with the N names that the list calls the rows by; where not given, ``0`` to ``N − 1``.
        metric: the distance.
        templates: CSV of N rows; embeddings of one ``template`` are averaged, and the list calls templates by its ids.
    """
    rows = read_embeddings(embeddings)
    if templates is not None:
        if names is not None:
            raise InputError("--names calls images, --templates sets of them: leave one away")
        sets = read_templates(templates, len(rows), embeddings)
        rows, called = sets.pooled(rows, embeddings), np.unique(sets.template).tolist()
    else:
        called = read_names(names, len(rows), embeddings) if names is not None else [str(i) for i in range(len(rows))]
    listed: PairList = read_pairs(pairs)
    first, second = listed.rows(called)
    try:
        scores = score_pairs(rows, first, second, metric).numpy()
    except ValueError as error:
        raise InputError(f"{embeddings}: {error}") from error
    return _judged_list(scores, listed.is_match, listed.folds, embeddings.stem, pairs, metric)


def evaluate_scores(path: Path) -> Judgement:
    """Exact verification of a list of scored pairs, over folds where the list has them.

    Args:
        path: CSV with a column ``score`` (higher is more alike) or ``distance``, ``match`` (1/0, true/false, yes/no),
            and maybe ``fold``.
    """
    table = read_cells(path, Columns(known=("score", "distance", "match", "fold"), needed=("match",)))
    column = next((name for name in ("score", "distance") if name in table.frame.columns), None)
    if column is None:
        names = ", ".join(table.frame.columns)
        raise InputError(f"{path} has the columns {names}; score (or distance) and match are needed")
    if table.problems:
        raise DataError(table.problems)
    match, values = table.flags("match"), table.numbers(column)
    scores = values if column == "score" else -values
    folds = tuple(table.words("fold")) if "fold" in table.frame.columns else None
    return _judged_list(scores, match, folds, path.stem, path, column)


def bare_metrics(
    name: str, source: str, metric: str, verification: dict[str, Any], retrieval: dict[str, Any]
) -> dict[str, Any]:
    """``metrics.json`` of something that was not trained here."""
    return {
        "triune": __version__,
        "name": name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": {"source": source, "split": "given", "splits": {}, "classes": []},
        "metric": metric,
        "verification": verification,
        "retrieval": retrieval,
        "operating_point": None,
        "classification": None,
        "segmentation": None,
        "training": None,
    }


def _judged_list(
    scores: Array, match: Array, folds: tuple[str, ...] | None, name: str, source: Path, metric: str
) -> Judgement:
    try:
        verification = verify_scores(scores, match)
        by_fold = None if folds is None else cross_validated_accuracy(scores, match, np.array(folds))
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    metrics = bare_metrics(name, str(source), metric, {"trained": {"test": measures.curve_summary(verification)}}, {})
    if by_fold is not None:
        metrics["folds"] = _folds(by_fold)
    return Judgement(metrics, {"trained": verification}, threshold=verification.threshold_at_fpr(measures.FPRS[0]))


def _intervals(found: Intervals | None, resampling: Resampling) -> dict[str, Any]:
    if found is None:
        return {}
    ends = {str(fpr): [interval.low, interval.high] for fpr, interval in found.tpr_at_fpr.items()}
    ends |= {name: [getattr(found, name).low, getattr(found, name).high] for name in ("auc", "eer")}
    return {"interval": ends, "uncertainty": {"identities": found.identities, **vars(resampling)}}


def _comparison(found: Comparison, other: str) -> dict[str, Any]:
    def plain(difference: Difference) -> dict[str, float]:
        values: dict[str, float] = difference._asdict()
        return values

    return {
        "against": other,
        "level": found.first.level,
        "auc": plain(found.auc),
        "eer": plain(found.eer),
        "tpr_at_fpr": {str(fpr): plain(difference) for fpr, difference in found.tpr_at_fpr.items()},
    }


def _by_condition(column: str, found: RatesByCondition, *, fitted_here: bool) -> dict[str, Any]:
    def plain(row: ConditionRates) -> dict[str, Any]:
        counts = {name: getattr(row, name) for name in ("items", "identities", "matches", "impostors")}
        rates = {
            name: [getattr(row, name).estimate, getattr(row, name).low, getattr(row, name).high]
            for name in ("tpr", "fpr")
        }
        return {"condition": str(row.first), **counts, **rates}

    return {
        "column": column,
        "threshold": found.threshold,
        "fitted_here": fitted_here,
        "level": found.level,
        "rows": [plain(row) for row in found.within],
        "inequity": {rate: found.inequity(rate)._asdict() for rate in ("fpr", "fnr")},
    }


def _folds(found: FoldResult) -> dict[str, Any]:
    return {
        "names": [str(name) for name in found.folds],
        "accuracy": found.accuracy._asdict(),
        "accuracies": found.accuracies.tolist(),
        "tpr_at_fpr": {
            str(fpr): {
                "tpr": rates.mean_tpr._asdict(), "fpr": rates.mean_fpr._asdict(), "reliable": bool(rates.reliable)
            }
            for fpr, rates in found.rates.items()
        },
    }  # fmt: skip


def _read_threshold(path: Path, metric: Metric) -> Threshold:
    """A threshold that was fitted elsewhere, for scores of this metric."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        # A run's file holds one threshold for each budget; that of its own is said at the top.
        own = stored["all"][str(stored["target_fpr"])] if "all" in stored else stored
        fitted = Threshold.from_dict(own)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no threshold ({error}): give a run's thresholds.json") from error
    if fitted.metric != metric:
        raise InputError(f"{path} holds a threshold of {fitted.metric} scores: evaluate with --metric {fitted.metric}")
    return fitted


def _given_threshold(fitted: Threshold, verification: Verification) -> dict[str, Any]:
    """What a threshold from elsewhere does here, in the form of a run's operating point."""
    return {
        **fitted.as_dict(),
        "val": None,
        "test": measures.counts_at(verification, fitted.threshold),
        "all": {str(fitted.target_fpr): fitted.as_dict()},
    }
