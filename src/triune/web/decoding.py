"""Uploaded images as the network takes them: looked at before anything is decoded, then decoded in threads."""

from io import BytesIO
from typing import Final

from PIL import Image

from triune.serving.answers import Unreadable
from triune.serving.loaded import LoadedRun
from triune.serving.networks import Read
from triune.serving.pictures import Picture
from triune.web.limits import Limits
from triune.web.refusals import Refused
from triune.web.uploads import Upload

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "MPO", "JPEG2000")
"""Formats that the service decodes: those that people send. Each decoder is code that strangers' bytes reach."""


def picture_of(upload: Upload, place: int, limits: Limits) -> Picture:
    """An uploaded image, of which the header alone was read.

    Args:
        upload: the image.
        place: among the images of the request.
        limits: that it must keep.

    Raises:
        Refused: it is no image of a format that is decoded, or has too many pixels.
    """
    if not upload.content:
        raise Refused(422, f"{upload.name} is empty: send an image file", place)
    try:
        with Image.open(BytesIO(upload.content), formats=FORMATS) as file:
            width, height = file.size
    except Image.DecompressionBombError as error:
        raise Refused(413, f"{upload.name} has far too many pixels: {limits.pixels:,} are the most", place) from error
    except Exception as error:  # whatever a damaged header makes a decoder raise
        formats = ", ".join(FORMATS[:-2])
        raise Refused(422, f"{upload.name} is no image of a format that is read here ({formats})", place) from error
    if width * height > limits.pixels:
        raise Refused(
            413, f"{upload.name} has {width} x {height} pixels: {limits.pixels:,} are the most, make it smaller", place
        )
    return Picture(upload.name, upload.content)


def read_upload(run: LoadedRun, upload: Upload, place: int, limits: Limits) -> tuple[Picture, Read]:
    """An uploaded image as a run's network takes it, to the pixel as the run reads such a file.

    Args:
        run: whose network it is.
        upload: the image.
        place: among the images of the request.
        limits: that it must keep.

    Raises:
        Refused: it is no image, or too large.
    """
    picture = picture_of(upload, place, limits)
    read = run.read(picture)
    if isinstance(read, Unreadable):
        raise Refused(422, f"{upload.name} cannot be read as an image: {read.reason}", place)
    return picture, read
