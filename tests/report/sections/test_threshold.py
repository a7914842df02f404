"""The threshold and what it does to pairs."""

import math

import pytest

from report.building import changed, files_results, run_results, shown
from report.parsed_chart import axis, drawn, places, points, tick_labels
from triune.evaluation.results import Histogram, Results, Unavailable
from triune.report.sections.threshold import threshold_section


def applied(results: Results, **changes: object) -> Results:
    """The same with another threshold."""
    return results.model_copy(update={"threshold": results.threshold.model_copy(update=changes)})


def test_the_confusion_tables_are_those_of_the_results() -> None:
    page = shown(run_results())
    for title, counts in (
        ("On validation pairs", run_results().threshold.on_fitted),
        ("On test pairs", run_results().threshold.on_test),
    ):
        assert page.table(f"{title}: pairs accepted and rejected at the threshold") == [
            ["pairs", "accepted", "rejected"],
            ["same", f"{counts.tp:,}TP", f"{counts.fn:,}FN"],
            ["different", f"{counts.fp:,}FP", f"{counts.tn:,}TN"],
        ]


def test_the_threshold_is_said_as_a_distance_and_in_no_other_form() -> None:
    distance, score = run_results().threshold.distance, run_results().threshold.threshold
    text = shown(run_results()).text
    assert f"cosine distance of at most {distance:.4f}" in text
    assert "chosen on validation pairs for a false-positive rate of 5%" in text
    assert f"{score:.4f}" not in text


def test_the_threshold_of_a_list_of_scores_is_a_score() -> None:
    results = applied(run_results(), threshold=0.75).model_copy(update={"metric": "score"})
    assert "at a score of at least 0.7500" in shown(results).text


@pytest.mark.parametrize(("score", "said"), [(math.inf, "No pair is called"), (-math.inf, "All pairs are called")])
def test_a_threshold_that_accepts_all_pairs_or_none_says_so(score: float, said: str) -> None:
    results = applied(run_results(), threshold=score, distance=-score)
    section = threshold_section(results)
    assert section is not None
    assert section.distances is not None
    assert 'class="threshold"' not in section.distances.picture
    assert said in shown(results).said("threshold")
    assert "inf" not in shown(results).said("threshold")


def test_a_missing_threshold_says_why() -> None:
    results = run_results().model_copy(update={"threshold": Unavailable(unavailable="too few <identities>")})
    assert "No threshold was fitted: too few <identities>." in shown(results).text


def test_pairs_that_have_no_split_are_these_pairs() -> None:
    said = shown(files_results()).said("threshold")
    assert "applied unchanged to these pairs" in said
    assert "On these pairs where it was applied" in said
    assert "where it was chosen" not in said


def test_distances_run_from_the_closest_to_the_farthest_with_the_slider_at_the_threshold() -> None:
    results = run_results()
    section = threshold_section(results)
    assert section is not None
    assert section.distances is not None
    edges = results.models[0].verification["test"].histogram.edges
    assert section.distances.low == pytest.approx(1 - edges[-1])
    assert section.distances.high == pytest.approx(1 - edges[0])
    assert section.distances.start == results.threshold.distance


SPREAD = Histogram(edges=[0.0, 0.25, 0.5, 1.0], matches=[0, 1, 3], impostors=[5, 4, 1])


@pytest.mark.parametrize("metric", ["cosine", "score"])
def test_the_bins_stand_where_their_distances_lie_and_the_threshold_between_them(metric: str) -> None:
    """Distances turn the histogram round: its last bin, of the highest scores, comes first."""
    results = applied(changed(run_results(), figures={"histogram": SPREAD}), threshold=0.3, distance=0.7)
    section = threshold_section(results.model_copy(update={"metric": metric}))
    assert section is not None
    assert section.distances is not None
    picture = section.distances.picture
    edges, same, different = [0, 0.25, 0.5, 1], [0, 0.25, 0.75], [0.5, 0.4, 0.1]
    if metric == "cosine":
        edges, same, different = [0, 0.5, 0.75, 1], same[::-1], different[::-1]
    across = [52 + 490 * edge for edge in edges]
    for css, shares in (("s0", same), ("s1", different)):
        # The highest bin holds 0.75 of its pairs, and the axis ends a tenth above it.
        outline = [(at, 310 - 274 * share / 0.825) for i, share in enumerate(shares) for at in across[i : i + 2]]
        [found] = points(picture, css)
        expected = [point for i, point in enumerate(outline) if i == 0 or point != outline[i - 1]]
        assert found == [pytest.approx(point, abs=0.06) for point in expected]
    assert len(drawn(picture, "area")) == 2
    assert places(picture, "threshold", "x1") == [pytest.approx((52 + 490 * (0.7 if metric == "cosine" else 0.3),))]
    assert (axis(picture)["low"], axis(picture)["high"]) == (0, 1)
    assert tick_labels(picture)[1] == ["0%", "20%", "40%", "60%", "80%"]
    assert (section.distances.low, section.distances.high) == (0, 1)
    assert section.distances.start == section.limit == (0.7 if metric == "cosine" else 0.3)


@pytest.mark.parametrize(("distance", "start"), [(-0.5, 0.0), (0.6, 0.6), (0.9, 0.9), (1.5, 1.0)])
def test_the_slider_begins_within_the_chart(distance: float, start: float) -> None:
    results = applied(changed(run_results(), figures={"histogram": SPREAD}), distance=distance)
    section = threshold_section(results)
    assert section is not None
    assert section.distances is not None
    assert section.distances.start == start


def test_only_a_threshold_of_minus_infinity_accepts_all_pairs() -> None:
    for score, accepts_all in ((0.5, False), (math.inf, False), (-math.inf, True)):
        section = threshold_section(applied(run_results(), threshold=score))
        assert section is not None
        assert section.accepts_all is accepts_all
    section = threshold_section(run_results().model_copy(update={"threshold": None}))
    assert section is not None
    assert (section.accepts_all, section.limit, section.decisions) == (False, None, [])


def test_without_a_threshold_the_slider_begins_at_that_of_the_first_budget() -> None:
    results = run_results().model_copy(update={"threshold": None})
    figures = results.models[0].verification["test"]
    section = threshold_section(results)
    assert section is not None
    assert section.distances is not None
    assert section.distances.start == pytest.approx(1 - figures.points[0].threshold)
    none_accepted = figures.points[0].model_copy(update={"threshold": math.inf})
    section = threshold_section(changed(results, figures={"points": [none_accepted, *figures.points[1:]]}))
    assert section is not None
    assert section.distances is not None
    assert section.distances.start == section.distances.low


def test_there_is_a_section_as_long_as_there_is_a_histogram_or_a_threshold() -> None:
    no_histogram = changed(run_results(), figures={"histogram": None})
    neither = no_histogram.model_copy(update={"threshold": None})
    assert threshold_section(run_results().model_copy(update={"threshold": None})) is not None
    assert threshold_section(no_histogram) is not None
    assert threshold_section(neither) is None


def test_what_the_threshold_is_worth_is_a_sentence_that_begins_with_a_capital() -> None:
    section = threshold_section(applied(run_results(), expected=None, confidence=None))
    assert section is not None
    assert section.worth == "No promise for new identities: their false-positive rate may be above 5%"
    section = threshold_section(run_results().model_copy(update={"threshold": None}))
    assert section is not None
    assert section.worth is None
