"""The report, made of a small real run folder: scikit-learn's digits, embedded by a linear projection."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from triune.errors import InputError
from triune.evaluation import measures
from triune.report import charts, pictures
from triune.report.embedding_map import embedding_map
from triune.report.markup import Scale, in_hundred, percent
from triune.report.page import write_report
from triune.report.thumbnails import mask_overlap, overlay, sheet, thumbnail

EACH = 24
VOID = {"meta", "link", "img", "br", "input", "hr"}
SECTIONS = [
    *("verification", "threshold", "map", "search", "neighbours", "triplets", "mistakes"),
    *("masks", "classes", "training", "data", "use", "settings"),
]


class Page(HTMLParser):
    """Checks that every tag is closed in order, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every part: judged on digits 4-6 (validation) and 7-9 (test)."""
    run = tmp_path_factory.mktemp("runs") / "digits"
    (run / "masks").mkdir(parents=True)
    digits = load_digits()
    chosen = np.concatenate([np.flatnonzero(digits.target == d)[:EACH] for d in range(4, 10)])
    pixels, labels = digits.data[chosen], digits.target[chosen].astype(str)
    trained = digits.target < 7
    project = LinearDiscriminantAnalysis(n_components=6).fit(digits.data[trained], digits.target[trained])
    embeddings = project.transform(pixels).astype(np.float32)
    splits = np.where(digits.target[chosen] < 7, "val", "test")
    rows = []
    for row, (image, label, split) in enumerate(zip(pixels, labels, splits, strict=True), start=2):
        ink = image.reshape(8, 8)
        paths = [run.parent / f"{kind}-{row}.png" for kind in ("image", "mask")]
        Image.fromarray((255 - ink * 15.9).astype(np.uint8)).resize((32, 32)).save(paths[0])
        mask = Image.fromarray((ink > 6).astype(np.uint8)).resize((32, 32), Image.Resampling.NEAREST)
        mask.save(paths[1])
        if split == "test" and row % 10 == 0:
            mask.save(run / "masks" / f"{row}.png")
        rows.append({"row": row, "image": str(paths[0]), "mask": str(paths[1]), "label": label, "split": str(split)})
    frame = polars.DataFrame(rows).with_columns(
        polars.col("label").alias("identity"),
        polars.col("label").alias("predicted_label"),
        polars.Series("embedding", embeddings.tolist(), dtype=polars.List(polars.Float32)),
    )
    frame.write_parquet(run / "embeddings.parquet")
    known = {s: (embeddings[splits == s], labels[splits == s]) for s in ("val", "test")}
    plain = {s: (pixels[splits == s], labels[splits == s]) for s in ("val", "test")}
    counted = {"images": 3 * EACH, "identities": 3, "classes": 3}
    metrics = {
        "triune": "0.0.test",
        "name": "digits",
        "created": "2026-01-02T03:04:05+00:00",
        "data": {
            "source": "digits",
            "split": "open-set",
            "splits": {"train": counted, "val": counted, "test": counted},
            "classes": ["4", "5", "6"],
        },
        "metric": "cosine",
        "verification": {
            "trained": {s: measures.verification_summary(*known[s], "cosine") for s in known},
            "pixels": {s: measures.verification_summary(*plain[s], "cosine") for s in plain},
        },
        "operating_point": measures.fitted_threshold(known["val"], known["test"], "cosine", 0.05),
        "retrieval": {
            "trained": measures.retrieval_summary(*known["test"], "cosine"),
            "pixels": measures.retrieval_summary(*plain["test"], "cosine"),
        },
        "classification": {
            "split": "holdout",
            "items": 9,
            "accuracy": 7 / 9,
            "classes": ["4", "5", "6"],
            "confusion": [[3, 0, 0], [1, 2, 0], [0, 1, 2]],
        },
        "segmentation": {"split": "test", "items": 72, "iou": 0.9, "dice": 0.95, "per_channel": [0.9]},
        "training": {"epochs": 2, "steps": 60, "seconds": 12.0, "best_epoch": 2, "seed": 0},
    }
    measures_rows = [
        f"{step // 30},{step},{2 / (step + 1)},{1 / (step + 1)},,0.2,0.5,0.3,0.6,0.4,{0.9 if step % 30 == 29 else ''}"
        for step in range(60)
    ]
    head = (
        "epoch,step,train_total,train_classification,train_segmentation,train_triplet,train_active_share,"
        "train_positive_distance,train_negative_distance,train_collapse,val_tpr"
    )
    (run / "history.csv").write_text("\n".join([head, *measures_rows]) + "\n")
    (run / "config.yaml").write_text("data: digits\nmargin: 0.2\n")
    (run / "model.safetensors").touch()
    save(run, metrics)
    return run


@pytest.fixture
def run(whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to spoil, with a quick map in place of t-SNE."""
    monkeypatch.setattr(pictures, "embedding_map", lambda rows: np.clip(rows[:, :2], 0, 1))
    return Path(shutil.copytree(whole_run, tmp_path / "digits"))


