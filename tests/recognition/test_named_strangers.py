"""What is known of a threshold for strangers, and read without the libraries that compute it."""

import subprocess
import sys

import pytest

from triune.recognition.named_strangers import FpirThreshold, StrangersNamed


def named(identities, extrapolated):
    return StrangersNamed("validation identities", identities, 3 * identities, 0.01, 0.0, 0.1, 0.95, extrapolated)


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        ((named(20, True), named(50, True)), "50 identities of strangers can count rates from 2.0% on"),
        ((named(20, True), named(500, False)), None),  # one set can count it
        ((named(500, False),), None),
    ],
)
def test_a_rate_that_no_set_of_strangers_can_count_is_not_to_be_leaned_on(sets, reason):
    found = FpirThreshold(0.8, 0.001, None, sets).reason
    assert found is None if reason is None else reason in found


def test_it_needs_neither_torch_nor_scipy():
    code = (
        "import sys, triune.recognition.named_strangers\n"
        "print([m for m in ('torch', 'scipy', 'numpy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
