"""What a threshold decides, whatever kind of numbers it is asked about, and how it is written down."""

import math

import numpy as np
import pytest
import torch

import triune
from triune.verification.all_pairs import verify_embeddings
from triune.verification.decision import Threshold, without_promise
from triune.verification.thresholds import fit_threshold
from verification.test_thresholds import sets


def threshold(score, metric="cosine"):
    return Threshold(score, score, metric, 0.05, 0.9, 0.04, 10, 1000, True, None, "val")


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.float16, list, "array"])
def test_numbers_of_any_kind_are_decided_alike(kind):
    given = threshold(0.5)
    numbers = [0.25, 0.5, 0.75]
    if kind in (list, "array"):
        assert given.accepts(numbers if kind is list else np.array(numbers)).tolist() == [False, True, True]
    else:
        assert [bool(given.accepts(kind(each))) for each in numbers] == [False, True, True]
    assert given.accepts_distance([0.75, 0.5]).tolist() == [False, True]
    assert bool(given.accepts(1)), "a whole number"


def test_a_float32_score_just_below_is_rejected():
    given = threshold(np.nextafter(0.5, 1))
    assert not given.accepts(np.float32(0.5))
    assert not given.accepts(0.5)


def test_scores_that_are_no_distances_have_no_distance():
    with pytest.raises(ValueError, match="fitted on scores, not on distances"):
        threshold(0.5, None).accepts_distance([0.1])


def test_nothing_and_everything():
    assert not threshold(math.inf).accepts(1e30)
    assert threshold(-math.inf).accepts(-1e30)


def test_thresholds_of_the_first_version_are_read():
    """They were the lowest accepted score itself, with no field of that name."""
    stored = fit_threshold(verify_embeddings(*sets(0)), 0.05, metric="cosine").as_dict()
    del stored["lowest_accepted"]
    read = Threshold.from_dict(stored)
    assert read.threshold == read.lowest_accepted == stored["threshold"]


def test_half_precision_is_decided_in_float32():
    import torch

    fitted = fit_threshold(verify_embeddings(*sets(0)), 0.05, metric="cosine")
    scores = torch.linspace(-1, 1, 500).bfloat16()
    assert fitted.accepts(scores).tolist() == (scores.double() >= fitted.threshold).tolist()


def test_for_embeddings_of_another_network_nothing_is_promised():
    x, labels = torch.randn(40, 5, generator=torch.Generator().manual_seed(2)), np.repeat(np.arange(20), 2)
    prepared = triune.prepare(x, labels)
    fitted = triune.fit_threshold(triune.verify_embeddings(prepared), 0.3, prepared=prepared, confidence=0.9)
    plain = without_promise(fitted)
    assert (plain.threshold, plain.fpr, plain.expected, plain.confidence) == (fitted.threshold, fitted.fpr, None, None)
