"""How large a batch is and how many images of an identity are in it, where the settings leave that to the data."""

from collections.abc import Sequence
from statistics import median_low
from typing import NamedTuple

from triune.run.settings import DEFAULT_BATCH, DEFAULT_SAMPLES, TrainConfig


class Batches(NamedTuple):
    """What a batch is made of.

    Args:
        size: its images.
        samples_per_class: those of an identity (K).
        reason: why the data ask for something else than the defaults; empty where they do not.
    """

    size: int
    samples_per_class: int
    reason: str = ""


def batches_for(config: TrainConfig, counts: Sequence[int], nameless: int = 0) -> Batches:
    """The numbers of the settings, and in the place of 'auto' what suits the data.

    Of an identity no more images are in a batch than half of the identities have: repeating them would fill the batch
    with pairs of one and the same image, and leave room for fewer identities. Two identities fit into a batch, so that
    there are others to be told from. A batch holds no more images than there are.

    Args:
        config: the settings.
        counts: images of each training identity.
        nameless: training images without an identity.
    """
    size, samples = config.images_a_batch, config.images_an_identity
    # An identity gives a pair, where pairs are asked for.
    usable = [count for count in counts if count >= min(2, samples)]
    if len(usable) < 2:
        return Batches(size, samples)
    reasons = []
    if config.samples_per_class == "auto":
        most = median_low(usable)
        samples = min(samples, most, max(2, size // 2))
        if samples < DEFAULT_SAMPLES:
            why = "since half of them have no more" if samples == most else "so that two identities fit into it"
            if size >= 2 * samples or samples == most:
                reasons.append(f"{samples} images of an identity in a batch, {why}")
    there_are = max(sum(usable) + nameless, samples * len(usable))
    if config.batch_size == "auto":
        size = min(size, there_are)
        if size < DEFAULT_BATCH:
            reasons.append(f"batches of {size} images, since there are no more")
    elif size > there_are:
        reasons.append(
            f"batches of {size} images hold images several times: --batch_size {there_are} holds all there are"
        )
    return Batches(size, samples, "; ".join(reasons))
