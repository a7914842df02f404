"""Settings out of range are refused with a line that names them."""

import pytest

from triune.losses.triplet_settings import TripletSettings, check_settings


@pytest.mark.parametrize("settings", [{}, {"margin": "soft"}, {"margin": 0}, {"mining": "random", "gap": (-1.0, 0.0)}])
def test_settings_in_range_are_taken(settings):
    check_settings(TripletSettings(**settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mining": "easy"}, "mining strategy is 'easy'; known are 'all', 'hard'"),
        ({"metric": "l2"}, "metric is 'l2'"),
        ({"margin": -1}, "margin is -1; give a finite number"),
        ({"margin": float("inf")}, "margin is inf"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"margin": "hard"}, "margin is 'hard'; give a number or 'soft'"),
        ({"gap": (1, 0)}, r"gap is \(1, 0\); give \(low, high\)"),
        ({"gap": (0, 1, 2)}, r"gap is \(0, 1, 2\)"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        check_settings(TripletSettings(**settings))