def test_every_part_of_a_whole_run_has_its_section(whole_run: Path) -> None:
    report = write_report(whole_run)
    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert report == whole_run / "report.html"
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS
    assert len(text) < 8e6
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"][1:] == [f"#{key}" for key in SECTIONS]
    assert len([tag for tag, attrs in page.tags if "dot" in str(attrs.get("class")).split()]) == 3 * EACH + 3
    assert "Open-set split: the identities judged here were never seen in training." in page.text


def test_the_page_asks_nothing_of_the_network(run: Path) -> None:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attrs.get(name) or ""
            assert value == "" or value.startswith(("data:", "#")), (tag, value[:80])
    text = (run / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"url\((?!data:)(?!\[)[^)]*\)", re.sub(r"<script>.*</script>", "", text, flags=re.S)) == []
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_images_have_alternative_texts_and_tables_have_scopes(run: Path) -> None:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) > 40
    assert all(attrs.get("alt") for attrs in images)
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    charts = [attrs for tag, attrs in page.tags if tag == "svg" and "chart" in str(attrs.get("class")).split()]
    assert len(charts) == 7
    assert all(attrs.get("aria-label") for attrs in charts)


def test_the_headline_says_in_words_what_the_numbers_say(run: Path) -> None:
    metrics = load(run)
    point = metrics["verification"]["trained"]["test"]["tpr_at_fpr"]["0.05"]
    pixels = metrics["verification"]["pixels"]["test"]["tpr_at_fpr"]["0.05"]["tpr"]
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    words = f"wrongly accepts 5 of 100 different pairs, {in_hundred(point['tpr'])} same pairs are recognised"
    assert words in text
    assert f"raw pixels{percent(pixels)}" in text


def test_the_confusion_table_is_that_of_the_metrics(run: Path) -> None:
    point = load(run)["operating_point"]
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    for split in ("val", "test"):
        c = point[split]
        assert f"same{c['tp']:,}TP{c['fn']:,}FNdifferent{c['fp']:,}FP{c['tn']:,}TN" in text
    assert f"cosine distance of at most {1 - point['threshold']:.4f}" in text


@pytest.mark.parametrize(
    ("spoil", "gone"),
    [
        (lambda run: (run / "history.csv").unlink(), {"training"}),
        (lambda run: (run / "history.csv").write_text(""), {"training"}),
        (lambda run: (run / "config.yaml").unlink(), {"settings"}),
        (lambda run: (run / "model.safetensors").unlink(), {"use"}),
        (lambda run: shutil.rmtree(run / "masks"), set()),
        (lambda run: (run / "embeddings.parquet").unlink(), {"map", "neighbours", "triplets", "mistakes"}),
        (lambda run: without_images(run), {"neighbours", "triplets", "mistakes"}),
        (lambda run: change(run, lambda m: m.update(classification=None)), {"classes"}),
        (lambda run: change(run, lambda m: m.update(segmentation=None)), {"masks"}),
        (lambda run: change(run, lambda m: m.update(operating_point=None)), {"mistakes"}),
        (lambda run: change(run, lambda m: m.update(retrieval={})), {"search"}),
        (lambda run: change(run, lambda m: m["data"].update(splits={})), {"data"}),
        (lambda run: change(run, lambda m: m.update(verification={}, operating_point=None)), {"verification"}),
    ],
)
def test_a_missing_part_leaves_out_its_sections_and_no_other(
    run: Path, spoil: Callable[[Path], Any], gone: set[str]
) -> None:
    spoil(run)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    if gone == {"verification"}:
        gone = {"verification", "threshold", "mistakes"}
    assert set(SECTIONS) - set(page.ids) == gone


