"""Do two images show the same thing? What a run's stored threshold says of their score."""

from dataclasses import asdict
from typing import Any, NamedTuple

from triune.data.boxes import Box
from triune.distances.metric import Metric, to_distance
from triune.run.thresholds import StoredThresholds
from triune.verification.decision import ExpectedFPR, Threshold


class Verdict(NamedTuple):
    """The answer for one pair of images.

    Args:
        same: whether the pair is accepted.
        distance: between the two embeddings.
        threshold: the largest distance that is accepted.
        target_fpr: the false-positive rate the threshold was set for.
        validation_fpr: the false-positive rate it had on the validation pairs.
        metric: the distance.
        caution: why that rate is not to be leaned on, where the validation pairs were too few to measure it by.
        expected: the false-positive rate to be expected among new identities, where it is known.
        confidence: how sure it is that those see at most ``target_fpr``; ``None`` where nothing is promised.
        first: the one image.
        second: the other.
        unfamiliar: those of the two that look like nothing the run was validated on, where the verdict says little.
        asked_fpr: the rate that was asked for, where no threshold is stored for it and that of a smaller one decided.
        boxes: the parts of the two that were looked at; all of one where ``None``.
    """

    same: bool
    distance: float
    threshold: float
    target_fpr: float
    validation_fpr: float
    metric: Metric
    caution: str | None
    expected: ExpectedFPR | None
    confidence: float | None
    first: str = "image 0"
    second: str = "image 1"
    unfamiliar: tuple[str, ...] = ()
    asked_fpr: float | None = None
    boxes: tuple[Box | None, Box | None] = (None, None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = self._asdict() | {
            "expected": None if self.expected is None else asdict(self.expected),
            "unfamiliar": list(self.unfamiliar),
            "boxes": [None if box is None else box._asdict() for box in self.boxes],
        }
        if self.boxes == (None, None):
            del found["boxes"]
        return found


def verdict(score: float, threshold: Threshold, metric: Metric) -> Verdict:
    """What a threshold says of a pair.

    Args:
        score: of the pair.
        threshold: of scores of the same kind.
        metric: what the scores are.
    """
    return Verdict(
        same=bool(threshold.accepts(score)),
        distance=to_distance(score, metric),
        threshold=threshold.distance,
        target_fpr=threshold.target_fpr,
        validation_fpr=threshold.fpr,
        metric=metric,
        caution=threshold.reason,
        expected=threshold.expected,
        confidence=threshold.confidence,
    )


def threshold_at(stored: StoredThresholds, target_fpr: float | None, source: str) -> Threshold:
    """Of stored thresholds that for a rate, or that of the largest rate below; the run's own where none is given.

    Args:
        stored: what there is.
        target_fpr: the false-positive rate.
        source: what messages call them.

    Raises:
        InputError: none keeps it; the message lists those there are.
    """
    return stored.own(source) if target_fpr is None else stored.within(target_fpr, source)


def replaced_rate(asked: float | None, threshold: Threshold) -> float | None:
    """The rate that was asked for, where a threshold of another one decides in its place; else ``None``."""
    return asked if asked is not None and asked != threshold.target_fpr else None
