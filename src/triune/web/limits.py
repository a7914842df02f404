"""What one request may ask of the service: bytes, pixels, images, seconds; and how many images may wait."""

from pydantic.dataclasses import dataclass

from triune.ranges import NonNegative, Positive, PositiveInt

MEBI = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much a request, and all of them together, may take.

    Args:
        images: images of one request.
        image_bytes: bytes of one image file.
        bytes: bytes of one request's body.
        pixels: pixels of one image. It is looked up in the file's header, before anything is decoded.
        body_seconds: seconds in which a request's body must have come.
        seconds: seconds in which a request is answered, once its body has come.
        waiting: images that may wait for the network. A request that comes then is answered by 503.
        memory: bytes of bodies in memory at a time, of all requests together.
        batch: images that go through the network at a time.
        gather_ms: milliseconds that a batch waits for images that are being decoded. A request that comes alone never
            waits.
        at_once: batches that the network computes at a time. Where not given: one; and on a processor whose
            OMP_NUM_THREADS leaves a batch fewer threads than there are, as many as there is room for.
        threads: threads that decode images; as many as there are processors, 8 at most, where not given.
    """

    images: PositiveInt = 64
    image_bytes: PositiveInt = 20 * MEBI
    bytes: PositiveInt = 64 * MEBI
    pixels: PositiveInt = 50_000_000
    body_seconds: Positive = 20.0
    seconds: Positive = 60.0
    waiting: PositiveInt = 256
    memory: PositiveInt = 512 * MEBI
    batch: PositiveInt = 32
    gather_ms: NonNegative = 4.0
    at_once: PositiveInt | None = None
    threads: PositiveInt | None = None
