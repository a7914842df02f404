"""What is said before anybody relies on the figures."""

import pytest

from report.building import UNCERTAINTY, changed, files_results, run_results
from triune.evaluation.results import Results, SplitCounts, Unavailable
from triune.report.sections.cautions import cautions
from triune.verification.decision import ExpectedFPR


def with_tpr(results: Results, own: float, pixels: float) -> Results:
    """The same with other TPRs at the first budget."""
    models = []
    for model, tpr in zip(results.models, (own, pixels), strict=True):
        figures = model.verification["test"]
        points = [figures.points[0].model_copy(update={"tpr": tpr}), *figures.points[1:]]
        figures = figures.model_copy(update={"points": points})
        models.append(model.model_copy(update={"verification": {"test": figures}}))
    return results.model_copy(update={"models": models})


def with_test_fpr(results: Results, fpr: float) -> Results:
    """The same with another FPR of the threshold on test pairs."""
    counts = results.threshold.on_test.model_copy(update={"fpr": fpr})
    return results.model_copy(update={"threshold": results.threshold.model_copy(update={"on_test": counts})})


def test_figures_of_too_few_pairs_are_named_with_the_reason() -> None:
    points = list(run_results().models[0].verification["test"].points)
    points = [point.model_copy(update={"reliable": True, "reason": None}) for point in points]
    assert not any("Too few pairs" in text for text in cautions(changed(run_results(), figures={"points": points})))
    reason = "only 2.0 false positives are expected; 30 are needed"
    points[2] = points[2].model_copy(update={"reliable": False, "reason": reason})
    found = cautions(changed(run_results(), figures={"points": points}))
    assert f"Too few pairs for TPR at FPR 0.1%: {reason}." in found


def test_a_baseline_that_does_as_well_is_named() -> None:
    found = "\n".join(cautions(with_tpr(run_results(), 0.1, 0.4)))
    assert "this model recognises 10.0% of the same pairs, no more than raw pixels (40.0%)." in found
    assert "training gave nothing" in "\n".join(cautions(with_tpr(run_results(), 0.4, 0.4)))
    assert "training gave nothing" not in "\n".join(cautions(with_tpr(run_results(), 0.41, 0.4)))


def test_another_model_is_no_baseline() -> None:
    assert not any("training gave nothing" in text for text in cautions(files_results()))


@pytest.mark.parametrize(
    ("fpr", "said"),
    [
        (0.024, "is stricter: it accepts 2.4% of the different ones, not 5%"),
        (0.05 / 2, None),
        (0.026, None),
        (0.074, None),
        (0.05 * 1.5, None),
        (0.08, "lets more through: it accepts 8.0% of the different ones, not 5%"),
        (0.2, "lets more through: it accepts 20.0% of the different ones, not 5%"),
        (float("nan"), None),
    ],
)
def test_a_threshold_that_does_not_keep_its_budget_is_told(fpr: float, said: str | None) -> None:
    found = [text for text in cautions(with_test_fpr(run_results(), fpr)) if "the threshold" in text]
    assert len(found) == (said is not None)
    assert all(f"On test pairs the threshold {said}" in text for text in found)


@pytest.mark.parametrize(("identities", "said"), [(0, False), (1, True), (9, True), (10, False)])
def test_few_test_identities_are_told(identities: int, said: bool) -> None:
    data = run_results().data
    splits = {"test": SplitCounts(images=72, identities=identities, classes=3)}
    results = run_results().model_copy(update={"data": data.model_copy(update={"splits": splits})})
    noun = "identity" if identities == 1 else "identities"
    told = f"Only {identities} {noun} in the test split: others may fare differently."
    assert (told in cautions(results)) == said


def test_a_closed_set_says_that_training_saw_the_identities() -> None:
    data = run_results().data.model_copy(update={"split": "closed-set"})
    told = "Training saw the test identities: the figures do not hold for new ones."
    assert told in cautions(run_results().model_copy(update={"data": data}))
    assert told not in cautions(run_results())


