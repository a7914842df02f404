"""Embeddings of known items judged: the one way from embeddings to results, for a run and for files alike."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune._version import __version__
from triune.distances.metric import Metric
from triune.errors import InputError
from triune.evaluation import measures
from triune.evaluation.freed_memory import return_freed_memory
from triune.evaluation.results import (
    JUDGED_SPLITS,
    AppliedThreshold,
    Comparison,
    ConditionsResult,
    DataSummary,
    ModelResult,
    Results,
    Role,
    ScoreKind,
    Split,
    Unavailable,
    VerificationResult,
)
from triune.evaluation.search import Roles, SearchedItems, judge_rankings, judge_search
from triune.pairs.prepared import PreparedEmbeddings, prepare
from triune.verification.all_pairs import verify_embeddings, why_not_verifiable
from triune.verification.bootstrap import Intervals, bootstrap_verification
from triune.verification.comparison import compare_intervals
from triune.verification.conditions import rates_by_condition
from triune.verification.decision import Threshold
from triune.verification.promise import identities_needed
from triune.verification.roc import FPRS, Verification
from triune.verification.thresholds import fit_threshold

Array: TypeAlias = np.ndarray[Any, Any]

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
class KnownItems:
    """What is known of the N items of a split, whichever model embeds them.

    Args:
        labels: ``(N,)`` identities.
        conditions: by name, ``(N,)`` values (camera, breed) within which rates are compared.
        groups: ``(N,)`` where each comes from (photo session, video), pairs within which are left out; or ``None``.
        roles: which are queries and which the gallery; ``None`` where every item is both.
    """

    labels: Array
    conditions: Mapping[str, Array] = field(default_factory=dict)
    groups: Array | None = None
    roles: Roles | None = None


@dataclass(frozen=True)
class Candidate:
    """A model to be judged.

    Args:
        name: what people call it.
        role: why it is judged.
        metric: the distance.
        embeddings: by split, ``(N, D)`` of that split's items.
        source: what messages call its embeddings, such as their file.
        distractors: by split, ``(M, D)`` of items of the gallery that have no identity: only retrieval knows of them.
    """

    name: str
    role: Role
    metric: Metric
    embeddings: Mapping[Split, Array]
    source: str
    distractors: Mapping[Split, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Questions:
    """What is asked of the embeddings, beyond verification and retrieval.

    Args:
        resampling: how intervals are made.
        reranked: whether retrieval is also judged with expanded items and with k-reciprocal re-ranking.
        threshold: one that was fitted elsewhere, to be applied here.
        fitted_here: whether the items hold the very pairs that ``threshold`` was fitted on.
        target_fpr: the budget for which a threshold is fitted, where none is given; ``None`` where none is to be
            fitted.
        fpr_confidence: how sure it is to be that new identities see at most that rate; ``None`` promises nothing.
    """

    resampling: Resampling = field(default_factory=Resampling)
    reranked: bool = False
    threshold: Threshold | None = None
    fitted_here: bool = False
    target_fpr: float | None = None
    fpr_confidence: float | None = None


@dataclass(frozen=True)
class Judgement:
    """What was found, and what the figures are drawn from.

    Args:
        results: all numbers.
        curves: the pairs of the judged split, by the model's name, without the embeddings that they came from.
        items: embeddings ``(N, D)`` and labels ``(N,)`` of at most :data:`MAP_ITEMS` items for a map; or ``None``.
        fitted: the thresholds that were fitted here, the most generous first.
    """

    results: Results
    curves: Mapping[str, Verification]
    items: tuple[Array, Array] | None = None
    fitted: tuple[Threshold, ...] = ()


class _Fit(NamedTuple):
    """The split that thresholds are fitted on, these, and the one that is applied (or why there is none)."""

    split: Split = "val"
    thresholds: tuple[Threshold, ...] = ()
    applied: AppliedThreshold | Unavailable | None = None


class _Found(NamedTuple):
    """What was found of one model; all but the result is of the judged split."""

    result: ModelResult
    fit: _Fit
    conditions: list[ConditionsResult]
    intervals: Intervals | None
    pairs: Verification | None


def judge(
    candidates: Sequence[Candidate],
    items: Mapping[Split, KnownItems],
    questions: Questions,
    summary: Results,
    divide_over: ProcessGroup | None = None,
) -> Judgement:
    """Judge models on the same items.

    The judged split is test, or validation where test can say nothing. Embeddings of one model and split are prepared
    once, and each kind of figure visits their pairs once: retrieval, verification, resampling and each condition.

    Args:
        candidates: the judged model first; then baselines, and at most one that it is compared with.
        items: by split.
        questions: what is asked.
        summary: what is known already (name, data, classes, masks); the rest is filled in.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        InputError: embeddings cannot be judged; the message names their source.
    """
    split = judged_split(items)
    if split is None or not candidates:
        return Judgement(summary, {})
    groups = items[split].groups
    if groups is not None and not _matches_across(items[split].labels, groups):
        raise InputError("--exclude leaves no matching pair: no identity has items in two groups; leave it away")
    found = [_judge_model(each, items, split, questions, divide_over) for each in candidates]
    first = found[0]
    results = summary.model_copy(
        update={
            "models": [each.result for each in found],
            "threshold": first.fit.applied,
            "comparison": _comparison(candidates, found, questions.resampling.seed),
            "conditions": first.conditions,
        }
    )
    curves = {each.result.name: each.pairs for each in found if each.pairs is not None}
    shown = _some(candidates[0].embeddings[split], items[split].labels, questions.resampling.seed)
    return Judgement(results, curves, shown, first.fit.thresholds)


def empty_results(name: str, data: DataSummary, metric: ScoreKind) -> Results:
    """Results in which nothing is measured yet.

    Args:
        name: of what is judged.
        data: what it is judged on.
        metric: what the scores are.
    """
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Results(triune=__version__, name=name, created=created, data=data, metric=metric, models=[])


def _matches_across(labels: Array, groups: Array) -> bool:
    """Whether an identity has items in two groups, so that a matching pair is left; or there was none before."""
    if why_not_verifiable(labels) is not None:
        return True
    identities, codes = (np.unique(each, return_inverse=True)[1].astype(np.int64) for each in (labels, groups))
    in_groups = np.unique(identities * len(codes) + codes)
    return len(in_groups) > len(np.unique(identities))


FITTED_FIRST: Final[tuple[Split, ...]] = ("calibration", "val", "test")
"""What a threshold is fitted on comes first: it is applied to the judged pairs."""


def judged_split(items: Mapping[Split, KnownItems]) -> Split | None:
    """The split whose figures count: test, or val where test makes no verification task; test where neither does."""
    there = [split for split in JUDGED_SPLITS if split in items]
    for split in there:
        if why_not_verifiable(items[split].labels) is None:
            return split
    return there[0] if there else None


def _judge_model(
    candidate: Candidate,
    items: Mapping[Split, KnownItems],
    judged: Split,
    questions: Questions,
    divide_over: ProcessGroup | None,
) -> _Found:
    """All figures of one model. The other split comes first: the threshold may be fitted on it."""
    fit = _Fit("calibration" if "calibration" in items else "val")
    if candidate.role == "model":
        fit = fit._replace(applied=_why_no_threshold(items, fit.split, questions))
    others: dict[Split, VerificationResult | Unavailable] = {}
    try:
        for split in FITTED_FIRST:
            if split in candidate.embeddings and split != judged:
                others[split], fit = _judge_other(candidate, split, items[split], fit, questions, divide_over)
                return_freed_memory()
        found = _judge_split(candidate, judged, items[judged], fit, questions, divide_over)
    except ValueError as error:
        raise InputError(f"{candidate.source}: {error}") from error
    return_freed_memory()
    both = others | found.result.verification
    ordered = {split: both[split] for split in FITTED_FIRST if split in both}
    return found._replace(result=found.result.model_copy(update={"verification": ordered}))


def _judge_other(
    candidate: Candidate,
    split: Split,
    known: KnownItems,
    fit: _Fit,
    questions: Questions,
    divide_over: ProcessGroup | None,
) -> tuple[VerificationResult | Unavailable, _Fit]:
    """Verification of a split whose figures do not count, and the thresholds that are fitted on it."""
    reason = why_not_verifiable(known.labels)
    if reason is not None:
        return Unavailable(unavailable=reason), fit
    prepared = prepare(candidate.embeddings[split], known.labels, metric=candidate.metric, groups=known.groups)
    fitting = candidate.role == "model" and split == fit.split
    pairs = verify_embeddings(prepared, fprs=_budgets(questions) if fitting else FPRS, divide_over=divide_over)
    if fitting:
        fit = _fitted(fit, prepared, pairs, questions, divide_over)
    return measures.verification_result(pairs), fit


def _judge_split(
    candidate: Candidate,
    split: Split,
    known: KnownItems,
    fit: _Fit,
    questions: Questions,
    divide_over: ProcessGroup | None,
) -> _Found:
    """All figures of the judged split.

    At N = 100,000 the embeddings are the smaller part of the memory. So retrieval comes first, since what
    verification counts stays until the end, and what was freed is given back after each step.
    """
    resampling = questions.resampling
    searched = SearchedItems(
        candidate.embeddings[split],
        known.labels,
        candidate.metric,
        known.roles,
        known.groups,
        candidate.distractors.get(split),
    )
    prepared = prepare(candidate.embeddings[split], known.labels, metric=candidate.metric, groups=known.groups)
    result = ModelResult(
        name=candidate.name,
        role=candidate.role,
        retrieval=judge_search(searched, prepared, divide_over),
        rankings=judge_rankings(searched, divide_over) if questions.reranked and candidate.role == "model" else {},
    )
    return_freed_memory()
    reason = why_not_verifiable(known.labels)
    if reason is not None:
        nothing = {split: Unavailable(unavailable=reason)}
        return _Found(result.model_copy(update={"verification": nothing}), fit, [], None, None)
    fitting = candidate.role == "model" and split == fit.split
    pairs = verify_embeddings(
        prepared,
        fprs=_budgets(questions) if fitting else FPRS,
        thresholds=_thresholds(candidate, fit, questions),
        divide_over=divide_over,
    )
    return_freed_memory()
    fit = _fitted(fit, prepared, pairs, questions, divide_over) if fitting else fit
    fit = _applied(fit, candidate, split, pairs, questions)
    intervals = None
    if resampling.resamples:
        intervals = bootstrap_verification(prepared, verification=pairs, divide_over=divide_over, **vars(resampling))
        return_freed_memory()
    figures = {split: measures.verification_result(pairs, intervals, resampling.seed)}
    conditions = []
    if candidate.role == "model" and known.conditions:
        fitted_here = questions.threshold is None and (fitting or not isinstance(fit.applied, AppliedThreshold))
        score = fit.applied.threshold if isinstance(fit.applied, AppliedThreshold) else pairs.threshold_at_fpr(FPRS[0])
        conditions = _conditions(prepared, known, score, resampling, fitted_here, divide_over)
    # What is drawn from needs no embeddings: the sorted copy of them would stay.
    return _Found(result.model_copy(update={"verification": figures}), fit, conditions, intervals, pairs.detached())


def _budgets(questions: Questions) -> tuple[float, ...]:
    """The budgets for which thresholds are fitted, the most generous first."""
    return FPRS if questions.target_fpr is None else tuple(sorted({*FPRS, questions.target_fpr}, reverse=True))


def _thresholds(candidate: Candidate, fit: _Fit, questions: Questions) -> tuple[float, ...]:
    """The thresholds that will be applied to the judged pairs, so that they need no visit of their own."""
    if candidate.role != "model":
        return ()
    if questions.threshold is not None:
        return (questions.threshold.threshold,)
    return (fit.applied.threshold,) if isinstance(fit.applied, AppliedThreshold) else ()


def _why_no_threshold(items: Mapping[Split, KnownItems], split: Split, questions: Questions) -> Unavailable | None:
    """Why no threshold can be fitted on that split, where one should be."""
    if questions.threshold is not None or questions.target_fpr is None:
        return None
    if split not in items:
        return Unavailable(unavailable="there is no validation split to choose a threshold on")
    reason = why_not_verifiable(items[split].labels)
    return None if reason is None else Unavailable(unavailable=f"{FITTED_ON[split]} split: {reason}")


FITTED_ON: Final[Mapping[Split, str]] = {"calibration": "calibration", "val": "validation"}
"""How the splits that thresholds are fitted on are called."""


def _fitted(
    fit: _Fit,
    prepared: PreparedEmbeddings,
    pairs: Verification,
    questions: Questions,
    divide_over: ProcessGroup | None,
) -> _Fit:
    """Thresholds fitted on these pairs, or what the given one does to them, where they are those it was fitted on."""
    if questions.threshold is not None:
        told = measures.applied_threshold(questions.threshold, pairs, None) if questions.fitted_here else None
        return fit._replace(applied=told)
    if questions.target_fpr is None:
        return fit

    def fitted(fpr: float, at_most: float = 1.0) -> Threshold:
        """For a budget, letting no more through than ``at_most`` of the pairs at hand."""
        confidence = questions.fpr_confidence
        # Only the run's own budget was asked for with confidence; a stricter one is promised where that can be done.
        if confidence is not None and fpr != questions.target_fpr:
            confidence = confidence if prepared.identities >= identities_needed(fpr, confidence) else None
        found = fit_threshold(
            pairs,
            fpr if confidence is not None else min(fpr, at_most),
            fitted_on=f"{FITTED_ON[fit.split]} pairs",
            prepared=prepared,
            confidence=confidence,
            level=questions.resampling.level,
            divide_over=divide_over,
        )
        return replace(found, target_fpr=fpr)

    own = fitted(questions.target_fpr)
    # Whoever asks for fewer false positives than were promised must not get more.
    most = own.fpr if own.confidence is not None else 1.0
    thresholds = {
        fpr: own if fpr == own.target_fpr else fitted(fpr, most if fpr < own.target_fpr else 1.0)
        for fpr in _budgets(questions)
    }
    told = measures.applied_threshold(own, pairs, None)
    return fit._replace(thresholds=tuple(thresholds.values()), applied=told)


def _applied(fit: _Fit, candidate: Candidate, split: Split, pairs: Verification, questions: Questions) -> _Fit:
    """The threshold with what it does to the judged pairs; those that it was fitted on are told already."""
    if candidate.role != "model":
        return fit
    if questions.threshold is not None and not isinstance(fit.applied, AppliedThreshold):
        return fit._replace(applied=measures.applied_threshold(questions.threshold, None, pairs))
    if split == fit.split or not isinstance(fit.applied, AppliedThreshold):
        return fit
    counts = measures.confusion(pairs.confusion_at(fit.applied.threshold))
    return fit._replace(applied=fit.applied.model_copy(update={"on_test": counts}))


def _conditions(
    prepared: PreparedEmbeddings,
    known: KnownItems,
    score: float,
    resampling: Resampling,
    fitted_here: bool,
    divide_over: ProcessGroup | None,
) -> list[ConditionsResult]:
    """Rates within each value of each condition, all at one threshold."""
    made = measures.made_uncertainty(identities=prepared.identities, **vars(resampling))
    tables = []
    for column, values in known.conditions.items():
        rates = rates_by_condition(prepared, None, values, score, divide_over=divide_over, **vars(resampling))
        tables.append(measures.condition_table(column, rates, prepared.metric, made, fitted_here=fitted_here))
    return tables


def _comparison(candidates: Sequence[Candidate], found: Sequence[_Found], seed: int) -> Comparison | None:
    """The judged model's figures less those of the model that it is compared with."""
    for candidate, other in zip(candidates, found, strict=True):
        if candidate.role == "against" and found[0].intervals is not None and other.intervals is not None:
            return measures.comparison(compare_intervals(found[0].intervals, other.intervals), candidate.name, seed)
    return None


def _some(rows: Array, labels: Array, seed: int) -> tuple[Array, Array]:
    """At most :data:`MAP_ITEMS` of the items."""
    shown = np.arange(len(rows))
    if len(rows) > MAP_ITEMS:
        shown = np.random.default_rng(seed).choice(len(rows), MAP_ITEMS, replace=False)
    return rows[shown], labels[shown]
