"""The view Search: like and unlike, conditions, hits with scores, near-duplicates."""

from typing import Any

from web.page.conftest import until
from web.page.stub import Answer, hit


def found(page: Any) -> list[str]:
    page.wait_for_selector("#search-hits li")
    return [" ".join(each.split()) for each in page.locator("#search-hits li").all_inner_texts()]


def test_hits_are_shown_with_name_score_picture_and_near_duplicates_marked(tab, stub, pictures) -> None:
    opened = tab()
    page = opened.open("search")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[0])
    assert found(page) == ["cup 1 · cup 0.970", "cup 1 · cup 0.960 near-duplicate of 1", "cup 2 · cup 0.500"]
    until(page, "[...document.querySelectorAll('.hit img')].every((each) => each.naturalWidth > 0)")
    opened.shown("search")
    assert page.inner_text("#search-said") == "3 pictures found, 1 near-duplicate among them."
    assert stub.last("/search").form == {"images": ["red.png"], "k": ["12"]}


def test_several_pictures_ask_for_more_like_these_and_unlike_those(tab, stub, pictures) -> None:
    page = tab().open("search")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[:2])
    found(page)
    assert stub.last("/search").form["like"] == ["red.png", "blue.png"]
    page.set_input_files("#search-places .drop:nth-child(2) input", pictures[2])
    page.select_option("#search-diversity", "0.3")
    page.wait_for_selector(".working", state="detached")
    found(page)
    assert stub.last("/search").form == {
        "like": ["red.png", "blue.png"],
        "unlike": ["green.png"],
        "k": ["12"],
        "diversity": ["0.3"],
    }


def test_pictures_to_stay_away_from_alone_are_no_search(tab, stub, pictures) -> None:
    page = tab().open("search")
    page.set_input_files("#search-places .drop:nth-child(2) input", pictures[2])
    page.wait_for_selector("text=Add a picture to look for")
    assert stub.count("/search") == 0


def test_conditions_are_put_together_by_choice_and_quoted_as_their_columns_need(tab, stub, pictures) -> None:
    page = tab().open("search")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[0])
    found(page)
    page.click("#search-filters summary")
    page.click("#search-add-rule")
    page.fill(".rule >> nth=0 >> input", "o'neill")
    page.click("#search-add-rule")
    page.select_option(".rule >> nth=1 >> select >> nth=0", "price")
    page.select_option(".rule >> nth=1 >> select >> nth=1", "<")
    page.fill(".rule >> nth=1 >> input", "20")
    page.press(".rule >> nth=1 >> input", "Tab")
    until(page, "document.querySelector('#search-where').value.includes('price')")
    page.wait_for_selector(".working", state="detached")
    found(page)
    assert stub.last("/search").form["where"] == ["\"label\" = 'o''neill' AND \"price\" < 20"]
    page.click("[aria-label='Remove this condition'] >> nth=0")
    page.wait_for_selector(".working", state="detached")
    found(page)
    assert stub.last("/search").form["where"] == ['"price" < 20']


def test_no_hit_is_said_with_the_reason(tab, stub, pictures) -> None:
    stub.answers["/search"] = lambda _: {"results": [{"query": "q", "hits": []}]}
    page = tab().open("search")
    page.click("#search-filters summary")
    page.fill("#search-where", "label = 'nothing'")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[0])
    page.wait_for_selector("text=No picture of the gallery meets these conditions.")


def test_hits_of_the_question_before_do_not_stay_under_a_refusal(tab, stub, pictures) -> None:
    page = tab().open("search")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[0])
    found(page)
    stub.answers["/search"] = lambda _: Answer(422, {"error": "shelf: 'nonsense' is no condition"})
    page.click("#search-filters summary")
    page.fill("#search-where", "nonsense")
    page.keyboard.press("Tab")
    page.wait_for_selector("[role=alert]:has-text('no condition')")
    assert not page.is_visible("#search-hits")


def test_all_that_is_known_of_a_hit_opens_and_closes_by_keyboard(tab, stub, pictures) -> None:
    opened = tab()
    page = opened.open("search")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[0])
    found(page)
    page.focus(".hit >> nth=0")
    page.keyboard.press("Enter")
    said = " ".join(page.inner_text("#hit").split())
    opened.shown("search-hit")
    assert "0.9700 (distance 0.0300)" in said
    assert "price 2.5" in said
    assert "3.png" in said
    assert "/shelf" not in said  # where it lies on the server is nobody's business
    page.keyboard.press("Escape")
    assert not page.is_visible("#hit")


def test_a_label_that_looks_like_markup_stays_text(tab, stub, pictures) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    stub.answers["/search"] = lambda _: {"results": [{"query": evil, "hits": [hit(1, 0.9, evil, **{evil: evil})]}]}
    page = tab().open("search")
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[0])
    assert evil in found(page)[0]
    page.click(".hit")
    assert evil in page.inner_text("#hit-title")
    assert page.locator("main script, #hit script, img[src=x]").count() == 0
    assert "owned" not in page.title()