def test_bare_embeddings_and_bare_scores_have_a_report_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 5)
    rows = rng.normal(size=(60, 8)) + np.eye(12, 8)[labels] * 3
    summary = measures.verification_summary(rows, labels, "euclidean")
    bare = {
        "triune": "0",
        "name": "e",
        "created": "2026-01-01T00:00:00+00:00",
        "data": {"source": "e.npy", "split": "given", "splits": {}, "classes": []},
        "metric": "euclidean",
        "verification": {"trained": {"test": summary}},
        "retrieval": {"trained": measures.retrieval_summary(rows, labels, "euclidean")},
        "operating_point": None,
        "classification": None,
        "segmentation": None,
        "training": None,
    }
    save(tmp_path, bare)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [i for i in page.ids if i in SECTIONS] == ["verification", "threshold", "search"]
    assert "Euclidean distance" in page.text
    del summary["histogram"]
    save(tmp_path, {**bare, "metric": "score", "retrieval": {}})
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [i for i in page.ids if i in SECTIONS] == ["verification"]


def test_intervals_are_shown_where_the_metrics_have_them(run: Path) -> None:
    assert "95% interval" not in Page(write_report(run).read_text(encoding="utf-8")).text
    interval = {"0.05": [0.612, 0.734], "auc": [0.871, 0.902]}
    change(run, lambda m: m["verification"]["trained"]["test"].update(interval=interval))
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    assert "95% interval: 61.2% to 73.4%" in text
    assert "0.871 to 0.902" in text


def test_doubts_are_said_before_the_figures(run: Path) -> None:
    def doubt(metrics: dict[str, Any]) -> None:
        points = metrics["verification"]["trained"]["test"]["tpr_at_fpr"]
        points["0.001"].update(reliable=False, reason="only 2.0 false positives are expected; 30 are needed")
        points["0.05"]["tpr"] = 0.1
        metrics["verification"]["pixels"]["test"]["tpr_at_fpr"]["0.05"]["tpr"] = 0.4
        metrics["operating_point"]["test"]["fpr"] = 0.2

    change(run, doubt)
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    care = text[text.index("Read with care") : text.index("Same or different")]
    assert "only 2.0 false positives are expected" in care
    assert "raw pixels (40.0%) recognise as many same pairs as this model (10.0%) or more" in care
    assert "accepts 20.0% of the different ones, not 5%" in care
    assert "Only 3 identities in the test split" in care


def test_a_split_that_cannot_be_verified_says_why(run: Path) -> None:
    reason = "every identity has a single image: a matching pair needs two"
    change(run, lambda m: m["verification"]["trained"].update(test={"unavailable": reason}))
    change(run, lambda m: m.update(operating_point={"unavailable": "too few <identities>"}))
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert f"The test split cannot be verified: {reason}." in page.text
    assert "No threshold was fitted: too few <identities>." in page.text


