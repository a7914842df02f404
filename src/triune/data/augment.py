"""Which random changes a training image goes through: settings alone, cheap to import."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes made to a training image and its mask together; each is off at 0 (``crop``: at 1).

    Args:
        crop: smallest share of the image's area that a random crop keeps, in (0, 1].
        aspect: the crop's sides may be stretched against each other by up to this factor, at least 1.
        flip: probability of mirroring left and right; 0 for characters and anything that has a reading
            direction.
        degrees: largest rotation, either way.
        shift: largest shift, as a share of the side, either way.
        zoom: largest zoom in or out beside the crop, as a share.
        brightness: largest change of brightness, as a share.
        contrast: largest change of contrast, as a share.
        saturation: largest change of saturation, as a share.
        hue: largest turn of the hue, up to 0.5.
        grayscale: probability of losing all colour.
        erase: probability of blanking a random rectangle of the image (its mask stays).
    """

    crop: float = 0.8
    aspect: float = 1.2
    flip: float = 0.5
    degrees: float = 15.0
    shift: float = 0.0
    zoom: float = 0.1
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0
    grayscale: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "grayscale", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name} is {getattr(self, name)}: a probability lies between 0 and 1")
        if not 0 < self.crop <= 1:
            raise ValueError(f"augment.crop is {self.crop}: a share of the area lies above 0 and at most at 1")
        if not self.aspect >= 1:
            raise ValueError(f"augment.aspect is {self.aspect}: a factor of at least 1 is needed")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"augment.hue is {self.hue}: it lies between 0 and 0.5")
        if not 0 <= self.zoom < 1:
            raise ValueError(f"augment.zoom is {self.zoom}: it lies from 0 to below 1")
        for name in ("degrees", "shift", "brightness", "contrast", "saturation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"augment.{name} is {getattr(self, name)}: it cannot be negative")


NO_AUGMENT = AugmentConfig(
    crop=1.0, aspect=1.0, flip=0.0, degrees=0.0, shift=0.0, zoom=0.0, brightness=0.0, contrast=0.0, saturation=0.0
)
