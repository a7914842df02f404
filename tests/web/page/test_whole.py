"""The page on a real service: what it says is what the run says."""

import pytest

import triune


@pytest.fixture(scope="module")
def run(served_run):
    return triune.load(served_run, device="cpu")


@pytest.fixture
def page(tab, service):
    opened = tab(f"{service}/")
    yield opened.open()
    # The stub's policy is the service's: what works there works here.
    assert [each for each in opened.said if "Content Security Policy" in each] == []


def images(served_run, *names):
    return [served_run.parent / "images" / f"{name}.png" for name in names]


def test_the_verdict_of_the_page_is_that_of_the_run(page, run, served_run) -> None:
    first, second = images(served_run, "9-0", "10-1")
    page.set_input_files("#compare-places .drop:nth-child(1) input", first)
    page.set_input_files("#compare-places .drop:nth-child(2) input", second)
    page.wait_for_selector("#compare-answer:not([hidden])")
    own = run.verify(first, second)
    assert page.inner_text("#compare-word") == ("the same" if own.same else "different things")
    assert f"Cosine distance {own.distance:.4f}; up to {own.threshold:.4f}" in page.inner_text("#compare-distance")
    assert page.locator(".threshold").count() == 1


def test_the_gallery_is_searched_and_its_pictures_are_shown(page, served_run) -> None:
    page.click("#tab-search")
    page.set_input_files("#search-places .drop:nth-child(1) input", images(served_run, "9-0"))
    page.wait_for_selector("#search-hits li")
    first = " ".join(page.inner_text("#search-hits li >> nth=0").split())
    assert first == "id9 · odd 1.000"
    page.wait_for_selector(".hit img[src^=blob]")
    assert page.locator("#search-hits li").count() == 9
    page.click("#search-filters summary")
    page.fill("#search-where", "identity = 'id10'")
    page.keyboard.press("Tab")
    page.wait_for_selector(".working", state="detached")
    page.wait_for_selector("#search-hits li")
    assert page.locator("#search-hits li").count() == 3


def test_an_enrolment_and_its_undoing_leave_the_gallery_as_it_was(page, served_run, http) -> None:
    before = http.get("/about").json()["gallery"]["count"]
    page.click("#tab-who")
    page.set_input_files("#who-places input", images(served_run, "11-4", "11-5"))
    page.wait_for_selector("#who-answers li")
    page.fill("#who-name", "<b>my mug</b>")
    page.click("#who-do")
    page.wait_for_selector("text=Enrolled <b>my mug</b> by 2 pictures.")
    assert http.get("/about").json()["gallery"]["count"] == before + 2
    page.click("#who-enrol-state >> text=Undo")
    page.wait_for_selector("text=<b>my mug</b> is taken back: 2 pictures left the gallery.")
    assert http.get("/about").json()["gallery"]["count"] == before


def test_classes_and_mask_are_those_of_the_run(page, run, served_run) -> None:
    picture = images(served_run, "10-2")[0]
    page.click("#tab-see")
    page.set_input_files("#see-places input", picture)
    page.wait_for_selector("#see-class:not([hidden])")
    own = run.predict(picture)[0]
    assert page.inner_text("#see-label") == own.label
    shown = page.evaluate("""() => {
        const canvas = document.querySelector("#see-mask");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return [canvas.width, canvas.height, pixels.filter((value, at) => at % 4 === 3 && value).length];
    }""")
    assert shown == [own.size[1], own.size[0], int((own.mask > 0).sum())]


def test_what_is_no_picture_is_told_in_the_words_of_the_service(page, tmp_path) -> None:
    (tmp_path / "notes.png").write_bytes(b"not a picture")
    page.click("#tab-see")
    page.set_input_files("#see-places input", tmp_path / "notes.png")
    page.wait_for_selector("#see-state [role=alert]:has-text('notes.png')")
