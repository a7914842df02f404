"""The view About: what the model is, its figures with intervals, what it can and cannot do, lines for programs."""

from web.page.stub import ABOUT


def test_figures_stand_with_their_intervals_and_the_level_that_was_told(tab) -> None:
    opened = tab()
    page = opened.open("about")
    opened.shown("about")
    said = " ".join(page.inner_text("#about-figures").split())
    assert "TPR at FPR 5% 93.2% 63.5% to 99.6%" in said
    assert "AUC 0.978 0.957 to 0.995" in said
    assert "Mask IoU 0.942 overlap" in said
    assert "Small figures are 90% intervals" in page.inner_text("#about-figures-told")
    assert page.inner_text("h1") == "things-1"  # where it lies on the server is nobody's business
    assert "/srv" not in page.inner_text("body")
    assert "at most 2 MiB a picture" in " ".join(page.inner_text("#about-model").split())


def test_a_curl_line_for_each_ability_names_this_server(tab, stub) -> None:
    page = tab().open("about")
    lines = page.locator("#about-curl pre").all_inner_texts()
    assert f"curl -F first=@a.jpg -F second=@b.jpg {stub.url}verify" in lines
    assert len(lines) == 6


def test_what_the_run_cannot_do_has_no_tab_and_about_says_why(tab, stub) -> None:
    stub.answers["/about"] = lambda _: (
        ABOUT | {"can": ["embed"], "gallery": None, "classes": None, "masks": False, "figures": {}}
    )
    page = tab().open()
    assert page.locator("[role=tab]:visible").all_inner_texts() == ["About"]
    assert page.is_visible("#about")
    said = page.inner_text("#about-can")
    assert "no threshold: triune train fits one" in said
    assert "triune serve RUN --gallery G" in said
    assert not page.is_visible("#about-figures")


def test_abilities_lead_to_their_views(tab) -> None:
    page = tab().open("about")
    page.click("text=Search a gallery")
    page.wait_for_selector("#search:not([hidden])")
    assert page.get_attribute("#tab-search", "aria-selected") == "true"
    page.go_back()
    page.wait_for_selector("#about:not([hidden])")
