"""How the images of a new run are prepared: what its settings ask for, and what its backbone was trained with."""

from triune.data.preprocessing import MEAN, STD, as_pair
from triune.model.images import own_preprocessing
from triune.run.preprocessing import StoredPreprocessing
from triune.run.settings import TrainConfig


def chosen_preprocessing(config: TrainConfig) -> StoredPreprocessing:
    """What the settings ask for; where they say nothing, the filter, mean and deviation of the backbone's training."""
    channels = config.images.channels
    own = own_preprocessing(config.model.backbone, channels)
    return StoredPreprocessing(
        size=as_pair(config.images.size),
        fit=config.images.fit,
        interpolation=own.interpolation,
        mean=_of_channels(config.images.mean, channels) or own.mean or MEAN[channels],
        std=_of_channels(config.images.std, channels) or own.std or STD[channels],
        boxes=True,
    )


def _of_channels(given: float | tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    """One number for each channel."""
    return given if given is None or isinstance(given, tuple) else (given,) * channels
