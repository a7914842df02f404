"""Do two images show the same thing? A run's network and its threshold answer."""

from pathlib import Path
from typing import NamedTuple

import torch

from triune.data.dataset import as_input
from triune.data.decode import read_image
from triune.distances.embeddings import Metric
from triune.errors import InputError
from triune.pairs.scores import paired_scores, to_distance
from triune.run.folder import ModelCard, load_model
from triune.run.thresholds import read_thresholds
from triune.verification.new_identities import ExpectedFPR
from triune.verification.thresholds import Threshold


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


def verify(run: Path, first: Path, second: Path, target_fpr: float | None = None) -> Verdict:
    """Compare two image files with the network and the threshold of a run.

    Args:
        run: a run folder.
        first: an image file.
        second: another.
        target_fpr: one of the rates the run stored a threshold for; the run's own target where not given.

    Raises:
        InputError: an image or the run cannot be read, the run has no such threshold, or an embedding is not finite.
    """
    threshold = stored_threshold(run, target_fpr)
    model, card = load_model(run)
    images = torch.stack([_load(path, card) for path in (first, second)])
    with torch.inference_mode():
        embedding = model.embed(images).float()
    for path, row in zip((first, second), embedding, strict=True):
        if not torch.isfinite(row).all():
            raise InputError(f"the network of {run} gives no finite embedding of {path}: its training diverged")
    score = float(paired_scores(embedding[:1], embedding[1:], card.metric))
    return Verdict(
        same=bool(threshold.accepts(score)),
        distance=to_distance(score, card.metric),
        threshold=threshold.distance,
        target_fpr=threshold.target_fpr,
        validation_fpr=threshold.fpr,
        metric=card.metric,
        caution=threshold.reason,
        expected=threshold.expected,
        confidence=threshold.confidence,
    )


def stored_threshold(run: Path, target_fpr: float | None = None) -> Threshold:
    """The run's threshold for a false-positive rate, or for the run's own where none is given.

    Raises:
        InputError: the run has none for that rate; the message lists those there are.
    """
    path = run / "thresholds.json"
    stored = read_thresholds(path)
    return stored.at(stored.target_fpr if target_fpr is None else target_fpr, str(path))


def _load(path: Path, card: ModelCard) -> torch.Tensor:
    try:
        return as_input(read_image(path, card.channels, (card.size, card.size), card.image_bits))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error
