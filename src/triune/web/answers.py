"""What the service answers and takes, as types: the OpenAPI document is made of them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from triune.distances.metric import Metric
from triune.ranges import Rate, Share

Number = float | Literal["Infinity", "-Infinity", "NaN"]
"""JSON has no infinity: a threshold that accepts nothing, or everything, is a word."""

Ability = Literal["verify", "predict", "embed", "search", "identify", "enrol"]

Condition = Annotated[
    str | None, Field(max_length=2000, description="a condition that rows meet, such as label = 'cup' and price < 20")
]


class Answer(BaseModel):
    """What is sent back."""

    model_config = ConfigDict(ser_json_inf_nan="strings", frozen=True)


class Options(BaseModel):
    """The fields of a request that hold no image."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(Answer):
    """Why a request was not answered."""

    error: str = Field(description="one line that names the culprit and the way out")
    image: int | None = Field(default=None, description="the place of the image that is to blame, from 0")


class Expected(Answer):
    """The false-positive rate to be expected among new identities, with its interval."""

    estimate: float
    low: float
    high: float
    level: float
    identities: int
    impostors: int


class VerifyOptions(Options):
    """What a pair is judged by."""

    fpr: Rate | None = Field(default=None, description="a false-positive rate; the run's own where not given")


class VerdictAnswer(Answer):
    """Whether two images show the same thing."""

    same: bool
    distance: Number
    threshold: Number = Field(description="the largest distance that is accepted")
    target_fpr: float
    validation_fpr: float
    metric: Metric
    caution: str | None
    expected: Expected | None
    confidence: float | None
    first: str
    second: str
    unfamiliar: list[str] = Field(description="those of the two that look like nothing the run was validated on")
    asked_fpr: float | None


class PredictOptions(Options):
    """Which answers are wanted."""

    masks: bool = Field(default=True, description="whether masks are wanted")
    embeddings: bool = Field(default=False, description="whether embeddings are wanted")


class PredictionAnswer(Answer):
    """What the network says of one image."""

    name: str
    size: tuple[int, int] = Field(description="height and width of the image, upright")
    label: str | None
    probability: float | None
    top: dict[str, float]
    probabilities: dict[str, float] | None = Field(description="of all classes, the most likely first")
    mask_share: float | None
    unfamiliar: bool | None
    embedding: list[float] | None
    mask: str | None = Field(
        description="a grey PNG of mask ids in base64, as large as the image; 255 was not seen",
        json_schema_extra={"format": "byte"},
    )


class PredictAnswer(Answer):
    """What the network says of each image."""

    predictions: list[PredictionAnswer]


class EmbedOptions(Options):
    """There are none."""


class EmbedAnswer(Answer):
    """Embeddings of unit length, one each image."""

    embeddings: list[list[float]]
    dim: int
    metric: Metric
    fingerprint: str = Field(description="of the network: embeddings of two networks cannot be compared")


class Figure(Answer):
    """A figure with the ends of its interval, where one is stored."""

    value: float
    low: float | None = None
    high: float | None = None


class Figures(Answer):
    """What the run's report says of it."""

    split: str | None = None
    level: float | None = Field(default=None, description="of the intervals")
    target_fpr: float | None = None
    auc: Figure | None = None
    eer: Figure | None = None
    tpr_at_fpr: Figure | None = None
    recall_at_1: Figure | None = None
    map_at_r: Figure | None = None
    accuracy: Figure | None = None
    iou: Figure | None = None


class AboutGallery(Answer):
    """The gallery that is served."""

    name: str
    count: int
    identities: int
    labels: int
    columns: dict[str, str]
    version: int


class SearchOptions(Options):
    """What is searched for, and how."""

    k: int = Field(default=10, ge=1, le=1000, description="how many hits")
    where: Condition = None
    diversity: Share = Field(default=0.0, description="how much hits should differ from each other")


class HitAnswer(Answer):
    """A row of the gallery that was found."""

    row: int
    image: str
    label: str | None
    identity: str | None
    score: float
    distance: float
    columns: dict[str, Any]
    thumbnail: str = Field(description="where its small picture is")
    duplicate_of: int | None = Field(description="the row of an earlier hit that it is a copy of")


