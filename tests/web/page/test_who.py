"""The view Who is it: an identity or unknown, the runner-up, enrolment by name, undo."""

from typing import Any

from web.page.conftest import until
from web.page.stub import ABOUT, Answer


def asked(tab: Any, pictures: list[Any]) -> Any:
    page = tab.open("who")
    page.set_input_files("#who-places input", pictures)
    page.wait_for_selector("#who-answers li")
    return page


def test_a_stranger_is_unknown_in_words_with_the_closest_and_the_runner_up(tab, stub, pictures) -> None:
    opened = tab()
    page = asked(opened, pictures[:1])
    opened.shown("who-unknown")
    said = " ".join(page.inner_text("#who-answers").split())
    assert said.startswith("unknown The closest is cup 1, with 0.700: too little, 0.800 is needed.")
    assert "cup 2 0.400" in said
    assert page.inner_text("#who-said") == "red.png: unknown."
    assert "8 identities of strangers" in page.inner_text("#who-care")
    page.click("#who-rule summary")
    assert "4 identities enrolled by 24 pictures" in page.inner_text("#who-rule")
    assert "(90% interval)" in page.inner_text("#who-rule")


def test_another_rate_asks_again(tab, stub, pictures) -> None:
    page = asked(tab(), pictures[:1])
    assert stub.last("/identify").form["fpir"] == ["0.01"]
    page.select_option("#who-fpir", "0.1")
    page.wait_for_selector(".working", state="detached")
    page.wait_for_selector("#who-answers li")
    assert stub.last("/identify").form["fpir"] == ["0.1"]


def test_enrolled_under_a_name_it_is_known_and_undone_it_is_not(tab, stub, pictures) -> None:
    opened = tab()
    page = asked(opened, pictures[:2])
    page.fill("#who-name", "my mug")
    page.press("#who-name", "Enter")
    page.wait_for_selector("text=Enrolled my mug by 2 pictures.")
    until(page, "document.querySelector('#who-answers')?.innerText.startsWith('my mug')")
    opened.shown("who-enrolled")
    assert stub.last("/enrol").method == "GET"
    sent = next(each for each in stub.asked if each.path == "/enrol" and each.method == "POST").form
    assert sent["images"] == ["red.png", "blue.png"]
    assert sent["identity"] == ["my mug"]
    assert len(sent["key"][0]) == 32
    assert "2 pictures" in page.inner_text("#who-list")
    assert "26 pictures in the gallery" in page.inner_text("#facts")
    page.click("#who-list >> text=Undo")
    page.wait_for_selector("text=my mug is taken back: 1 picture left the gallery.")
    until(page, "document.querySelector('#who-answers')?.innerText.startsWith('unknown')")
    assert not page.is_visible("#who-list")
    assert stub.enrolments == []


def test_what_was_taken_back_in_another_tab_is_no_error_and_leaves_the_list(tab, stub, pictures) -> None:
    page = asked(tab(), pictures[:1])
    page.fill("#who-name", "my mug")
    page.press("#who-name", "Enter")
    page.wait_for_selector("text=Enrolled my mug by 1 picture.")
    stub.enrolments = []
    page.click("#who-list >> text=Undo")
    page.wait_for_selector("text=my mug was taken back already.")
    assert not page.is_visible("#who-list")
    assert page.locator("[role=alert]:visible").count() == 0


def test_without_a_picture_there_is_nothing_to_enrol(tab) -> None:
    page = tab().open("who")
    assert not page.is_visible("#who-enrol")


def test_where_nobody_can_be_named_yet_the_reason_is_shown_and_enrolling_goes_on(tab, stub, pictures) -> None:
    stub.answers["/identify"] = lambda _: Answer(422, {"error": "shelf holds nobody: enrol somebody first"})
    page = tab().open("who")
    page.set_input_files("#who-places input", pictures[0])
    page.wait_for_selector("text=shelf holds nobody: enrol somebody first.")
    assert page.is_visible("#who-name")


def test_a_gallery_of_nobody_names_as_soon_as_somebody_is_enrolled(tab, stub, pictures) -> None:
    stub.answers["/about"] = lambda _: ABOUT | {"can": ["enrol"]}
    page = tab().open("who")
    page.set_input_files("#who-places input", pictures[0])
    page.wait_for_selector("text=Nobody is enrolled yet: give these pictures a name.")
    page.fill("#who-name", "my mug")
    page.click("#who-do")
    page.wait_for_selector("#who-answers li")
    assert page.inner_text("#who-answers").startswith("my mug")
