"""What schemathesis sends where the OpenAPI document says image: real ones of several kinds, damaged ones, and noise.

Without it hardly a request would get past the reading of its images. For the command line:
`SCHEMATHESIS_HOOKS=web.fuzzed_images`, with `tests/` on the path.
"""

import base64
import io

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.specs.openapi.formats import Binary

NOISE = np.random.default_rng(3).integers(0, 256, (40, 40, 4), dtype=np.uint8)


def encoded(image, kind, **more):
    written = io.BytesIO()
    image.save(written, kind, **more)
    return written.getvalue()


def images():
    """Files of images, sound ones first."""
    colour = Image.fromarray(NOISE[:, :, :3])
    sound = [
        encoded(colour, "PNG"),
        encoded(colour.resize((90, 31)), "JPEG"),
        encoded(Image.fromarray(NOISE), "PNG"),
        encoded(colour.convert("P"), "GIF"),
        encoded(Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 200), "PNG"),
        encoded(colour.convert("1").resize((1, 1)), "PNG"),
        encoded(colour, "WEBP"),
        encoded(colour, "TIFF"),
    ]
    damaged = [content[: len(content) // 2] for content in sound] + [sound[0][:8], b"", b"GIF89a", b"<svg/>"]
    return [*sound, *damaged]


IMAGES = st.one_of(st.sampled_from(images()[:8]), st.sampled_from(images()), st.binary(max_size=200))

schemathesis.openapi.format("binary", IMAGES.map(Binary))
schemathesis.openapi.format("byte", IMAGES.map(lambda content: base64.b64encode(content).decode()))
