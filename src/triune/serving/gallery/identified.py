"""Who is on an image, of those who are enrolled in a gallery; or nobody of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import polars as pl

from triune.distances.metric import Metric, to_distance
from triune.errors import InputError
from triune.files import on_one_line
from triune.plurals import count as counted, plural
from triune.report.formatting import percent, round_percent
from triune.serving.gallery.strangers import MOST, Strangers, evenly
from triune.serving.gallery.written import shown_path

if TYPE_CHECKING:
    from triune.recognition.strangers import FpirThreshold, StrangerScores

Array: TypeAlias = np.ndarray[Any, Any]

UNKNOWN: Final = "unknown"
"""What stands in a text where nobody is named."""

CANDIDATES: Final = 2
"""The best identity, and the runner-up."""


@dataclass(frozen=True)
class Candidate:
    """An enrolled identity that an image may show.

    Args:
        identity: who it is.
        score: of its most alike image: the cosine similarity, or minus the distance.
        distance: the distance that the score stands for.
        image: that image.
    """

    identity: str
    score: float
    distance: float
    image: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"identity": self.identity, "score": self.score, "distance": self.distance, "image": self.image}


@dataclass(frozen=True)
class IdentificationRule:
    """From which score on somebody is named.

    Args:
        threshold: the score, and what is known and promised of the strangers whom it names.
        identities: how many are enrolled.
        images: how many images of theirs.
        metric: what the scores are.
        no_promise: why nothing is promised; ``None`` where something is.
    """

    threshold: "FpirThreshold"
    identities: int
    images: int
    metric: Metric
    no_promise: str | None

    @property
    def caution(self) -> str | None:
        """Why the rate is not to be leaned on; ``None`` where it is."""
        return self.threshold.reason

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        strangers = [
            {
                "who": each.name,
                "identities": each.identities,
                "images": each.images,
                "fpir": each.fpir,
                "low": each.low,
                "high": each.high,
                "level": each.level,
                "extrapolated": each.extrapolated,
            }
            for each in self.threshold.strangers
        ]
        return {
            "threshold": self.threshold.threshold,
            "threshold_distance": to_distance(self.threshold.threshold, self.metric),
            "metric": self.metric,
            "fpir": self.threshold.target_fpir,
            "promised_fpir": self.threshold.promised_fpir,
            "no_promise": self.no_promise,
            "enrolled_identities": self.identities,
            "enrolled_images": self.images,
            "strangers": strangers,
            "caution": self.caution,
        }

    def short(self) -> list[str]:
        """From which score on somebody is named, and what is promised, in a sentence each; and a caution."""
        threshold, fpir = self.threshold.threshold, round_percent(self.threshold.target_fpir)
        of = plural(self.identities, "identity", "identities")
        told = [f"named from a score of {threshold:.4f} on, of {of}, so that {fpir} of strangers are (FPIR)"]
        if self.threshold.promised_fpir is None:
            told.append("that rate is an estimate, and no promise (--verbose says what it rests on)")
        else:
            told.append(
                f"promised: at most {percent(self.threshold.promised_fpir)}, on average, of strangers who are as the "
                "calibration identities are"
            )
        return told if self.caution is None else [*told, f"caution: {self.caution}"]

    def lines(self) -> list[str]:
        """In full: what it is, what it does to the strangers at hand, and what it promises, in sentences."""
        fpir = self.threshold.target_fpir
        told = [
            f"{plural(self.identities, 'identity', 'identities')} enrolled by {plural(self.images, 'image')}; named "
            f"from a score of {self.threshold.threshold:.4f} on, for FPIR {round_percent(fpir)}"
        ]
        for each in self.threshold.strangers:
            who = f"{counted(each.identities)} {each.name} ({plural(each.images, 'image')})"
            likely = f"{percent(each.low)} to {percent(each.high)}, {round_percent(each.level)} interval"
            told.append(f"of {who}, {percent(each.fpir)} would be named; of others of their kind, {likely}")
        if self.threshold.promised_fpir is not None:
            told.append(
                f"promised: of strangers who are as the calibration identities are, at most "
                f"{percent(self.threshold.promised_fpir)} are named, in the mean over such sets of identities"
            )
        else:
            told.append(f"nothing is promised: {self.no_promise}")
        return told if self.caution is None else [*told, f"caution: {self.caution}"]


@dataclass(frozen=True)
class Identification:
    """Who is on an image.

    Args:
        query: the image, or what it is called.
        identity: who it is; ``None`` where nobody who is enrolled reaches the threshold.
        candidates: the best identity and the runner-up, named or not; the latter is missing where one is enrolled.
        rule: from which score on somebody is named.
    """

    query: str
    identity: str | None
    candidates: tuple[Candidate, ...]
    rule: IdentificationRule

    @property
    def score(self) -> float:
        """Of the best identity."""
        return self.candidates[0].score

    @property
    def threshold(self) -> float:
        """The score from which on it is named."""
        return self.rule.threshold.threshold

    @property
    def runner_up(self) -> Candidate | None:
        """The second best identity."""
        return self.candidates[1] if len(self.candidates) > 1 else None

    def to_dict(self, *, with_rule: bool = True) -> dict[str, Any]:
        """Plain values for JSON; several answers have one rule, which need not be told with each."""
        rule = {"rule": self.rule.to_dict()} if with_rule else {}
        candidates = [each.to_dict() for each in self.candidates]
        return {"query": self.query, "identity": self.identity, "score": self.score, "candidates": candidates, **rule}

    def __repr__(self) -> str:
        best = self.candidates[0]
        who = self.identity if self.identity is not None else f"{UNKNOWN}, closest {best.identity}"
        sign = "≥" if self.identity is not None else "<"
        second = "" if self.runner_up is None else f"; then {self.runner_up.identity} {self.runner_up.score:.4f}"
        return f"<{self.query}: {who}, score {best.score:.4f} {sign} {self.threshold:.4f}{second}>"


@dataclass(frozen=True, eq=False)
class Enrolled:
    """The rows of a gallery that say who is on them.

    Args:
        embeddings: ``(M, D)`` float32.
        identities: ``(M,)`` strings.
        images: ``(M,)`` paths.
        metric: the distance.
    """

    embeddings: Array
    identities: Array
    images: Sequence[str]
    metric: Metric

    @cached_property
    def codes(self) -> Array:
        """``(M,)`` int64: the identities as numbers, which are compared faster."""
        found: Array = np.unique(self.identities, return_inverse=True)[1]
        return found


def enrolled_in(frame: pl.DataFrame, embeddings: Array, metric: Metric, source: str) -> Enrolled:
    """Those rows of a gallery that say who is on them: by ``identity``; where no row has one, by ``label``.

    Args:
        frame: rows.
        embeddings: ``(N, D)`` of all rows of the gallery.
        metric: the distance.
        source: what messages call the gallery.

    Raises:
        InputError: no row says it.
    """
    for name in ("identity", "label"):
        known = frame.filter(pl.col(name).is_not_null())
        if len(known):
            rows = embeddings[known["row"].to_numpy()]
            return Enrolled(rows, known[name].to_numpy().astype(str), known["image"].to_list(), metric)
    if not len(frame):
        raise InputError(f"{source} has no such rows: nobody is enrolled")
    raise InputError(
        f"no row of {source} says who is on it: index a table with a column identity, or add images with --identity "
        "NAME or --folder_is identity"
    )


@dataclass(frozen=True, eq=False)
class StrangersThere:
    """How alike strangers are to the enrolled, which does not depend on the rate that is asked for.

    Args:
        sets: of strangers; none that is empty.
        no_promise: why they can promise nothing; ``None`` where they can.
        none: why there are no strangers of the run, where there are none.
    """

    sets: "tuple[StrangerScores, ...]"
    no_promise: str | None
    none: str | None


def strangers_there(enrolled: Enrolled, strangers: Strangers) -> StrangersThere:
    """Hold strangers against those who are enrolled: validation identities, and each of the enrolled left out in turn.

    Args:
        enrolled: M rows.
        strangers: of the run; one of them who is enrolled is no candidate of itself.
    """
    own = evenly(enrolled.identities, MOST)
    kind = "calibration identities" if strangers.untouched else "validation identities"
    sets = [
        _scores(kind, enrolled, strangers.embeddings, strangers.identities, strangers.untouched),
        _scores(
            "enrolled identities, each as a stranger to the others",
            enrolled,
            enrolled.embeddings[own],
            enrolled.identities[own],
            False,
        ),
    ]
    if strangers.lacking is not None:
        no_promise = (
            f"{strangers.lacking}, so that the only strangers are those who are enrolled, each left out in turn"
        )
    else:
        no_promise = "the validation identities chose the checkpoint, too; identities kept for calibration promise more"
    there = tuple(each for each in sets if len(each.scores))
    return StrangersThere(there, None if strangers.untouched else no_promise, strangers.lacking)


def _scores(name: str, enrolled: Enrolled, rows: Array, identities: Array, exchangeable: bool) -> "StrangerScores":
    from triune.recognition.candidates import best_identities
    from triune.recognition.strangers import StrangerScores

    if not len(rows):
        return StrangerScores(name, np.zeros(0, np.float32), identities, exchangeable)
    found = best_identities(
        rows, enrolled.embeddings, enrolled.identities, k=1, metric=enrolled.metric, leave_out=identities
    )
    others = found.rows[:, 0] >= 0  # nobody is left to be taken for where one alone is enrolled
    return StrangerScores(name, found.scores[others, 0], identities[others], exchangeable)


def rule_for(enrolled: Enrolled, there: StrangersThere, fpir: float, source: str) -> IdentificationRule:
    """From which score on somebody is named.

    Args:
        enrolled: who is.
        there: how alike strangers are to them.
        fpir: the false-positive identification rate.
        source: what messages call the gallery.

    Raises:
        InputError: there are no strangers at all.
    """
    if not there.sets:
        raise InputError(
            f"{source} holds one identity, and {there.none}: there are no strangers to set a threshold by; enrol "
            "others, or use a run with validation identities"
        )
    from triune.recognition.strangers import fpir_threshold

    threshold = fpir_threshold(there.sets, fpir, metric=enrolled.metric)
    count = int(enrolled.codes.max()) + 1
    return IdentificationRule(threshold, count, len(enrolled.identities), enrolled.metric, there.no_promise)


def identified(
    names: Sequence[str], vectors: Array, enrolled: Enrolled, rule: IdentificationRule
) -> list[Identification]:
    """Who is on each image.

    Args:
        names: P, what the images are called.
        vectors: ``(P, D)`` their embeddings.
        enrolled: who is enrolled.
        rule: from which score on somebody is named.
    """
    from triune.recognition.candidates import best_identities

    found = best_identities(vectors, enrolled.embeddings, enrolled.codes, k=CANDIDATES, metric=enrolled.metric)
    answers = []
    for name, scores, rows in zip(names, found.scores.tolist(), found.rows.tolist(), strict=True):
        candidates = tuple(
            Candidate(str(enrolled.identities[row]), score, to_distance(score, enrolled.metric), enrolled.images[row])
            for score, row in zip(scores, rows)
            if row >= 0
        )
        named = candidates[0].score >= rule.threshold.threshold
        answers.append(Identification(name, candidates[0].identity if named else None, candidates, rule))
    return answers


def as_text(found: Sequence[Identification]) -> str:
    """A line each: the image, who it is, the score, and the closest where nobody is named, or the runner-up."""
    lines = []
    for each in found:
        best, second = each.candidates[0], each.runner_up
        who = UNKNOWN if each.identity is None else each.identity
        other = f"closest {best.identity}" if each.identity is None else ""
        if second is not None:
            other += f"{', ' if other else ''}then {second.identity} {second.score:.4f}"
        lines.append([shown_path(each.query), on_one_line(who), f"{best.score:.4f}", on_one_line(other)])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
