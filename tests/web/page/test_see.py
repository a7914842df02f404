"""The view See: class bars, and the mask over the picture with its opacity."""

from web.page.conftest import until
from web.page.stub import ABOUT


def test_classes_and_mask_are_shown_in_colours_that_the_slider_fades(tab, stub, pictures) -> None:
    opened = tab()
    page = opened.open("see")
    page.set_input_files("#see-places input", pictures[0])
    page.wait_for_selector("#see-laid:not([hidden])")
    until(page, "document.querySelector('#see-image').complete")
    opened.shown("see")
    assert page.inner_text("#see-label") == "cup"
    assert page.inner_text("#see-bars").split() == ["cup", "70.0%", "apple", "25.0%", "horse", "5.0%"]
    assert page.inner_text("#see-share") == "The mask covers 50.0% of the picture."
    assert page.inner_text("#see-legend").split("\n") == ["part 1", "part 2", "not seen by the model"]
    assert stub.last("/predict").form == {"images": ["red.png"], "masks": ["true"]}
    colours = page.evaluate("""() => {
        const canvas = document.querySelector("#see-mask");
        const context = canvas.getContext("2d");
        return [6, 18, 30, 42].map((x) => [...context.getImageData(x, 16, 1, 1).data]);
    }""")
    # Nothing where the id is 0; the colours of triune predict --overlays; black where the network did not see.
    assert colours == [[0, 0, 0, 0], [230, 60, 20, 255], [20, 120, 230, 255], [0, 0, 0, 255]]
    page.focus("#see-opacity")
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.querySelector('#see-mask')).opacity") == "0"
    page.keyboard.press("End")
    assert page.evaluate("getComputedStyle(document.querySelector('#see-mask')).opacity") == "1"
    page.click("#see-again")
    assert page.is_visible("#see-places")
    assert not page.is_visible("#see-laid")


def test_classes_that_read_like_numbers_are_ranked_by_probability(tab, stub, pictures) -> None:
    whole = stub.answers["/predict"]
    likely = {"7": 0.6, "0": 0.3, "3": 0.1}
    stub.answers["/predict"] = lambda asked: {
        "predictions": [whole(asked)["predictions"][0] | {"label": "7", "top": likely, "probabilities": likely}]
    }
    page = tab().open("see")
    page.set_input_files("#see-places input", pictures[0])
    page.wait_for_selector("#see-class:not([hidden])")
    assert page.inner_text("#see-label") == "7"
    assert page.inner_text("#see-bars").split() == ["7", "60.0%", "0", "30.0%", "3", "10.0%"]


def test_names_of_mask_ids_are_used_where_there_are_some(tab, stub, pictures) -> None:
    stub.answers["/about"] = lambda _: ABOUT | {"mask_names": ["ground", "handle", "bowl"]}
    page = tab().open("see")
    page.set_input_files("#see-places input", pictures[0])
    page.wait_for_selector("#see-laid:not([hidden])")
    assert page.inner_text("#see-legend").split("\n")[:2] == ["handle", "bowl"]


def test_a_model_without_masks_shows_classes_beside_the_picture(tab, stub, pictures) -> None:
    whole = stub.answers["/predict"]
    stub.answers["/about"] = lambda _: ABOUT | {"masks": False}
    stub.answers["/predict"] = lambda asked: {
        "predictions": [whole(asked)["predictions"][0] | {"mask": None, "mask_share": None, "unfamiliar": True}]
    }
    page = tab().open("see")
    page.set_input_files("#see-places input", pictures[0])
    page.wait_for_selector("#see-class:not([hidden])")
    assert stub.last("/predict").form == {"images": ["red.png"]}
    assert page.is_visible("#see-places img")
    assert not page.is_visible("#see-opacity")
    assert "like nothing the model was checked on" in page.inner_text("#see-care")
