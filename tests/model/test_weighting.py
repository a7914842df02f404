"""How terms are weighed: the formulas by hand, and what a weight of 0 leaves out."""

import math

import pytest
import torch

from triune.model.weighting import check_weighting, gradient_norm, weighted_terms

TERMS = {"classification": torch.tensor(2.0), "segmentation": torch.tensor(3.0), "triplet": torch.tensor(0.5)}
WEIGHTS = {"classification": 1.0, "segmentation": 0.25, "triplet": 4.0}


def test_fixed_weights_multiply_their_own_terms():
    assert {name: float(value) for name, value in weighted_terms(TERMS, WEIGHTS).items()} == {
        "classification": 2.0, "segmentation": 0.75, "triplet": 2.0,
    }  # fmt: skip


def test_uncertainty_weighs_each_term_by_its_own_learnt_number():
    s = torch.tensor([0.3, -0.7, 1.1])
    weighted = weighted_terms(TERMS, WEIGHTS, s)
    for place, name in enumerate(("classification", "segmentation", "triplet")):
        expected = WEIGHTS[name] * (math.exp(-float(s[place])) * float(TERMS[name]) + float(s[place]))
        assert float(weighted[name]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("log_variances", [None, torch.tensor([0.1, 0.2, 0.3])])
def test_a_weight_of_zero_leaves_its_term_out_even_where_it_is_nan(log_variances):
    terms = TERMS | {"segmentation": torch.tensor(math.nan)}
    weights = WEIGHTS | {"segmentation": 0.0}
    weighted = weighted_terms(terms, weights, log_variances)
    assert list(weighted) == ["classification", "triplet"]
    alone = weighted_terms(TERMS, WEIGHTS, log_variances)
    assert all(weighted[name] == alone[name] for name in weighted)


def test_the_norm_of_a_gradient_is_over_all_parameters_together():
    first, second, unused = (torch.nn.Parameter(torch.tensor(value)) for value in ([1.0, 2.0], [3.0], [4.0]))
    term = 3 * first[0] + 4 * first[1] + 12 * second[0]
    assert gradient_norm(term, [first, second, unused]) == pytest.approx(13.0)
    assert gradient_norm(term, [unused]) == 0.0


@pytest.mark.parametrize("settings", [{"alpha": -1.0}, {"beta": math.nan}, {"gamma": math.inf}])
def test_impossible_weights_are_named(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        check_weighting("fixed", **settings)
    with pytest.raises(
        ValueError, match="weighting is 'magic': it is one of fixed, uncertainty, dwa, gradnorm, upgrad"
    ):
        check_weighting("magic")