def test_a_split_that_cannot_be_verified_says_why() -> None:
    reason = "every identity has a single image: a matching pair needs two"
    results = changed(run_results(), {"verification": {"test": Unavailable(unavailable=reason)}})
    assert cautions(results)[0] == f"The test split cannot be verified: {reason}."


def test_a_promised_threshold_is_stricter_on_purpose_but_must_not_let_more_through() -> None:
    def promised(fpr: float) -> list[str]:
        results = with_test_fpr(run_results(), fpr)
        threshold = results.threshold.model_copy(update={"confidence": 0.95})
        return [
            text for text in cautions(results.model_copy(update={"threshold": threshold})) if "the threshold" in text
        ]

    assert promised(0.001) == []
    assert len(promised(0.2)) == 1


def test_a_threshold_of_which_others_may_see_twice_the_budget_is_told() -> None:
    def told(high: float) -> list[str]:
        results = run_results()
        expected = ExpectedFPR(0.05, 0.02, high, 0.95, 8, 1000)
        threshold = results.threshold.model_copy(update={"expected": expected})
        return [
            text for text in cautions(results.model_copy(update={"threshold": threshold})) if "new identities" in text
        ]

    assert told(0.1) == []
    assert told(0.101) == [
        "The threshold for FPR 5% is no promise for new identities: fitted on 8 identities, the false-positive rate "
        "among others may be 2.0% to 10.1% (95% interval, delete-one-identity jackknife)."
    ]


def test_identities_of_the_judged_split_that_were_trained_on_are_told() -> None:
    results = run_results()
    splits = results.data.splits | {"test": results.data.splits["test"].model_copy(update={"trained": 3})}
    found = cautions(results.model_copy(update={"data": results.data.model_copy(update={"splits": splits})}))
    assert any(text.startswith("3 of the ") and "were trained on" in text for text in found)
    assert not any("were trained on" in text for text in cautions(results))


def test_the_rates_compared_with_baselines_are_those_of_the_first_budget() -> None:
    """At the other budgets the baseline does better, and at a budget of another model nothing is compared."""
    results = with_tpr(run_results(), 0.41, 0.4)
    models = []
    for model, tpr in zip(results.models, (0.0, 1.0), strict=True):
        figures = model.verification["test"]
        points = [figures.points[0], *(point.model_copy(update={"tpr": tpr}) for point in figures.points[1:])]
        models.append(
            model.model_copy(update={"verification": {"test": figures.model_copy(update={"points": points})}})
        )
    assert not any("training gave nothing" in text for text in cautions(results.model_copy(update={"models": models})))
    models[0] = models[0].model_copy(update={"verification": models[1].verification})
    found = [
        text for text in cautions(results.model_copy(update={"models": models})) if "training gave nothing" in text
    ]
    assert len(found) == 1
    assert "At FPR 5%" in found[0]


def test_intervals_of_few_identities_are_told_with_their_reason() -> None:
    made = UNCERTAINTY.model_copy(update={"reliable": False, "reason": "3 identities are resampled"})
    told = "The intervals are not to be leaned on: 3 identities are resampled."
    assert told in cautions(changed(run_results(), figures={"uncertainty": made}))
    for other in (UNCERTAINTY, None):
        assert not any("leaned on" in text for text in cautions(changed(run_results(), figures={"uncertainty": other})))


def test_results_without_models_without_a_test_split_or_without_a_threshold_have_no_such_cautions() -> None:
    results = run_results()
    bare = results.model_copy(
        update={"models": [], "threshold": None, "data": results.data.model_copy(update={"splits": {}})}
    )
    assert cautions(bare) == []
    assert cautions(results.model_copy(update={"threshold": Unavailable(unavailable="no pairs")})) == [
        text for text in cautions(results) if "threshold" not in text
    ]
    unjudged = results.threshold.model_copy(update={"on_test": None})
    assert not any("the threshold " in text for text in cautions(results.model_copy(update={"threshold": unjudged})))