def test_text_from_the_data_cannot_become_markup(run: Path) -> None:
    evil = "</script><script>alert('x')</script>\"'&<b>"
    frame = polars.read_parquet(run / "embeddings.parquet")
    frame.with_columns(polars.col("identity") + evil, polars.col("label") + evil).write_parquet(
        run / "embeddings.parquet"
    )
    (run / "config.yaml").write_text(evil)

    def spoil(metrics: dict[str, Any]) -> None:
        metrics["name"] = metrics["triune"] = metrics["created"] = evil
        metrics["data"]["source"] = evil
        metrics["classification"]["classes"] = [evil + "4", evil + "5", evil + "6"]
        metrics["classification"]["split"] = metrics["segmentation"]["split"] = evil
        metrics["verification"][evil] = metrics["verification"].pop("pixels")

    change(run, spoil)
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert "alert('x')</script>" not in text
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert evil in "".join(page.words)


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
    (run / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json is damaged"):
        write_report(run)
    (run / "metrics.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="lacks triune, data, metric, verification"):
        write_report(run)
    assert (run / "report.html").read_bytes() == old
    with pytest.raises(InputError, match="name a folder that"):
        write_report(tmp_path / "nowhere")


def test_the_hardest_triplets_are_those_of_brute_force(run: Path) -> None:
    items = pictures.read_items(run, "cosine")
    assert items is not None
    unit = items.embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    same = items.identities[:, None] == items.identities[None, :]
    worst: dict[str, list[tuple[float, float, float]]] = {}
    for a in range(len(unit)):
        positive = np.where(same[a] & (np.arange(len(unit)) != a), distance[a], -np.inf).max()
        negative = np.where(~same[a], distance[a], np.inf).min()
        worst.setdefault(items.identities[a], []).append((positive - negative, positive, negative))
    two_each = [entry for entries in worst.values() for entry in sorted(entries, reverse=True)[:2]]
    expected = [(f"{p:.3f}", f"{n:.3f}") for _, p, n in sorted(two_each, reverse=True)]
    section = pictures.triplets_section(items)
    assert section is not None
    found = re.findall(r"positive</b> ([\d.−]+).*?negative</b> ([\d.−]+)", section.body)
    assert found == expected


def test_shown_mistakes_lie_on_the_wrong_side_of_the_threshold(run: Path) -> None:
    metrics = load(run)
    metrics["operating_point"]["threshold"] = 0.5
    section = pictures.mistakes_section(pictures.read_items(run, "cosine"), metrics)
    assert section is not None
    accepted, rejected = section.body.split("Same, but rejected")
    pattern = r"<figcaption><span>(.*?)</span> <span>(.*?)</span>"
    wrong, missed = re.findall(pattern, accepted), re.findall(pattern, rejected)
    assert wrong
    assert missed
    assert all(float(d) <= 0.5 and len(set(names.split(" · "))) == 2 for names, d in wrong)
    assert all(float(d) > 0.5 and names.startswith("both ") for names, d in missed)
    assert [float(d) for _, d in wrong] == sorted(float(d) for _, d in wrong)
    assert len({names for names, _ in wrong}) == 3


def test_neighbours_are_marked_right_or_wrong_by_sign_and_word(run: Path) -> None:
    items = pictures.read_items(run, "cosine")
    section = pictures.neighbours_section(items)
    assert section is not None
    for row in section.body.split("<div class='row'>")[1:]:
        query, *others = re.findall(r"<figure class='(\w+)'>.*?<figcaption>(.*?)</figcaption>", row)
        own = re.findall(r"class='who'>(.*?)<", query[1])
        assert query[0] == "query"
        assert len(others) == pictures.NEIGHBOURS
        for role, caption in others:
            right = re.findall(r"class='who'>(.*?)<", caption) == own
            assert role == ("right" if right else "wrong")
            assert ("✓" if right else "✗") in caption


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 40])
def test_the_map_takes_any_number_of_points(size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(size, 5)).astype(np.float32)
    places = embedding_map(rows)
    assert places.shape == (size, 2)
    assert np.isfinite(places).all()
    assert ((places >= 0) & (places <= 1)).all()


def test_the_map_takes_equal_points_and_narrow_embeddings() -> None:
    repeated = np.repeat(np.random.default_rng(0).normal(size=(12, 4)), 9, axis=0).astype(np.float32)
    collapsed = (1 + 1e-7 * np.random.default_rng(1).normal(size=(40, 4))).astype(np.float32)
    equal, line, single = np.ones((20, 4), np.float32), np.arange(20.0)[:, None], np.ones((5, 1), np.float32)
    for rows in (equal, line, single, repeated, collapsed):
        places = embedding_map(rows)
        assert np.isfinite(places).all()
        assert places.shape == (len(rows), 2)
    assert (np.ptp(embedding_map(repeated).reshape(12, 9, 2), axis=1) == 0).all()


def test_the_map_keeps_neighbours_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 25)
    rows = (rng.normal(size=(100, 16)) + 12 * np.eye(4, 16)[groups]).astype(np.float32)
    places = embedding_map(rows)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (groups[distance.argmin(axis=1)] == groups).mean() == 1
    assert (embedding_map(rows) == places).all()


@pytest.mark.parametrize(
    ("share", "expected", "words"),
    [
        (0.0, "0%", "0 of 100"),
        (1.0, "100%", "100 of 100"),
        (0.9421, "94.2%", "94 of 100"),
        (0.9996, "99.96%", "more than 99 of 100"),
        (0.999999, "over 99.999%", "more than 99 of 100"),
        (0.0004, "0.04%", "fewer than 1 of 100"),
        (None, "–", "an unknown number of 100"),
        (float("nan"), "–", "an unknown number of 100"),
    ],
)
def test_shares_are_never_rounded_to_nothing_or_all(share: Any, expected: str, words: str) -> None:
    assert percent(share) == expected
    assert in_hundred(share) == words


