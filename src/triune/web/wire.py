"""What the service answers in JSON, as the objects that a loaded run and a gallery give."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from triune.recognition.named_strangers import FpirThreshold, StrangersNamed
from triune.serving.answers import ImagePrediction
from triune.serving.gallery.hits import Hit, Hits
from triune.serving.gallery.identified import Candidate, Identification, IdentificationRule
from triune.serving.verdicts import Verdict
from triune.verification.decision import ExpectedFPR

Array: TypeAlias = np.ndarray[Any, Any]
Told: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Enrolment:
    """Images that were added to a gallery together, and can be removed together.

    Args:
        id: what it is undone by.
        identity: what they show.
        images: what they are called in the gallery.
        count: how many images the gallery held then.
    """

    id: str
    identity: str
    images: tuple[str, ...]
    count: int


def number(told: Any) -> float:
    """A number of an answer; JSON knows no infinity, so that it comes as a word.

    Raises:
        TypeError, ValueError: it is none.
    """
    return float(told)


def verdict_of(told: Told, first: str, second: str) -> Verdict:
    """What :meth:`~triune.serving.verdicts.Verdict.to_dict` made of a verdict.

    Args:
        told: the answer.
        first: what the one image is called here.
        second: the other.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    expected = told["expected"]
    here = {told["first"]: first, told["second"]: second}
    return Verdict(
        same=bool(told["same"]),
        distance=number(told["distance"]),
        threshold=number(told["threshold"]),
        target_fpr=number(told["target_fpr"]),
        validation_fpr=number(told["validation_fpr"]),
        metric=told["metric"],
        caution=told["caution"],
        expected=None if expected is None else ExpectedFPR(**expected),
        confidence=told["confidence"],
        first=first,
        second=second,
        unfamiliar=tuple(here[name] for name in told["unfamiliar"]),
        asked_fpr=told["asked_fpr"],
    )


def prediction_of(told: Told, name: str) -> ImagePrediction:
    """What the service says of one image.

    Args:
        told: the answer.
        name: what the image is called here.

    Raises:
        KeyError, TypeError, ValueError, OSError: it is no such answer.
    """
    height, width = told["size"]
    shares = told["probabilities"]
    embedding = told["embedding"]
    return ImagePrediction(
        name,
        (int(height), int(width)),
        None if shares is None else {str(label): number(share) for label, share in shares.items()},
        None if told.get("mask") is None else mask_of(told["mask"]),
        None if embedding is None else np.asarray(embedding, np.float32),
        told["unfamiliar"],
    )


def mask_of(told: str) -> Array:
    """Mask ids ``(H, W)`` uint8 from a grey PNG in base64.

    Raises:
        ValueError, OSError: it is none.
    """
    with Image.open(io.BytesIO(base64.b64decode(told, validate=True)), formats=["PNG"]) as image:
        if image.mode != "L":
            raise ValueError(f"a mask of the kind {image.mode}, where L is needed")
        return np.array(image)


def hits_of(told: Told, query: str) -> Hits:
    """What was found for one query.

    Args:
        told: the answer.
        query: what was looked for, as it is called here.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    return Hits(query, tuple(_hit(each) for each in told["hits"]))


def _hit(told: Told) -> Hit:
    return Hit(
        int(told["row"]),
        told["image"],
        told["label"],
        told["identity"],
        number(told["score"]),
        number(told["distance"]),
        dict(told["columns"]),
    )


def rule_of(told: Told) -> IdentificationRule:
    """What :meth:`~triune.serving.gallery.identified.IdentificationRule.to_dict` made of a rule.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    strangers = tuple(
        StrangersNamed(
            each["who"],
            int(each["identities"]),
            int(each["images"]),
            number(each["fpir"]),
            number(each["low"]),
            number(each["high"]),
            number(each["level"]),
            bool(each["extrapolated"]),
        )
        for each in told["strangers"]
    )
    threshold = FpirThreshold(number(told["threshold"]), number(told["fpir"]), told["promised_fpir"], strangers)
    counts = int(told["enrolled_identities"]), int(told["enrolled_images"])
    return IdentificationRule(threshold, *counts, told["metric"], told["no_promise"])


def identification_of(told: Told, query: str, rule: IdentificationRule) -> Identification:
    """Who is on one image.

    Args:
        told: the answer.
        query: what the image is called here.
        rule: of all images of the request.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    candidates = tuple(
        Candidate(each["identity"], number(each["score"]), number(each["distance"]), each["image"])
        for each in told["candidates"]
    )
    if not candidates:
        raise ValueError("no candidate")
    return Identification(query, told["identity"], candidates, rule)


def enrolment_of(told: Told) -> Enrolment:
    """What became of images that were enrolled.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    return Enrolment(str(told["enrolment"]), told["identity"], tuple(told["images"]), int(told["count"]))


def embeddings_of(told: Told, names: Sequence[str]) -> list[Array]:
    """An embedding ``(D,)`` float32 an image.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    rows = np.asarray(told["embeddings"], np.float32)
    if rows.ndim != 2 or len(rows) != len(names):
        raise ValueError(f"{len(names)} images, but embeddings of shape {rows.shape}")
    return list(rows)


def predictions_of(told: Told, names: Sequence[str]) -> list[ImagePrediction]:
    """What is said of each image; raises as :func:`prediction_of`."""
    return [prediction_of(each, name) for each, name in zip(told["predictions"], names, strict=True)]


def found_of(told: Told, names: Sequence[str]) -> list[Hits]:
    """What was found for each image; raises as :func:`hits_of`."""
    return [hits_of(each, name) for each, name in zip(told["results"], names, strict=True)]


def liked_of(told: Told, _: Sequence[str]) -> list[Hits]:
    """What is most like several images: one answer, which the service names; raises as :func:`hits_of`."""
    (found,) = told["results"]
    return [hits_of(found, found["query"])]


def identifications_of(told: Told, names: Sequence[str]) -> list[Identification]:
    """Who is on each image; raises as :func:`identification_of`."""
    rule = rule_of(told["rule"])
    return [identification_of(each, name, rule) for each, name in zip(told["identifications"], names, strict=True)]
