"""Do two images show the same thing? A run's network and its threshold answer."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from triune.data.dataset import as_input
from triune.data.decode import read_image
from triune.distances.embeddings import Metric
from triune.errors import InputError
from triune.pairs.scores import paired_scores, to_distance
from triune.run.folder import load_model, read_json


class Verdict(NamedTuple):
    """The answer for one pair of images.

    Args:
        same: whether the pair is accepted.
        distance: between the two embeddings.
        threshold: the largest distance that is accepted.
        target_fpr: the false-positive rate the threshold was set for.
        validation_fpr: the false-positive rate it had on the validation pairs.
        metric: the distance.
    """

    same: bool
    distance: float
    threshold: float
    target_fpr: float
    validation_fpr: float
    metric: str


def verify(run: Path, first: Path, second: Path, target_fpr: float | None = None) -> Verdict:
    """Compare two image files with the network and the threshold of a run.

    Args:
        run: a run folder.
        first, second: image files.
        target_fpr: one of the rates the run stored a threshold for; the run's own target where not given.

    Raises:
        InputError: an image or the run cannot be read, or the run has no such threshold.
    """
    point = stored_threshold(run, target_fpr)
    model, card = load_model(run)
    images = torch.stack([_load(path, card.size, card.channels) for path in (first, second)])
    with torch.inference_mode():
        embedding = model.embed(images).float()
    metric: Metric = card.metric  # type: ignore[assignment]
    score = float(paired_scores(embedding[:1], embedding[1:], metric))
    return Verdict(
        same=score >= float(point["threshold"]),
        distance=to_distance(score, metric),
        threshold=point["distance"],
        target_fpr=point["target_fpr"],
        validation_fpr=point["fpr"],
        metric=card.metric,
    )


def stored_threshold(run: Path, target_fpr: float | None = None) -> dict[str, Any]:
    """The run's threshold for a false-positive rate: ``distance``, ``target_fpr`` and the ``fpr`` it really had.

    Raises:
        InputError: the run has none for that rate; the message lists those there are.
    """
    stored = read_json(run / "thresholds.json")
    if "unavailable" in stored:
        raise InputError(f"{run} has no threshold: {stored['unavailable']}")
    target = float(stored["target_fpr"] if target_fpr is None else target_fpr)
    for fpr, point in stored["all"].items():
        if float(fpr) == target:
            return {**point, "target_fpr": target}
    known = ", ".join(stored["all"])
    raise InputError(f"{run} has no threshold for FPR {target:g}; it has them for {known}")


def _load(path: Path, size: int, channels: int) -> torch.Tensor:
    try:
        return as_input(read_image(path, channels, (size, size)))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error