def test_scores_are_shown_as_the_distance_they_stand_for() -> None:
    assert Scale("cosine").shown(0.75) == 0.25
    assert Scale("euclidean").shown(-1.5) == 1.5
    assert Scale("squared_euclidean").name == "squared Euclidean distance"
    assert Scale("score").shown(3.0) == 3.0
    assert not Scale("score").closer


def test_axes_place_values_and_ticks() -> None:
    linear, log = charts.Axis("", 0, 2), charts.Axis("", 1e-4, 1.0, log=True, percent=True)
    assert [linear.share(v) for v in (-1, 0, 0.5, 2, 9)] == [0, 0, 0.25, 1, 1]
    assert linear.ticks() == [0, 0.5, 1, 1.5, 2]
    assert log.share(0.01) == pytest.approx(0.5)
    assert [log.label(t) for t in log.ticks()] == ["0.01%", "0.1%", "1%", "10%", "100%"]


def test_a_chart_draws_its_points_where_they_belong() -> None:
    x, y = charts.Axis("x", 0, 10), charts.Axis("y", 0, 1)
    svg = charts.chart("<title>", x, y, [charts.Series("a", [0, 10, 10], [0, 1, 1], "s0")])
    right, top = charts.WIDTH - charts.RIGHT, charts.TOP
    points = f'points="{charts.LEFT:.1f},{charts.HEIGHT - charts.BOTTOM:.1f} {right:.1f},{top:.1f}"'
    assert points in svg
    assert 'aria-label="&lt;title&gt;"' in svg


def test_a_roc_is_drawn_as_steps_and_a_histogram_as_shares() -> None:
    assert charts.staircase([0, 0.5, 1], [0.2, 0.6, 1]) == ([0, 0.5, 0.5, 1, 1], [0.2, 0.2, 0.6, 0.6, 1])
    assert charts.steps([0, 1, 2], [1, 3]) == ([0, 1, 1, 2], [0.25, 0.25, 0.75, 0.75])
    assert charts.steps([0, 1], [0]) == ([0, 1], [0, 0])


def test_mask_overlap_leaves_ignored_pixels_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 3, (9, 7)), rng.integers(0, 2, (9, 7))
    true[0] = 255
    for name, ids in (("true", true), ("found", found)):
        Image.fromarray(ids.astype(np.uint8)).save(tmp_path / f"{name}.png")
    a, b = true[1:] > 0, found[1:] > 0
    assert mask_overlap(tmp_path / "true.png", tmp_path / "found.png") == (a & b).sum() / (a | b).sum()
    assert mask_overlap(tmp_path / "true.png", tmp_path / "none.png") is None


def test_thumbnails_keep_the_shape_and_forgive_lost_files(tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), "red").save(tmp_path / "wide.png")
    Image.new("L", (300, 100), 1).save(tmp_path / "mask.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert decoded(thumbnail(tmp_path / "wide.png", 60)).size == (60, 20)
    assert decoded(overlay(tmp_path / "wide.png", tmp_path / "mask.png", 60)).size == (60, 20)
    assert thumbnail(tmp_path / "broken.png") is None
    assert thumbnail(tmp_path / "gone.png") is None
    found = sheet([str(tmp_path / name) for name in ("wide.png", "broken.png", "wide.png")], side=30)
    assert found is not None
    assert decoded(found.source).size == (60, 60)
    assert sheet([str(tmp_path / "gone.png")]) is None


def load(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text()))


def save(run: Path, metrics: dict[str, Any]) -> None:
    from triune.files import write_json

    write_json(run / "metrics.json", metrics)


def change(run: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    metrics = load(run)
    how(metrics)
    save(run, metrics)


def without_images(run: Path) -> None:
    frame = polars.read_parquet(run / "embeddings.parquet")
    frame.with_columns(polars.lit("/gone.png").alias("image")).write_parquet(run / "embeddings.parquet")


def decoded(source: str | None) -> Image.Image:
    import base64
    import io

    assert source is not None
    return Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))
