"""Which random changes a training image goes through: settings alone, cheap to import."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from triune.ranges import AtLeastOne, NonNegative, PositiveShare, Share, ShareBelowOne


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes made to a training image and its mask together; each is off at 0 (``crop``: at 1).

    Colours are left as they are: they often tell one identity from another, and most published recipes of the field
    crop and mirror only. Where new images may be lit otherwise than those of training, change brightness and contrast.

    Args:
        crop: smallest share of the image's area that a random crop keeps.
        aspect: the crop's sides may be stretched against each other by up to this factor.
        flip: probability of mirroring left and right; 0 for characters and anything that has a reading direction.
            'auto' is 0.5, and 0 where images have no colours, as scans, characters and X-rays have none.
        degrees: largest rotation, either way.
        shift: largest shift, as a share of the side, either way.
        zoom: largest zoom in or out, in addition to the crop, as a share.
        brightness: largest change of brightness, as a share.
        contrast: largest change of contrast, as a share.
        saturation: largest change of saturation, as a share.
        hue: largest turn of the hue.
        grayscale: probability of losing all colour.
        erase: probability of blanking a random rectangle of the image (its mask stays).

    Raises:
        ValueError: a value is out of its range (pydantic's ``ValidationError``).
    """

    crop: PositiveShare = 0.8
    aspect: AtLeastOne = 1.2
    flip: Share | Literal["auto"] = "auto"
    degrees: NonNegative = 15.0
    shift: NonNegative = 0.0
    zoom: ShareBelowOne = 0.1
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    grayscale: Share = 0.0
    erase: Share = 0.0

    @property
    def mirrored(self) -> float:
        """The probability of mirroring as a number. Where it is 'auto' a training settles it by the images."""
        return 0.5 if self.flip == "auto" else self.flip


NO_AUGMENT = AugmentConfig(crop=1.0, aspect=1.0, flip=0.0, degrees=0.0, shift=0.0, zoom=0.0)
