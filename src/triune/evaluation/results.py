"""What a judgement found: one tree of typed values that `metrics.json` holds and every page, table and figure reads.

Written with :meth:`Results.write` and read with :meth:`Results.read`; a damaged or foreign file is one line that names
the file and the field.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from triune.evaluation.earlier import migrated
from triune.files import Record, read_record, write_record
from triune.run.facts import TrainingFacts as TrainingFacts
from triune.verification.decision import ExpectedFPR

FORMAT: Final = 2
"""Of the file; 1 was the untyped dictionary of version 0.1.0's first runs."""

SHOWN_CLASSES: Final = 10
"""So many classes a sentence names."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Split = Literal["train", "val", "calibration", "test", "holdout"]
ScoreKind = Literal["cosine", "euclidean", "squared_euclidean", "score", "distance"]
"""What the scores of pairs are: the cosine similarity, minus one of the distances, or a list's own column."""
Role = Literal["model", "pixels", "untrained", "pretrained", "against"]
"""The model that is judged, a baseline, or another model that it is compared with."""


NAMES: Final[dict[Role, str]] = {
    "model": "this model",
    "pixels": "raw pixels",
    "untrained": "untrained backbone",
    "pretrained": "pretrained backbone",
}
"""What people call each; another model that this one is compared with is called after its file or run."""


class Unavailable(Record):
    """Stands where there is nothing to measure, and says why."""

    unavailable: str


class Interval(Record):
    """Ends of a confidence interval; its level stands in the :class:`Uncertainty` of the same result."""

    low: float
    high: float


class Uncertainty(Record):
    """How the intervals of a result were made: identities drawn with replacement, ``resamples`` times.

    ``resamples`` is 0 where none were asked for. Where there are too few identities to lean on the intervals,
    ``reliable`` is false and ``reason`` says why.
    """

    level: Share
    resamples: Count
    identities: Count
    seed: int
    reliable: bool = True
    reason: str | None = None


class OperatingPoint(Record):
    """What a false-positive budget gives: see :class:`triune.verification.roc.OperatingPoint`.

    ``interval`` is that of the TPR.
    """

    target_fpr: Share
    threshold: float
    tpr: float
    fpr: float
    reliable: bool
    reason: str | None = None
    interval: Interval | None = None


