"""Batches that suit the data, where the settings say nothing; what they say stays as it is."""

import pytest

from triune.run.batching import batches_for
from triune.run.settings import TrainConfig


@pytest.mark.parametrize(
    ("counts", "nameless", "size", "samples"),
    [
        ([41] * 64, 0, 64, 4),  # ETH-80
        ([5] * 64, 0, 64, 4),  # five images of each object
        ([180] * 6, 0, 64, 4),  # digits
        ([10] * 16, 0, 64, 4),  # 16 characters by 10 drawers
        ([3, 3], 0, 6, 3),
        ([2] * 10_000, 0, 64, 2),
        ([3] * 500, 0, 64, 3),
        ([2, 2, 2, 90], 0, 64, 2),
        ([2, 9, 9, 9], 0, 29, 4),
        ([1] * 50 + [8] * 4, 0, 32, 4),  # what is there once gives no pair
        ([8] * 4, 100, 64, 4),
        ([8] * 4, 10, 42, 4),
        ([5], 0, 64, 4),
        ([], 30, 64, 4),
    ],
)
def test_no_more_images_of_an_identity_than_half_of_them_have_and_no_more_in_all_than_there_are(
    counts, nameless, size, samples
):
    found = batches_for(TrainConfig(), counts, nameless)
    assert found[:2] == (size, samples)
    assert bool(found.reason) == (found[:2] != (64, 4))


def test_flags_come_before_the_data():
    assert batches_for(TrainConfig(batch_size=32, samples_per_class=4), [9, 9, 9, 9]) == (32, 4, "")
    assert batches_for(TrainConfig(samples_per_class=4), [2, 2])[:2] == (8, 4)
    assert batches_for(TrainConfig(batch_size=32), [2, 2])[:2] == (32, 2)


def test_two_identities_fit_into_a_batch_that_is_asked_for():
    for size, samples in ((4, 2), (5, 2), (6, 3), (8, 4)):
        found = batches_for(TrainConfig(batch_size=size), [9] * 9)
        assert found[:2] == (size, samples)
        assert ("so that two identities fit" in found.reason) == (samples < 4)


def test_what_does_not_hold_of_a_batch_is_not_said_of_it():
    assert batches_for(TrainConfig(batch_size=3), [9] * 9) == (3, 2, "")  # one identity


def test_a_batch_of_more_images_than_there_are_is_told():
    found = batches_for(TrainConfig(batch_size=500), [9] * 9)
    assert found == (500, 4, "batches of 500 images hold images several times: --batch_size 81 holds all there are")
    assert batches_for(TrainConfig(batch_size=81), [9] * 9).reason == ""


def test_single_images_count_where_no_pair_is_asked_for():
    assert batches_for(TrainConfig(samples_per_class=1), [1] * 40)[:2] == (40, 1)
