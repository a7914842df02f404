"""The page's files: shipped with the package, complete in themselves, in the report's colours, text never markup."""

import re
from importlib.resources import files

import pytest

from report.test_assets import colour, contrast

PAGE = files("triune.web") / "page"
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in PAGE.iterdir()}
REPORT_CSS = files("triune.report").joinpath("assets", "report.css").read_text(encoding="utf-8")


def variables(css: str, mode: str) -> dict[str, str]:
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    found = dict(re.findall(r"--([\w-]+): ([^;]+);", light))
    return found if mode == "light" else {**found, **dict(re.findall(r"--([\w-]+): ([^;]+);", dark.split("\n}")[0]))}


def test_every_file_that_is_named_is_there_and_every_file_is_named() -> None:
    named = set(re.findall(r'(?:href|src)="page/([\w.-]+)"', TEXTS["index.html"])) | {"index.html"}
    for text in TEXTS.values():
        named |= set(re.findall(r'from "\./([\w.-]+)"', text)) | set(re.findall(r'url\("([\w-]+\.\w+)"\)', text))
    assert named == set(TEXTS)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_file_asks_another_host(name: str) -> None:
    assert set(re.findall(r"""(?<!:)//[\w.-]+\.\w+""", TEXTS[name])) - {"//www.w3.org"} == set()


@pytest.mark.parametrize("name", [name for name in sorted(TEXTS) if name.endswith(".js")])
def test_no_script_reads_text_as_markup_or_as_code(name: str) -> None:
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", TEXTS[name])
        == []
    )


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    text = TEXTS["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text) == []
    assert "unsafe" not in text


@pytest.mark.parametrize("name", [name for name in sorted(TEXTS) if name.endswith(".js")])
def test_every_script_says_its_idea_on_its_first_line(name: str) -> None:
    first, second = TEXTS[name].splitlines()[:2]
    assert re.fullmatch(r"// [A-Z].{20,}\.", first)
    assert second == ""


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_colours_are_those_of_the_report(mode: str) -> None:
    own, report = variables(TEXTS["style.css"], mode), variables(REPORT_CSS, mode)
    both = own.keys() & report.keys()
    assert len(both) >= 13
    assert {name: own[name] for name in both} == {name: report[name] for name in both}


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("behind", ["paper", "shade", "raised"])
def test_the_edges_of_controls_stand_out(behind: str, mode: str) -> None:
    found = variables(TEXTS["style.css"], mode)
    assert contrast(colour(found["control"]), colour(found[behind])) >= 3


def test_the_wheel_holds_the_page(tmp_path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel")
    root = files("triune").joinpath("..", "..")
    if not root.joinpath("pyproject.toml").is_file():
        pytest.skip("the package is installed: there is no source to build a wheel of")
    built = builder.WheelBuilder(str(root.resolve())).build(directory=str(tmp_path), versions=["standard"])
    import zipfile

    held = {
        name.removeprefix("triune/web/page/")
        for name in zipfile.ZipFile(next(built)).namelist()
        if "/web/page/" in name
    }
    assert held == set(TEXTS)
