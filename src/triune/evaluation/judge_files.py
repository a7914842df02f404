"""A file of embeddings, of listed pairs or of scores, read and judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch.distributed import ProcessGroup

from triune.data.columns import Columns
from triune.data.pair_lists import PairList, read_pairs
from triune.data.problems import DataError
from triune.data.tables import read_cells
from triune.distances.metric import Metric
from triune.errors import InputError
from triune.evaluation import measures
from triune.evaluation.files import (
    Templates,
    other_name,
    read_against,
    read_embeddings,
    read_groups,
    read_labels,
    read_names,
    read_roles,
    read_templates,
    without_identity,
)
from triune.evaluation.judge import Candidate, Judgement, KnownItems, Questions, Resampling, empty_results, judge
from triune.evaluation.results import NAMES, DataSummary, FoldsResult, ModelResult, ScoreKind
from triune.evaluation.search import Roles
from triune.pairs.listed import score_pairs
from triune.parallel.command import check_same
from triune.parallel.group import read_by_all
from triune.run.thresholds import read_thresholds
from triune.verification.all_pairs import why_not_verifiable
from triune.verification.decision import Threshold, without_promise
from triune.verification.folds import cross_validated_accuracy
from triune.verification.roc import verify_scores

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class EmbeddingFiles:
    """Files that describe N items, row by row.

    Args:
        embeddings: ``.npy`` of shape ``(N, D)``.
        labels: ``.npy`` of shape ``(N,)``, or a text file with one label a line.
        groups: CSV of N rows in the same order; each column is a condition (camera, breed) whose values are compared.
            The columns ``is_query`` and ``is_gallery`` are none: retrieval follows them, and with them the column
            ``camera``. They may stand in a Parquet file of ``embeddings``, too.
        exclude: the column of ``groups`` that says where an item comes from (photo session, video, camera): pairs
            within one are no test, and are left out; of rankings, only a query's relevant items are.
        against: another model's embeddings of the same items, ``(N, E)``.
        threshold: ``thresholds.json`` of a run, or one :meth:`Threshold.as_dict` as JSON, to be applied to these pairs.
        templates: CSV of N rows; embeddings of one ``template`` are averaged, and templates are judged in their place.
    """

    embeddings: Path
    labels: Path
    groups: Path | None = None
    exclude: str | None = None
    against: Path | None = None
    threshold: Path | None = None
    templates: Path | None = None


@dataclass(frozen=True)
class PairFiles:
    """Embeddings and a list of pairs of them.

    Args:
        embeddings: ``.npy`` of shape ``(N, D)``.
        pairs: CSV with ``first``, ``second``, ``match`` and maybe ``fold``, or LFW's ``pairs.txt``.
        names: text file with the N names that the list calls the rows by; where not given, ``0`` to ``N − 1``.
        templates: CSV of N rows; embeddings of one ``template`` are averaged, and the list calls templates by its ids.
    """

    embeddings: Path
    pairs: Path
    names: Path | None = None
    templates: Path | None = None


def evaluate_embeddings(
    files: EmbeddingFiles,
    metric: Metric = "cosine",
    resampling: Resampling | None = None,
    *,
    reranked: bool = False,
    divide_over: ProcessGroup | None = None,
) -> Judgement:
    """Exact verification and retrieval of embeddings from any model.

    Args:
        files: the embeddings and what is known of the items.
        metric: the distance.
        resampling: how intervals are made; as :class:`Resampling` has it where not given.
        reranked: judge retrieval with expanded items and with k-reciprocal re-ranking as well.
        divide_over: processes that share the work; each reads the files, and all get the same.

    Raises:
        InputError: a file cannot be read, or does not fit the others.
    """
    if reranked and files.exclude is not None:
        raise InputError("--rerank judges whole rankings: leave --exclude away")
    candidates, items, threshold = read_by_all(lambda: _read(files, metric), divide_over)
    contents = {each.source: each.embeddings["test"] for each in candidates} | {str(files.labels): items.labels}
    contents |= {f"{files.groups}, column {name},": values for name, values in items.conditions.items()}
    if items.roles is not None:
        contents |= {name: values for name, values in vars(items.roles).items() if values is not None}
    check_same(contents | ({} if items.groups is None else {f"{files.groups}, --exclude": items.groups}), divide_over)
    questions = Questions(resampling=resampling or Resampling(), reranked=reranked, threshold=threshold)
    summary = empty_results(files.embeddings.stem, DataSummary(source=str(files.embeddings), split="given"), metric)
    return judge(candidates, {"test": items}, questions, summary, divide_over)


def folds_of(listed: PairList, names: Sequence[str], rows: Array, metric: Metric) -> FoldsResult | None:
    """Accuracy and TPR@FPR over the folds of a list of pairs; ``None`` where it has none.

    Args:
        listed: the pairs.
        names: N names by which they call the rows.
        rows: ``(N, D)`` embeddings.
        metric: the distance.

    Raises:
        InputError: a pair's image has no row, or the folds are too few or too small.
    """
    if listed.folds is None:
        return None
    first, second = listed.rows(names)
    try:
        scores = score_pairs(rows, first, second, metric).numpy()
        return measures.folds_result(cross_validated_accuracy(scores, listed.is_match, np.array(listed.folds)))
    except ValueError as error:
        raise InputError(f"{listed.source}: {error}") from error


def evaluate_pairs(files: PairFiles, metric: Metric = "cosine") -> Judgement:
    """Exact verification of listed pairs of embeddings, over folds where the list has them.

    Args:
        files: the embeddings and the list.
        metric: the distance.

    Raises:
        InputError: a file cannot be read, or does not fit the others.
    """
    rows = read_embeddings(files.embeddings)
    if files.templates is not None:
        if files.names is not None:
            raise InputError("--names calls images, --templates sets of them: leave one away")
        sets = read_templates(files.templates, len(rows), files.embeddings)
        rows, called = sets.pooled(rows, files.embeddings), np.unique(sets.template).tolist()
    elif files.names is not None:
        called = read_names(files.names, len(rows), files.embeddings)
    else:
        called = [str(i) for i in range(len(rows))]
    listed = read_pairs(files.pairs)
    first, second = listed.rows(called)
    try:
        scores = score_pairs(rows, first, second, metric).numpy()
    except ValueError as error:
        raise InputError(f"{files.embeddings}: {error}") from error
    pairs = _ListedScores(scores, listed.is_match, listed.folds, metric)
    return _judge_list(pairs, files.embeddings.stem, files.pairs)


def evaluate_scores(path: Path) -> Judgement:
    """Exact verification of a list of scored pairs, over folds where the list has them.

    Args:
        path: CSV with a column ``score`` (higher is more alike) or ``distance``, ``match`` (1/0, true/false, yes/no),
            and maybe ``fold``.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    table = read_cells(path, Columns(known=("score", "distance", "match", "fold"), needed=("match",)))
    kinds: tuple[ScoreKind, ...] = ("score", "distance")
    found = [name for name in kinds if name in table.frame.columns]
    if len(found) > 1:
        raise InputError(f"{path} has both columns score and distance: remove one, since only one is judged")
    if not found:
        names = ", ".join(table.frame.columns)
        raise InputError(f"{path} has the columns {names}; score (or distance) and match are needed")
    column = found[0]
    if table.problems:
        raise DataError(table.problems)
    match, values = table.flags("match"), table.numbers(column)
    scores = values if column == "score" else -values
    folds = tuple(table.words("fold")) if "fold" in table.frame.columns else None
    return _judge_list(_ListedScores(scores, match, folds, column), path.stem, path)


