"""The view Compare: the verdict in words, the pair on the histograms, the slider and what it costs."""

from typing import Any

import pytest

from web.page.conftest import until
from web.page.stub import VERDICT, Answer, pairs


def compare(tab: Any, pictures: list[Any]) -> Any:
    page = tab.open("compare")
    page.set_input_files("#compare-places .drop:nth-child(1) input", pictures[0])
    page.set_input_files("#compare-places .drop:nth-child(2) input", pictures[1])
    page.wait_for_selector("#compare-answer:not([hidden])")
    return page


def text(page: Any, selector: str) -> str:
    return " ".join(page.inner_text(selector).split())


def test_two_pictures_are_the_same_in_words_and_figures(tab, stub, pictures) -> None:
    opened = tab()
    page = compare(opened, pictures)
    opened.shown("compare")
    assert text(page, "#compare-word") == "the same"
    assert text(page, "#compare-distance") == "Cosine distance 0.2500; up to 0.5000 counts as the same."
    assert stub.last("/verify").form == {"first": ["red.png"], "second": ["blue.png"]}
    assert text(page, "#compare-chosen") == "5%, the run's own: the same"
    costs = text(page, "#compare-costs")
    assert "Of pairs of different things, about 5 of 100 would pass as the same." in costs
    assert "Of pairs of the same thing, 99 of 100 are recognised." in costs
    assert "Among new things it may be 1.8% to 13.0% (90% interval, from 8 things)" in costs


def test_the_slider_moves_threshold_verdict_and_costs_and_comes_back(tab, pictures) -> None:
    page = compare(tab(), pictures)
    before = page.get_attribute(".threshold", "x1")
    page.focus("#compare-level")
    page.keyboard.press("ArrowLeft")
    assert text(page, "#compare-word") == "the same"  # 0.25 is below the 0.4 of 1%
    page.keyboard.press("ArrowLeft")
    assert text(page, "#compare-word") == "different things"
    assert text(page, "#compare-distance").endswith("up to 0.2000 counts as the same.")
    assert "about 1 of 1,000 would pass" in text(page, "#compare-costs")
    assert float(page.get_attribute(".threshold", "x1")) < float(before)
    assert page.get_attribute("#compare-level", "aria-valuetext").startswith("0.1%: different things.")
    assert "different things" in text(page, "#compare-said")
    page.click("#compare-own")
    assert text(page, "#compare-word") == "the same"
    assert page.get_attribute(".threshold", "x1") == before


def test_pointing_at_the_chart_moves_the_slider_to_the_rate_of_that_threshold(tab, pictures) -> None:
    page = compare(tab(), pictures)
    line = page.locator(".threshold").bounding_box()
    chart = page.locator(".chart").bounding_box()
    margin = 8
    scale = (line["x"] - chart["x"] - margin) / 0.5  # pixels for a distance of 1
    page.mouse.click(chart["x"] + margin + 0.22 * scale, chart["y"] + 60)
    assert text(page, "#compare-word") == "different things"
    assert text(page, "#compare-chosen") == "0.1%: different"


def test_how_common_the_distance_is_follows_from_the_histograms(tab, pictures) -> None:
    page = compare(tab(), pictures)
    told = pairs()
    middles = [(a + b) / 2 for a, b in zip(told["edges"], told["edges"][1:])]
    farther = sum(n for n, at in zip(told["matching"], middles) if at > 0.25) / sum(told["matching"])  # 0.25 is an edge
    said = text(page, "#compare-evidence")
    assert f"Of pairs of the same thing, {round(100 * farther)} of 100 are this far apart" in said
    assert "It counts as the same from a rate of 1% on." in said


def test_a_picture_unlike_all_that_was_checked_is_told_with_what_it_means(tab, stub, pictures) -> None:
    stub.answers["/verify"] = lambda _: (
        VERDICT | {"first": "a", "second": "b", "unfamiliar": ["b"], "caution": "too few pairs"}
    )
    page = compare(tab(), pictures)
    said = text(page, "#compare-care")
    assert "The second picture looks like nothing this model was checked on" in said
    assert "The rate is not to be leaned on: too few pairs." in said
    page.focus("#compare-level")
    page.keyboard.press("ArrowLeft")
    assert "too few pairs" not in text(page, "#compare-care")  # it was said of the run's own threshold


