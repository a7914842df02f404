"""The whole page, made of a run folder: which sections it has, that it is safe, self-contained and accessible."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

from report.building import EACH, changed, contents, files_results, run_results
from report.parsed_page import Page
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.report.contents import read_contents
from triune.report.page import page, sections, write_report

SECTIONS = [
    *("verification", "threshold", "map", "search", "neighbours", "triplets", "mistakes"),
    *("masks", "classes", "training", "data", "use", "settings"),
]


def test_every_part_of_a_whole_run_has_its_section(whole_run: Path) -> None:
    report = write_report(whole_run)
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert report == whole_run / "report.html"
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS
    assert len(text) < 8e6
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"][1:] == [f"#{key}" for key in SECTIONS]
    assert len(page.classes("dot")) == 3 * EACH + 3
    assert "Open-set split: the identities judged here were never seen in training." in page.text


@pytest.mark.parametrize("results", [run_results(), files_results()], ids=["run", "files"])
def test_a_page_of_files_has_the_same_sections_as_that_of_a_run_where_its_results_have_the_same(
    results: Results,
) -> None:
    extra = {name: getattr(files_results(), name) for name in ("comparison", "conditions", "folds")}
    keys = [section.key for section in sections(contents(results.model_copy(update=extra)))]
    assert keys[:5] == ["verification", "comparison", "threshold", "conditions", "folds"]
    assert "search" in keys


def test_the_page_asks_nothing_of_the_network(run: Path) -> None:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attrs.get(name) or ""
            assert value == "" or value.startswith(("data:", "#")), (tag, value[:80])
    without_script = re.sub(r"<script>.*</script>", "", page.source, flags=re.S)
    assert re.findall(r"url\((?!data:)(?!\[)[^)]*\)", without_script) == []
    assert "@import" not in page.source
    assert "default-src 'none'" in page.source


def test_images_have_alternative_texts_and_tables_have_scopes(run: Path) -> None:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) > 40
    assert all(attrs.get("alt") for attrs in images)
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    assert len(page.classes("chart")) == 7
    assert all(attrs.get("aria-label") for attrs in page.classes("chart"))


def test_what_may_be_wider_than_the_page_scrolls_shows_so_and_is_reached_by_keyboard(run: Path) -> None:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    scrolling = page.classes("scrolls")
    tables, texts = page.classes("wide"), [attrs for tag, attrs in page.tags if tag == "pre"]
    assert len(tables) == sum(tag == "table" for tag, _ in page.tags) > 4
    assert all(box in scrolling and box["tabindex"] == "0" for box in tables + texts)
    # The section menu is the one more: its links are reached by themselves.
    assert len(scrolling) == len(tables) + len(texts) + 1


@pytest.mark.parametrize(
    ("spoil", "gone"),
    [
        (lambda run: (run / "history.csv").unlink(), {"training"}),
        (lambda run: (run / "config.yaml").unlink(), {"settings"}),
        (lambda run: (run / "model.safetensors").unlink(), {"use"}),
        (lambda run: shutil.rmtree(run / "masks"), set()),
        (lambda run: (run / "embeddings.parquet").unlink(), {"map", "neighbours", "triplets", "mistakes"}),
        (lambda run: without_images(run), {"neighbours", "triplets", "mistakes"}),
        (lambda run: change(run, classification=None), {"classes"}),
        (lambda run: change(run, segmentation=None), {"masks"}),
        (lambda run: change(run, threshold=None), {"mistakes"}),
        (lambda run: without_retrieval(run), {"search"}),
        (lambda run: change(run, data=run_results().data.model_copy(update={"splits": {}})), {"data"}),
        (lambda run: change(run, models=[], threshold=None), {"verification", "threshold", "search", "mistakes"}),
    ],
)
def test_a_missing_part_leaves_out_its_sections_and_no_other(
    run: Path, spoil: Callable[[Path], Any], gone: set[str]
) -> None:
    spoil(run)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert set(SECTIONS) - set(page.ids) == gone


def test_bare_embeddings_and_bare_scores_have_a_report_too(tmp_path: Path) -> None:
    bare = files_results().model_copy(update={"threshold": None, "comparison": None, "conditions": [], "folds": None})
    bare.write(tmp_path / "metrics.json")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [i for i in page.ids if i in SECTIONS] == ["verification", "threshold", "search"]
    assert "Euclidean distance" in page.text
    scores = changed(bare, {"retrieval": None, "rankings": {}}, {"histogram": None})
    scores.model_copy(update={"metric": "score", "models": scores.models[:1]}).write(tmp_path / "metrics.json")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [i for i in page.ids if i in SECTIONS] == ["verification"]


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_no_level_is_named_but_the_one_that_the_results_hold(level: float) -> None:
    stored = files_results().model_dump_json().replace('"level":0.8', f'"level":{level}')
    text = Page(page(contents(Results.model_validate_json(stored)))).text
    assert set(re.findall(r"([\d.]+)% interval", text)) == {f"{100 * level:g}"}


def test_text_from_the_data_cannot_become_markup(run: Path) -> None:
    evil = "</script><script>alert('x')</script>\"'&<b>"
    frame = polars.read_parquet(run / "embeddings.parquet")
    frame.with_columns(polars.col("identity") + evil, polars.col("label") + evil).write_parquet(
        run / "embeddings.parquet"
    )
    (run / "config.yaml").write_text(evil)
    spoiled = spoil_words(run_results(), evil).model_copy(
        update={
            name: getattr(spoil_words(files_results(), evil), name) for name in ("comparison", "conditions", "folds")
        }
    )
    spoiled.write(run / "metrics.json")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "alert('x')</script>" not in page.source
    assert '<b>"' not in page.source
    assert [tag for tag, _ in page.tags].count("script") == 2
    for key in ("verification", "comparison", "threshold", "conditions", "map", "classes", "settings"):
        assert evil in page.said(key), key
    assert evil in page.text


def spoil_words(results: Results, evil: str) -> Results:
    """The same with markup in every text that comes from files, tables or the command line."""

    def spoiled(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: value[key] + evil if key in WORDS and isinstance(value[key], str) else spoiled(value[key])
                for key in value
            }
        if isinstance(value, list):
            return [each + evil if isinstance(each, str) else spoiled(each) for each in value]
        return value

    return Results.model_validate(spoiled(results.model_dump()))


WORDS = ("triune", "name", "created", "source", "reason", "fitted_on", "against", "column", "condition", "worst")


def test_a_collapsed_embedding_and_one_that_is_not_finite_still_have_a_report(whole_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole_run, tmp_path / "collapsed"))
    frame = polars.read_parquet(run / "embeddings.parquet")
    rows = [[1.0, 0.0, 0.0]] * (len(frame) - 1) + [[float("nan"), 0.0, 0.0]]
    frame.with_columns(polars.Series("embedding", rows, dtype=polars.List(polars.Float32))).write_parquet(
        run / "embeddings.parquet"
    )
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert f"{3 * EACH - 1} test images of 3 identities" in page.text


def test_a_damaged_run_is_named_and_its_old_report_kept(run: Path, tmp_path: Path) -> None:
    old = write_report(run).read_bytes()
    for damaged in ("{", '{"name": "x"}'):
        (run / "metrics.json").write_text(damaged)
        with pytest.raises(InputError, match=r"metrics\.json"):
            write_report(run)
    assert (run / "report.html").read_bytes() == old
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        write_report(tmp_path / "nowhere")


def test_a_moved_run_is_read_where_it_is(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "moved")
    assert read_contents(moved).folder == moved
    assert f"triune verify {moved} a.jpg b.jpg" in Page(write_report(moved).read_text(encoding="utf-8")).said("use")


def change(run: Path, **parts: Any) -> None:
    """Write other results."""
    run_results().model_copy(update=parts).write(run / "metrics.json")


def without_retrieval(run: Path) -> None:
    """Write results whose models were not judged by retrieval."""
    change(run, models=[model.model_copy(update={"retrieval": None}) for model in run_results().models])


def without_images(run: Path) -> None:
    """Lose every image."""
    frame = polars.read_parquet(run / "embeddings.parquet")
    frame.with_columns(polars.lit("/gone.png").alias("image")).write_parquet(run / "embeddings.parquet")
