"""How the images of a new run are prepared: what its settings ask for, and what its backbone was trained with."""

from triune.data.preprocessing import MEAN, STD, as_pair
from triune.model.images import own_preprocessing
from triune.run.preprocessing import StoredPreprocessing
from triune.run.settings import TrainConfig


def chosen_preprocessing(config: TrainConfig) -> StoredPreprocessing:
    """What the settings ask for: size and fit as they say, the rest as the backbone was trained."""
    own = own_preprocessing(config.model.backbone, config.images.channels)
    return StoredPreprocessing(
        size=as_pair(config.images.size),
        fit=config.images.fit,
        interpolation=own.interpolation,
        mean=own.mean or MEAN[config.images.channels],
        std=own.std or STD[config.images.channels],
        boxes=True,
    )
