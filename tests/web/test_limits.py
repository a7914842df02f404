"""What one request may ask: ranges, and defaults that fit each other."""

import pytest
from pydantic import ValidationError

from triune.web.limits import Limits


def test_one_image_fits_a_body_one_body_the_memory_and_one_request_the_queue():
    limits = Limits()
    assert limits.image_bytes <= limits.bytes <= limits.memory
    assert limits.images <= limits.waiting


@pytest.mark.parametrize("name", ["images", "image_bytes", "bytes", "pixels", "seconds", "waiting", "batch", "threads"])
def test_none_of_them_is_nothing(name):
    with pytest.raises(ValidationError):
        Limits(**{name: 0})