@dataclass(frozen=True)
class _ListedScores:
    """Scored pairs: ``(P,)`` scores and flags, and maybe P names of folds."""

    scores: Array
    is_match: Array
    folds: tuple[str, ...] | None
    metric: ScoreKind


def _judge_list(pairs: _ListedScores, name: str, source: Path) -> Judgement:
    """Figures of the pairs, and over the folds; identities are not known, so there are no intervals."""
    try:
        found = verify_scores(pairs.scores, pairs.is_match)
        folds = None
        if pairs.folds is not None:
            folds = cross_validated_accuracy(pairs.scores, pairs.is_match, np.array(pairs.folds))
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    model = ModelResult(name=NAMES["model"], role="model", verification={"test": measures.verification_result(found)})
    results = empty_results(name, DataSummary(source=str(source), split="given"), pairs.metric).model_copy(
        update={"models": [model], "folds": None if folds is None else measures.folds_result(folds)}
    )
    return Judgement(results, {model.name: found})


def _read(files: EmbeddingFiles, metric: Metric) -> tuple[list[Candidate], KnownItems, Threshold | None]:
    """The models, the items, and the threshold that is given."""
    rows = read_embeddings(files.embeddings)
    images, sets = len(rows), None
    alone = files.groups is None and files.templates is None and files.against is None
    nameless = without_identity(files.labels, files.embeddings) if alone else None
    roles = None if nameless is None else read_roles(None, files.embeddings, images)
    if nameless is not None and roles is not None:
        return _with_distractors(files, metric, rows, nameless, roles)
    labels = read_labels(files.labels, images, files.embeddings)
    if files.templates is not None:
        if files.groups is not None:
            raise InputError("--groups describes images, --templates judges sets of them: leave one away")
        sets = read_templates(files.templates, images, files.embeddings)
        labels = sets.labels(labels, files.labels)
        rows = sets.pooled(rows, files.embeddings)
    conditions = {} if files.groups is None else read_groups(files.groups, len(rows), files.embeddings)
    roles = read_roles(files.groups, files.embeddings if sets is None else None, len(rows))
    groups = None
    if files.exclude is not None:
        if files.exclude not in conditions:
            known = f"{files.groups} has the columns {', '.join(conditions)}" if files.groups else "give it by --groups"
            raise InputError(f"--exclude names the column {files.exclude!r}: {known}")
        groups = conditions.pop(files.exclude)
    reason = why_not_verifiable(labels)
    if reason is not None:
        raise InputError(f"{files.labels}: {reason}")
    candidates = [Candidate(NAMES["model"], "model", metric, {"test": rows}, str(files.embeddings))]
    if files.against is not None:
        candidates.append(_read_other(files.against, files.embeddings, images, sets, metric))
    return candidates, KnownItems(labels, conditions, groups, roles), _threshold(files, metric)


