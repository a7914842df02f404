"""Episodes of heads: the accuracy is that of episodes drawn and decided one by one."""

import pytest

from examples import sample
from triune.recognition.few_shot import few_shot
from triune.recognition.head_episodes import head_episodes


def test_prototypes_and_nearest_are_those_of_few_shot():
    x, y = sample(5, 20, noise=1.0, seed=1)
    for head, classifier in (("prototype", "prototype"), ("nearest", "nearest")):
        found = head_episodes(x, y, ways=5, shots=3, queries=4, episodes=30, heads=(head,), seed=3)
        expected = few_shot(x, y, ways=5, shots=3, queries=4, episodes=30, classifier=classifier, seed=3)
        share = found.accuracy[head]
        assert share.mean == pytest.approx(expected.mean)
        assert (share.low, share.high) == pytest.approx((expected.low, expected.high))
        assert found.accuracy["chosen"] == share
        assert found.chosen == {head: 30}
        assert found.named_strangers is None


def test_the_chosen_head_is_about_as_good_as_the_best():
    x, y = sample(20, 15, dims=32, noise=1.0, seed=2)
    found = head_episodes(x, y, ways=5, shots=5, queries=5, episodes=40)
    best = max(found.accuracy[head].mean for head in ("prototype", "nearest", "ridge"))
    assert found.accuracy["chosen"].mean > best - 0.03
    assert sum(found.chosen.values()) == 40
    assert 0 <= found.named_strangers.mean <= 1
    assert found.refused.low <= found.refused.mean <= found.refused.high
    again = head_episodes(x, y, ways=5, shots=5, queries=5, episodes=40)
    assert again == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"episodes": 1}, "episodes is 1"),
        ({"level": 95}, "level is 95"),
        ({"ways": 6}, "5 of 5 classes"),
        ({"shots": 20}, "0 of 5 classes"),
        ({"shots": 0}, "shots is 0"),
    ],
)
def test_settings_that_make_no_sense_are_said(options, said):
    x, y = sample(5, 10)
    with pytest.raises(ValueError, match=said):
        head_episodes(x, y, **options)
