"""What a network of Triune says of itself: how it is built, how it reads images, and what its answers are called."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from triune.data.reading import Reading
from triune.distances.metric import Metric
from triune.files import Record
from triune.ranges import Count, PositiveInt, ShareBelowOne
from triune.run.preprocessing import StoredPreprocessing, earlier_preprocessing

FORMAT: Final = 3
"""Of the model card; 1 said no number, and until 2 all images were squashed and normalised as ImageNet's."""


class Network(Record):
    """What rebuilds a network without its weights: arguments of :class:`MultiTaskModel`."""

    backbone: str
    num_classes: Count
    mask_channels: Annotated[int, Field(ge=0, le=255)]
    embedding_dim: Count
    in_channels: Literal[1, 3]
    decoder: str
    decoder_channels: tuple[PositiveInt, ...]
    embedding_stage: int
    pooling: Literal["avg", "gem", "grid", "attention", "token", "token+avg"]
    mask_pooling: bool
    dropout: ShareBelowOne


class ModelCard(StoredPreprocessing):
    """What is needed to rebuild a trained network and to use it as it was trained: also how its images are prepared.

    Args:
        model: the network.
        classes: names of the classification head's outputs.
        channels: 3 for RGB, 1 for grey.
        metric: distance between embeddings.
        image_bits: how many bits of images with more than 8 bits a channel are in use; ``None`` where the training
            data held none, so that each image's own are. The first cards do not say it: all 16 were.
        mask_values: the pixel values of mask files that stand for the ids 0, 1, …; ``None`` where pixels are ids.
    """

    format: Literal[3] = FORMAT
    model: Network
    classes: list[str]
    channels: Literal[1, 3]
    metric: Metric
    image_bits: int | None = 16
    mask_values: tuple[int, ...] | None = None

    @property
    def reading(self) -> Reading:
        """How pixels are read for this network."""
        return Reading(self.image_bits, self.mask_values)

    @model_validator(mode="after")
    def _channels_have_numbers(self) -> "ModelCard":
        if not len(self.mean) == len(self.std) == self.channels == self.model.in_channels:
            raise ValueError(f"mean and std need a number for each of {self.channels} channels")
        return self


def migrated(stored: Any) -> Any:
    """A model card of format 1 or 2 as one of today's; anything else as it is."""
    if not isinstance(stored, dict) or stored.get("format", 1) not in (1, 2):
        return stored
    return {**stored, **earlier_preprocessing(stored["size"], stored["channels"]), "format": FORMAT}
