"""How a run's images are prepared, as its files say it: what training chose is what every later use does."""

from typing import Annotated, Any, Final

from pydantic import Field

from triune.data.decode import Interpolation
from triune.data.preprocessing import MEAN, STD, Fit, Preprocessing
from triune.files import Record
from triune.ranges import Positive, Side

Mean = Annotated[float, Field(allow_inf_nan=False)]


class StoredPreprocessing(Record):
    """How images are prepared.

    Args:
        size: height and width that the network sees, in pixels.
        fit: how an image of another shape comes into it: squash, pad or crop.
        interpolation: the filter that images are resized by.
        mean: of each channel, in [0, 1].
        std: the standard deviation of each channel.
        boxes: whether of an item with a box the part within it is looked at; of runs before format 3 the whole image.
    """

    size: tuple[Side, Side]
    fit: Fit
    interpolation: Interpolation
    mean: Annotated[tuple[Mean, ...], Field(min_length=1, max_length=3)]
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)]
    boxes: bool

    @property
    def preprocessing(self) -> Preprocessing:
        """What does it."""
        return Preprocessing(self.size, self.fit, self.interpolation, self.mean, self.std)


def prepared_as(card: StoredPreprocessing) -> StoredPreprocessing:
    """Of what a network says of itself, how its images are prepared."""
    return StoredPreprocessing(**{name: getattr(card, name) for name in StoredPreprocessing.model_fields})


def earlier_preprocessing(size: Any, channels: int) -> dict[str, Any]:
    """What every run before format 3 did, as stored.

    Args:
        size: side of the square.
        channels: 3 for RGB, 1 for grey.
    """
    return {"size": (size, size), **EARLIER, "mean": MEAN.get(channels, MEAN[3]), "std": STD.get(channels, STD[3])}


EARLIER: Final = {"fit": "squash", "interpolation": "bicubic", "boxes": False}
