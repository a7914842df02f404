"""The worst mistakes at the threshold."""

from dataclasses import replace

import numpy as np
import pytest

from report.building import run_results, shown
from triune.evaluation.results import Results, Unavailable
from triune.report.sections.mistakes import Count, mistakes_section
from triune.report.shown_items import ShownItems


def at(score: float) -> Results:
    """The results with another threshold."""
    point = run_results().threshold.model_copy(update={"threshold": score, "distance": 1 - score})
    return run_results().model_copy(update={"threshold": point})


def test_shown_mistakes_lie_on_the_wrong_side_of_the_threshold(items: ShownItems) -> None:
    section = mistakes_section(items, at(0.5))
    assert section is not None
    assert section.accepted
    assert section.rejected
    assert all(pair.distance <= 0.5 and pair.first.identity != pair.second.identity for pair in section.accepted)
    assert all(pair.distance > 0.5 and pair.first.identity == pair.second.identity for pair in section.rejected)
    accepted, rejected = ([pair.distance for pair in pairs] for pairs in (section.accepted, section.rejected))
    assert accepted == sorted(accepted)
    assert rejected == sorted(rejected, reverse=True)
    assert len({(pair.first.identity, pair.second.identity) for pair in section.accepted}) == 3


def test_counts_are_those_of_the_split_that_is_shown(items: ShownItems) -> None:
    point = run_results().threshold
    for split, counts in (("test", point.on_test), ("val", point.on_fitted)):
        section = mistakes_section(replace(items, split=split), run_results())
        assert section is not None
        assert section.accepted_count == (counts.fp, counts.fp + counts.tn)
        assert section.rejected_count == (counts.fn, counts.fn + counts.tp)


def test_six_of_each_kind_are_shown_at_most_and_shares_are_wrong_of_all(items: ShownItems) -> None:
    section = mistakes_section(items, at(0.5))
    assert section is not None
    assert (len(section.accepted), len(section.rejected)) == (6, 6)
    assert (Count(1, 4).share, Count(0, 0).share) == (0.25, None)
    uncounted = at(0.5).threshold.model_copy(update={"on_test": None})
    section = mistakes_section(items, run_results().model_copy(update={"threshold": uncounted}))
    assert section is not None
    assert (section.accepted_count, section.rejected_count) == (None, None)


def test_a_pair_exactly_at_the_threshold_is_accepted(items: ShownItems) -> None:
    """Unit vectors of integers: the similarities 0.5 and 1 are exact."""
    four = np.array([[2, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 2], [1, 1, 1, 1]], np.float32)
    few = replace(items, images=items.images[:4], embeddings=four, identities=np.array(["a", "a", "b", "b"]))
    section = mistakes_section(few, at(0.5))
    assert section is not None
    assert [pair.distance for pair in section.accepted] == [0, 0.5, 0.5][: len(section.accepted)]
    assert 0.5 in [pair.distance for pair in section.accepted]
    assert section.rejected == []


@pytest.mark.usefixtures("quick_map")
def test_a_threshold_without_mistakes_of_a_kind_says_none(items: ShownItems) -> None:
    said = shown(at(2.0), items=items).said("mistakes")
    counts = run_results().threshold.on_test
    total, share = counts.fp + counts.tn, counts.fp / (counts.fp + counts.tn)
    assert f"Different, but accepted {counts.fp} of {total:,} pairs, {100 * share:.1f}% None." in said
    assert "both 7" in said


def test_there_is_no_section_without_images_or_threshold(items: ShownItems) -> None:
    assert mistakes_section(None, run_results()) is None
    assert mistakes_section(replace(items, images=["/gone.png"] * len(items)), run_results()) is None
    none = run_results().model_copy(update={"threshold": Unavailable(unavailable="no pairs")})
    assert mistakes_section(items, none) is None
