"""Everyone: axe-core in every view, light and dark; by keyboard alone; on a phone without sideways scrolling."""

from typing import Any

import pytest

VIEWS = ["compare", "search", "who", "see", "about"]


def filled(page: Any, pictures: list[Any]) -> None:
    """Every view with an answer in it."""
    page.set_input_files("#compare-places .drop:nth-child(1) input", pictures[0])
    page.set_input_files("#compare-places .drop:nth-child(2) input", pictures[1])
    page.set_input_files("#search-places .drop:nth-child(1) input", pictures[:2])
    page.set_input_files("#who-places input", pictures[:2])
    page.set_input_files("#see-places input", pictures[0])
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.evaluate("document.querySelector('#search-add-rule').click()")
    for answer in ("#compare-answer:not([hidden])", "#search-hits li", "#who-answers li", "#see-laid:not([hidden])"):
        page.wait_for_selector(answer, state="attached")


def serious(page: Any, rules: list[str] | None = None) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core judges accessibility")
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = axe.Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {node['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "rules"), [("light", None), ("dark", ["color-contrast"])])
def test_axe_finds_nothing_serious_in_any_view(tab, stub, pictures, scheme, rules) -> None:
    opened = tab(color_scheme=scheme)
    page = opened.open()
    behind = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(behind) < 40 if scheme == "dark" else min(behind) > 220
    empty = {view: serious(page, rules) for view in VIEWS if page.click(f"#tab-{view}") is None}
    filled(page, pictures)
    full = {}
    for view in VIEWS:
        page.click(f"#tab-{view}")
        opened.shown(f"{view}-{scheme}")
        full[view] = serious(page, rules)
    page.click("#tab-search")
    page.click(".hit >> nth=0")
    assert (empty, full, serious(page, rules)) == ({view: [] for view in VIEWS}, {view: [] for view in VIEWS}, [])
    page.evaluate("document.querySelector('#hit-title').style.color = '#888'")
    page.evaluate("document.querySelector('#hit-title').style.background = '#777'")
    assert [each.partition(":")[0] for each in serious(page, rules)] == ["color-contrast"]  # it does look


def test_nothing_is_wider_than_a_phone(tab, pictures) -> None:
    opened = tab(viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    page = opened.open()
    filled(page, pictures)
    wide = {}
    for width in (375, 320):
        page.set_viewport_size({"width": width, "height": 700})
        for view in VIEWS:
            page.click(f"#tab-{view}")
            opened.shown(f"{view}-phone-{width}")
            room = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            wide[view, width] = page.evaluate(room)
    assert {each: more for each, more in wide.items() if more} == {}


def test_the_tabs_go_round_by_arrow_keys_home_and_end(tab) -> None:
    page = tab().open()
    page.focus("#tab-compare")

    def after(key: str) -> str:
        page.keyboard.press(key)
        shown = page.evaluate("[...document.querySelectorAll('[role=tabpanel]:not([hidden])')].map((each) => each.id)")
        assert page.evaluate("document.activeElement.getAttribute('aria-controls')") == shown[0]
        assert len(shown) == 1
        return shown[0]

    assert [after(key) for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "Home", "End", "ArrowRight")] == [
        *("search", "compare", "about", "compare", "about", "compare")
    ]
    assert page.evaluate("[...document.querySelectorAll('[role=tab]')].map((each) => each.tabIndex)") == [
        0,
        -1,
        -1,
        -1,
        -1,
    ]


def test_two_pictures_are_compared_by_keyboard_alone(tab, stub, pictures) -> None:
    opened = tab()
    choosers: list[Any] = []

    def hears(chooser: Any) -> None:
        choosers.append(chooser)

    # From the start: Playwright does not wait until the browser hands its choosers over.
    opened.page.on("filechooser", hears)
    page = opened.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the pictures"
    page.keyboard.press("Enter")
    for picture, key in zip(pictures, ("Enter", "Space")):
        for _ in range(3):  # past what takes the picture before away
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.type") == "file":
                break
        assert page.evaluate("getComputedStyle(document.activeElement.closest('.drop')).outlineStyle") == "solid"
        page.keyboard.press(key)
        for _ in range(400):
            if choosers:
                break
            page.wait_for_timeout(25)
        choosers.pop().set_files(picture)
    page.wait_for_selector("#compare-answer:not([hidden])")
    while page.evaluate("document.activeElement.id") != "compare-level":
        page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.inner_text("#compare-word") == "different things"
    assert page.get_attribute("#compare-said", "role") == "status"
    page.remove_listener("filechooser", hears)