@pytest.mark.parametrize(
    ("threshold", "said"), [("-Infinity", "no distance counts"), ("Infinity", "every distance counts")]
)
def test_a_threshold_that_accepts_none_or_all_is_said_so(tab, stub, pictures, threshold, said) -> None:
    same = threshold == "Infinity"
    stub.answers["/verify"] = lambda _: VERDICT | {"first": "a", "second": "b", "threshold": threshold, "same": same}
    page = compare(tab(), pictures)
    assert f"{said} as the same" in text(page, "#compare-distance")


def test_a_run_without_stored_pairs_gives_its_verdict_alone(tab, stub, pictures) -> None:
    stub.answers["/pairs"] = lambda _: Answer(404, {"error": "this run keeps no pairs"})
    opened = tab()
    page = compare(opened, pictures)
    opened.shown("compare-without-pairs")
    assert text(page, "#compare-word") == "the same"
    assert page.locator("#compare-chart svg").count() == 0
    assert not page.is_visible("#compare-level")
    assert "about 5 of 100 would pass" in text(page, "#compare-costs")


def test_another_picture_in_the_place_of_one_is_compared_anew_and_one_taken_away_leaves_no_verdict(
    tab, stub, pictures
) -> None:
    page = compare(tab(), pictures)
    page.set_input_files("#compare-places .drop:nth-child(2) input", pictures[2])
    until(page, "document.querySelector('#compare-places .drop:nth-child(2) img').alt === 'green.png'")
    page.wait_for_selector("#compare-answer:not([hidden])")
    assert stub.last("/verify").form["second"] == ["green.png"]
    page.click("text=×  >> nth=0")
    assert not page.is_visible("#compare-answer")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "First picture: choose a picture"


def test_two_files_dropped_on_one_place_fill_both_and_what_is_no_picture_is_told(tab, stub) -> None:
    page = tab().open("compare")
    drop = """(names) => {
        const data = new DataTransfer();
        const kind = (name) => ({ type: name.endsWith("png") ? "image/png" : "text/plain" });
        for (const name of names) data.items.add(new File(["x"], name, kind(name)));
        const dropped = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.querySelector("#compare-places .drop").dispatchEvent(dropped);
    }"""
    page.evaluate(drop, ["notes.txt"])
    assert "notes.txt is no picture" in text(page, "#compare-places")
    page.evaluate(drop, ["a.png", "b.png"])
    page.wait_for_selector("#compare-answer:not([hidden])")
    assert stub.last("/verify").form == {"first": ["a.png"], "second": ["b.png"]}


def test_pasted_pictures_go_to_the_free_places_in_turn(tab, stub) -> None:
    page = tab().open("compare")
    paste = """(name) => {
        const data = new DataTransfer();
        data.items.add(new File(["x"], name, { type: "image/png" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(paste, "one.png")
    page.evaluate(paste, "two.png")
    page.wait_for_selector("#compare-answer:not([hidden])")
    assert stub.last("/verify").form == {"first": ["one.png"], "second": ["two.png"]}


def test_samples_at_hand_are_taken_by_a_click_and_two_of_a_kind_by_another(tab, stub) -> None:
    stub.answers["/samples"] = lambda _: {
        "images": [{"url": f"/samples/{k}", "label": "cup", "identity": f"cup {k // 2}"} for k in range(4)]
    }
    opened = tab()
    page = opened.open("compare")
    page.click(".sample >> nth=0")
    page.click(".sample >> nth=1")
    page.wait_for_selector("#compare-answer:not([hidden])")
    opened.shown("compare-samples")
    names = stub.last("/verify").form
    assert names == {"first": ["sample 0 cup.png"], "second": ["sample 1 cup.png"]}
    for button, alike in (("Two of the same", True), ("Two that differ", False)):
        before = stub.count("/verify")
        page.click(f"text={button}")
        until(page, "!document.querySelector('#compare-answer').hidden")
        while stub.count("/verify") == before:
            page.wait_for_timeout(20)
        places = [int(name[0].split()[1]) for name in stub.last("/verify").form.values()]
        assert (places[0] // 2 == places[1] // 2) == alike
        assert places[0] != places[1]
