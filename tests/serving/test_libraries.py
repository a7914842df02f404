"""A library that is not installed is named with the extra that has it."""

import pytest

from triune.errors import InputError
from triune.serving.libraries import library


def test_a_library_that_is_not_installed_is_named_with_its_extra():
    assert library("json", "gallery").dumps([]) == "[]"
    with pytest.raises(InputError, match=r"needs no_such_library.*pip install 'triune\[gallery\]'"):
        library("no_such_library", "gallery")
