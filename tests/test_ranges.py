"""A setting's type in words."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from pydantic import Field

import triune
from triune.ranges import Count, Positive, Rate, Share, ShareBelowOne, in_words, is_number, is_whole


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (Count, "a whole number of at least 0"),
        (Positive, "a number of more than 0"),
        (Rate, "a number of more than 0 and less than 1"),
        (Share, "a number of at least 0 and at most 1"),
        (ShareBelowOne | None, "a number of at least 0 and less than 1"),
        (Annotated[int, Field(le=7)], "a whole number of at most 7"),
        (bool, "true or false"),
        (Path | None, "a path"),
        (Literal["a"], "a"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Count | Literal["soft", "auto"], "a whole number of at least 0, soft or auto"),
        (tuple[Count, ...], "a list [A, B, …] of which each is a whole number of at least 0"),
        (dict[str, int], "names with values {NAME: VALUE, …}"),
    ],
)
def test_a_type_is_said_in_words(kind, words):
    assert in_words(kind) == words


ONE = [1, 1.0, True, np.float32(1), np.int8(1), np.array(1.0), torch.tensor(1), Fraction(1)]


@pytest.mark.parametrize("value", [*ONE, -math.inf, math.inf, 0, 10**400, -1e308, torch.tensor([0.5])])
def test_numbers_of_any_library_are_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize(
    "value", [None, "1", b"1", [], [1], (), {}, math.nan, 1j, np.array([1, 2]), torch.ones(2), object()]
)
def test_text_none_nan_and_several_are_no_number(value):
    assert not is_number(value)
    assert not is_whole(value)


def test_only_whole_numbers_are_whole():
    assert all(is_whole(value) for value in (1, 0, -7, True, np.int8(1), np.array(1), torch.tensor(1), 10**400))
    assert not any(is_whole(value) for value in (1.0, 2.5, np.float32(1), torch.tensor(1.0), Fraction(1)))


Sampler = triune.ClassBalancedBatchSampler
X, Y = np.random.default_rng(0).normal(size=(12, 4)).astype("f4"), np.repeat(np.arange(4), 3)


@pytest.mark.parametrize("odd", [None, "a", [1, 2], math.nan])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda odd: triune.verify_embeddings(X, Y).tpr_at_fpr(odd), "fpr"),
        (lambda odd: triune.verify_embeddings(X, Y).threshold_at_fpr(odd), "fpr"),
        (lambda odd: triune.verify_embeddings(X, Y).confusion_at(odd), "threshold"),
        (lambda odd: triune.verify_embeddings(X, Y).least_cost(odd), "prior"),
        (lambda odd: triune.bootstrap_verification(X, Y, resamples=odd), "resamples"),
        (lambda odd: triune.bootstrap_verification(X, Y, resamples=10, level=odd), "level"),
        (lambda odd: triune.retrieval_metrics(X, Y, ks=odd if isinstance(odd, str) else (odd,)), "ks"),
        (lambda odd: triune.triplet_loss(torch.tensor(X), torch.tensor(Y), margin=odd), "margin"),
        (lambda odd: triune.TripletLoss(margin=odd), "margin"),
        (lambda odd: triune.MultiTaskObjective(alpha=odd), "alpha"),
        (
            lambda odd: Sampler(Y, classes_per_batch=odd, samples_per_class=2),
            "classes_per_batch",
        ),
        (
            lambda odd: Sampler(Y, classes_per_batch=2, samples_per_class=odd),
            "samples_per_class",
        ),
        (lambda odd: Sampler(Y, 2, 2, seed=odd), "seed"),
    ],
)
def test_an_argument_that_is_no_number_is_named(call, name, odd):
    with pytest.raises(ValueError, match=name) as refused:
        call(odd)
    assert "\n" not in str(refused.value)
