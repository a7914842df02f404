"""The first screen: what the numbers say in words."""

from report.building import FPRS, changed, files_results, run_results, shown
from triune.report.formatting import in_hundred, percent
from triune.report.sections.headline import headline


def test_it_says_in_words_what_the_numbers_say() -> None:
    results = run_results()
    model, pixels = (each.verification["test"].at(0.05) for each in results.models)
    text = shown(results).text
    assert f"wrongly accepts 5 of 100 different pairs, {in_hundred(model.tpr)} same pairs are recognised" in text
    assert f"raw pixels{percent(pixels.tpr)}" in text


def test_the_cards_show_each_figure_under_its_own_name() -> None:
    found = headline(run_results())
    assert found is not None
    figures = run_results().models[0].verification["test"]
    retrieval = run_results().models[0].retrieval
    assert {card.name: card.value for card in found.cards} == {
        "AUC": f"{figures.auc:.3f}",
        "EER": percent(figures.eer),
        "Recall@1": percent(retrieval.recall_at[1]),
        "Mask IoU": "0.900",
        "Class accuracy": "77.8%",
    }


def test_the_level_of_the_interval_is_the_one_that_was_asked_for() -> None:
    text = shown(files_results()).text
    assert "80% interval: 61.2% to 73.4%" in text
    assert "interval" not in shown(run_results()).text


def test_the_budget_is_that_of_the_most_generous_point() -> None:
    results = run_results()
    points = results.models[0].verification["test"].points[1:]
    text = shown(changed(results, figures={"points": points})).text
    assert FPRS[1] == 0.01
    assert "TPR at FPR 1%" in text
    assert "wrongly accepts 1 of 100 different pairs" in text
    assert "Not to be relied on: only" in text


def test_classes_alone_have_a_headline_and_nothing_has_none() -> None:
    classes = run_results().model_copy(update={"models": [], "segmentation": None})
    found = headline(classes)
    assert found is not None
    assert (found.point, [card.name for card in found.cards]) == (None, ["Class accuracy"])
    assert headline(classes.model_copy(update={"classification": None})) is None


def test_without_recall_at_one_there_is_no_card_of_it() -> None:
    retrieval = run_results().models[0].retrieval.model_copy(update={"recall_at": {0: 0.1, 2: 0.5}})
    found = headline(changed(run_results(), {"retrieval": retrieval}))
    assert found is not None
    assert "Recall@1" not in [card.name for card in found.cards]