class Curve(Record):
    """A ROC thinned to about a thousand of its own points, from FPR 0 to 1; all lists of one length."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float]


class Histogram(Record):
    """How many pairs of each kind score within each bin: ``(B + 1,)`` edges, ``(B,)`` counts."""

    edges: list[float]
    matches: list[int]
    impostors: list[int]


class VerificationResult(Record):
    """The exact ROC of a set of pairs and its figures."""

    matches: Count
    impostors: Count
    auc: float
    auc_interval: Interval | None = None
    eer: float
    eer_interval: Interval | None = None
    points: list[OperatingPoint]
    """One for each budget of :data:`triune.verification.roc.FPRS`, the most generous first."""
    roc: Curve
    histogram: Histogram | None = None
    uncertainty: Uncertainty | None = None

    def at(self, fpr: float) -> OperatingPoint:
        """The operating point of a budget."""
        return next(point for point in self.points if point.target_fpr == fpr)


class SearchRoles(Record):
    """Which items were queries and which the gallery, where the columns is_query and is_gallery say it.

    Args:
        queries: how many items asked.
        gallery: how many answered, distractors among them.
        distractors: how many of those have no identity, and are nobody's match.
        same_camera: whether items of a query's identity by its own camera were left out of its ranking.
    """

    queries: Count
    gallery: Count
    distractors: Count = 0
    same_camera: bool = False


class RetrievalResult(Record):
    """Retrieval figures: see :class:`triune.retrieval.metrics.RetrievalMetrics`, whose fields these are."""

    queries: Count
    left_out: Count
    recall_at: dict[int, float]
    precision_at: dict[int, float]
    r_precision: float
    map_at_r: float
    mrr: float
    map: float
    map_at: dict[int, float] = Field(default_factory=dict)
    map_at_over_hits: dict[int, float] = Field(default_factory=dict)
    ndcg_at: dict[int, float] = Field(default_factory=dict)
    cmc: list[float] = Field(default_factory=list)
    """The share of queries with a hit among the first 1, 2, … (cumulative match characteristic)."""
    roles: SearchRoles | None = None
    """Who asked and who answered; every item was both where it is not given."""


class ModelResult(Record):
    """All that was found of one source of embeddings or scores.

    Args:
        name: what people call it, one of :data:`NAMES` or what the other model's file or run is called.
        role: why it is there.
        verification: by split.
        retrieval: of the judged split.
        rankings: the same with other rankings of the very same embeddings, by name: ``expanded``, ``re-ranked``.
    """

    name: str
    role: Role
    verification: dict[Split, VerificationResult | Unavailable] = Field(default_factory=dict)
    retrieval: RetrievalResult | Unavailable | None = None
    rankings: dict[str, RetrievalResult] = Field(default_factory=dict)

    def judged(self) -> tuple[Split, VerificationResult] | None:
        """The split whose figures count and those figures: test, or val where test has none."""
        for split in JUDGED_SPLITS:
            found = self.verification.get(split)
            if isinstance(found, VerificationResult):
                return split, found
        return None


JUDGED_SPLITS: Final[tuple[Split, ...]] = ("test", "val")
"""The splits whose figures may count, the preferred one first."""


class Difference(Record):
    """This model's figure minus the other's, with its interval and two-sided p-value."""

    estimate: float
    low: float
    high: float
    p_value: float


class Comparison(Record):
    """Two models on the same pairs; identities are resampled for both at once."""

    against: str
    uncertainty: Uncertainty
    auc: Difference
    eer: Difference
    tpr_at_fpr: dict[float, Difference]


class Confusion(Record):
    """Pairs accepted and rejected at a threshold, and their rates: see :class:`triune.verification.roc.Confusion`."""

    tp: Count
    fp: Count
    tn: Count
    fn: Count
    tpr: float
    fpr: float
    precision: float
    accuracy: float


class AppliedThreshold(Record):
    """The threshold that a model is used with, and what it does.

    Args:
        metric: what the scores are.
        target_fpr: the budget that it was fitted for.
        threshold: a score; pairs that score at least this are accepted. ±inf accepts none, or all.
        distance: the same for people: the largest distance that is accepted.
        fitted_on: the pairs that it was fitted on, in words: ``validation pairs``.
        on_fitted: what it does to those, where they were at hand.
        on_test: what it does to the pairs judged here.
        expected: the false-positive rate to be expected among new identities, where it is known.
        confidence: how sure it is that those see at most ``target_fpr``; ``None`` where nothing is promised.
    """

    metric: ScoreKind
    target_fpr: Share
    threshold: float
    distance: float
    fitted_on: str
    on_fitted: Confusion | None = None
    on_test: Confusion | None = None
    expected: ExpectedFPR | None = None
    confidence: Share | None = None


class Rate(Record):
    """A rate with the ends of its interval; NaN where there is none."""

    estimate: float
    low: float
    high: float


class ConditionResult(Record):
    """The pairs within one value of a condition; ``reliable`` is false where its intervals rest on few identities."""

    condition: str
    items: Count
    identities: Count
    matches: Count
    impostors: Count
    tpr: Rate
    fpr: Rate
    reliable: bool = True


class Inequity(Record):
    """How unequal a rate is: see :class:`triune.verification.conditions.Inequity`."""

    max_over_min: float
    max_over_mean: float
    worst: str | None = None


class ConditionsResult(Record):
    """TPR and FPR by the values of one column, all at one threshold."""

    column: str
    threshold: float
    distance: float
    fitted_here: bool
    uncertainty: Uncertainty
    rows: list[ConditionResult]
    inequity: dict[Literal["fpr", "fnr"], Inequity]


class Estimate(Record):
    """A mean over folds and its standard error."""

    mean: float
    standard_error: float


class FoldRates(Record):
    """TPR and FPR in the folds left out, at thresholds that keep a budget on the others."""

    tpr: Estimate
    fpr: Estimate
    reliable: bool


class FoldsResult(Record):
    """Accuracy and TPR@FPR over the folds of a list of pairs."""

    names: list[str]
    accuracy: Estimate
    accuracies: list[float]
    tpr_at_fpr: dict[float, FoldRates]


class ClassResult(Record):
    """Accuracy and confusion matrix ``(C, C)``, true class by predicted class, of the items of a split.

    Items of a class that was never trained can only be answered wrongly: they are not among ``items``, but counted here
    by class.
    """

    split: Split
    items: Count
    accuracy: Share
    classes: list[str]
    confusion: list[list[int]]
    untrained: dict[str, int] = Field(default_factory=dict)

    def left_out(self) -> str | None:
        """A sentence on the items of classes that were never trained; ``None`` without any."""
        if not self.untrained:
            return None
        names = sorted(self.untrained)
        listed = ", ".join(names[:SHOWN_CLASSES]) + (", …" if len(names) > SHOWN_CLASSES else "")
        count, classes = sum(self.untrained.values()), "class was" if len(names) == 1 else "classes were"
        return f"{count} more {self.split} images are left out: their {classes} never trained ({listed})"


class MaskResult(Record):
    """Intersection over union and Dice; of the foreground alone, or the mean over several ids."""

    split: Split
    items: Count
    iou: float
    dice: float
    per_channel: list[float]


class SplitCounts(Record):
    """What a split holds.

    Args:
        images: how many.
        identities: how many.
        classes: how many.
        nameless: images without an identity.
        trained: how many of the identities were trained on.
    """

    images: Count
    identities: Count
    classes: Count
    nameless: Count = 0
    trained: Count = 0


class DataSummary(Record):
    """What was judged."""

    source: str
    split: Literal["open-set", "closed-set", "given"] | None = None
    splits: dict[Split, SplitCounts] = Field(default_factory=dict)
    classes: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    """What was left out of the data or decided about them, in sentences."""
    mask_values: list[int] | None = None
    """The pixel values of mask files that stand for the ids 0, 1, …; ``None`` where pixels are ids."""


class Results(Record):
    """The content of ``metrics.json``."""

    format: Literal[2] = FORMAT
    triune: str
    name: str
    created: str
    """UTC, ISO 8601."""
    data: DataSummary
    metric: ScoreKind
    models: list[ModelResult]
    """The judged model first."""
    threshold: AppliedThreshold | Unavailable | None = None
    comparison: Comparison | None = None
    conditions: list[ConditionsResult] = Field(default_factory=list)
    folds: FoldsResult | None = None
    classification: ClassResult | Unavailable | None = None
    segmentation: MaskResult | Unavailable | None = None
    training: TrainingFacts | None = None

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_record(path, self)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote, or what the first runs of version 0.1.0 wrote.

        Raises:
            InputError: it is missing, damaged or another file; the message names the field.
        """
        return read_record(path, cls, migrated)