def _with_distractors(
    files: EmbeddingFiles, metric: Metric, rows: Array, nameless: Array, roles: Roles
) -> tuple[list[Candidate], KnownItems, Threshold | None]:
    """The same where items have no identity: as of a run those of the gallery are nobody's match, and of no pair.

    Args:
        files: a Parquet file of embeddings alone.
        metric: the distance.
        rows: ``(N, D)`` embeddings.
        nameless: ``(N,)`` which have no identity.
        roles: of all N.
    """
    known = ~nameless
    labels = read_labels(files.labels, int(known.sum()), files.embeddings, known)
    reason = why_not_verifiable(labels)
    if reason is not None:
        raise InputError(f"{files.labels}: {reason}")
    nobody = rows[nameless & roles.is_gallery]
    model = Candidate(NAMES["model"], "model", metric, {"test": rows[known]}, str(files.embeddings), {"test": nobody})
    cameras = None if roles.cameras is None else roles.cameras[known]
    items = KnownItems(labels, {}, None, Roles(roles.is_query[known], roles.is_gallery[known], cameras))
    return [model], items, _threshold(files, metric)


def _threshold(files: EmbeddingFiles, metric: Metric) -> Threshold | None:
    # Whether these embeddings are of the network that it was fitted for is not known: what was promised falls away.
    return None if files.threshold is None else without_promise(read_threshold(files.threshold, metric))


def _read_other(path: Path, embeddings: Path, images: int, sets: Templates | None, metric: Metric) -> Candidate:
    """The model that is compared with."""
    rows = read_against(path, images, embeddings)
    rows = rows if sets is None else sets.pooled(rows, path)
    return Candidate(other_name(path, embeddings), "against", metric, {"test": rows}, str(path))


def read_threshold(path: Path, metric: Metric) -> Threshold:
    """A threshold that was fitted elsewhere, for scores of this metric.

    Raises:
        InputError: the file cannot be read, holds none, or one of other scores.
    """
    stored = read_thresholds(path)
    fitted = stored.own(str(path))
    if fitted.metric != metric:
        raise InputError(f"{path} holds a threshold of {fitted.metric} scores: evaluate with --metric {fitted.metric}")
    return fitted