class HitsAnswer(Answer):
    """What was found for one query, the most alike first."""

    query: str
    hits: list[HitAnswer]


class SearchAnswer(Answer):
    """What was found for each query; one answer to what is liked and disliked."""

    results: list[HitsAnswer]


class IdentifyOptions(Options):
    """Among whom, and at what rate."""

    fpir: Rate = Field(default=0.01, description="the share of strangers' images that are named all the same")
    where: Condition = None


class CandidateAnswer(Answer):
    """An enrolled identity that an image may show."""

    identity: str
    score: float
    distance: float
    image: str


class IdentificationAnswer(Answer):
    """Who is on an image; null where nobody who is enrolled reaches the threshold."""

    query: str
    identity: str | None
    score: float
    candidates: list[CandidateAnswer]


class StrangersAnswer(Answer):
    """Strangers whom the threshold was set by, and what it does to them."""

    who: str
    identities: int
    images: int
    fpir: float
    low: Number
    high: Number
    level: float
    extrapolated: bool


class RuleAnswer(Answer):
    """From which score on somebody is named."""

    threshold: Number
    threshold_distance: Number
    metric: Metric
    fpir: float
    promised_fpir: float | None
    no_promise: str | None
    enrolled_identities: int
    enrolled_images: int
    strangers: list[StrangersAnswer]
    caution: str | None


class IdentifyAnswer(Answer):
    """Who is on each image, and the rule that decides."""

    identifications: list[IdentificationAnswer]
    rule: RuleAnswer


class EnrolOptions(Options):
    """Whom the images show."""

    identity: str = Field(min_length=1, max_length=200, description="whom or what they show")
    label: str | None = Field(default=None, min_length=1, max_length=200, description="their class")
    key: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{8,64}$",
        description="tells the enrolment from others: sent again with the same key, it is done once",
    )


class EnrolAnswer(Answer):
    """What was enrolled."""

    enrolment: str
    identity: str
    images: list[str] = Field(description="what the gallery calls them")
    count: int = Field(description="rows of the gallery now")


class UndoneAnswer(Answer):
    """What was undone."""

    enrolment: str
    removed: int
    count: int = Field(description="rows of the gallery now")


class EnrolmentAnswer(Answer):
    """An enrolment that there is."""

    enrolment: str
    identity: str
    images: int
    time: str = Field(description="UTC, ISO 8601")


class EnrolmentsAnswer(Answer):
    """All of them, the newest first."""

    enrolments: list[EnrolmentAnswer]


class AboutLimits(Answer):
    """What one request may ask."""

    images: int
    image_bytes: int
    bytes: int
    pixels: int
    seconds: float


class AboutAnswer(Answer):
    """What is served."""

    name: str
    version: str = Field(description="of triune")
    backbone: str
    metric: Metric
    dim: int
    classes: list[str]
    masks: bool
    mask_names: list[str] | None = None
    fingerprint: str
    figures: Figures
    gallery: AboutGallery | None
    can: list[Ability]
    limits: AboutLimits
    demo: bool


class Level(Answer):
    """A false-positive rate and the threshold that keeps it."""

    fpr: float
    distance: Number
    validation_fpr: float
    tpr: float
    expected: Expected | None
    exact: bool = Field(description="whether the run stores this threshold, so that /verify can decide by it")


class PairsAnswer(Answer):
    """How far apart validation pairs lie, and the thresholds that they give."""

    metric: Metric
    edges: list[float]
    matching: list[int]
    others: list[int]
    split: str
    levels: list[Level]
    own: int = Field(description="the place of the run's own threshold among the levels")


class Sample(Answer):
    """An image to try."""

    url: str
    label: str | None
    identity: str | None


class SamplesAnswer(Answer):
    """Images to try."""

    images: list[Sample]


class StatusAnswer(Answer):
    """How the service is."""

    status: Literal["alive", "ready"]
