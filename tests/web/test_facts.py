"""What the run's files say of it, held against its embeddings, counted pair by pair."""

import math
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import triune
from triune.errors import InputError
from triune.run.judged_items import read_judged_items
from triune.web.answers import Figures
from triune.web.facts import figures_of, number, pairs_of, thresholds_of


@pytest.fixture(scope="module")
def told(loaded):
    return loaded.network.results, thresholds_of(loaded)


@pytest.fixture(scope="module")
def distances(served_run):
    """Of all validation pairs: the distance, and whether the pair matches."""
    items = read_judged_items(served_run / "embeddings.parquet").filter(pl.col("split") == "val")
    x = np.array(items["embedding"].to_list(), np.float64)
    who = items["identity"].to_numpy()
    i, j = np.triu_indices(len(x), 1)
    return 1 - (x[i] * x[j]).sum(axis=1), who[i] == who[j]


def test_each_level_does_to_validation_pairs_what_it_says(told, distances, served_run):
    pairs = pairs_of(*told, "the run")
    apart, match = distances
    assert len(pairs.levels) > 10
    for level in pairs.levels:
        accepted = apart <= level.distance + 1e-6
        assert accepted[~match].mean() == pytest.approx(level.validation_fpr, abs=1e-9)
        assert accepted[match].mean() == pytest.approx(level.tpr, abs=1e-9)
        assert level.validation_fpr <= level.fpr
    rates = [level.fpr for level in pairs.levels]
    assert rates == sorted(rates)
    reach = [level.distance for level in pairs.levels]
    assert reach == sorted(reach)


def test_its_own_threshold_and_those_that_it_stores_are_exact(told):
    results, thresholds = told
    pairs = pairs_of(results, thresholds, "the run")
    assert pairs.levels[pairs.own].fpr == thresholds.target_fpr
    assert pairs.levels[pairs.own].distance == thresholds.own("it").distance
    exact = {level.fpr: level.distance for level in pairs.levels if level.exact}
    assert exact == {each.target_fpr: number(each.distance) for each in thresholds.thresholds}
    assert all(level.expected is None for level in pairs.levels if not level.exact)


def test_the_histogram_counts_every_pair_where_it_lies(told, distances):
    pairs = pairs_of(*told, "the run")
    apart, match = distances
    edges = np.array(pairs.edges)
    assert (np.diff(edges) > 0).all()
    assert len(edges) == len(pairs.matching) + 1 == len(pairs.others) + 1
    assert (sum(pairs.matching), sum(pairs.others)) == (match.sum(), (~match).sum())
    # Cumulated, so that a pair on an edge, which rounding moves over it, counts once.
    below = np.cumsum(pairs.others)
    near = np.array([(apart[~match] <= edge + 1e-6).sum() for edge in edges[1:]])
    assert np.abs(below - near).max() <= 1


def test_a_run_that_stores_no_pairs_says_so(told):
    results, thresholds = told
    with pytest.raises(InputError, match=r"timm:x stores no validation pairs: .triune train. does"):
        pairs_of(None, "it has none", "timm:x")
    with pytest.raises(InputError, match="stores no validation pairs"):
        pairs_of(results, "it has none", "the run")
    without = thresholds.model_copy(update={"thresholds": [], "unavailable": "there was no impostor"})
    with pytest.raises(InputError, match="has no threshold: there was no impostor"):
        pairs_of(results, without, "the run")


def test_thresholds_that_are_damaged_are_no_missing_ones(served_run, tmp_path):
    shutil.copytree(served_run, tmp_path / "run")
    (tmp_path / "run" / "thresholds.json").write_text("{")
    with pytest.raises(InputError, match=r"thresholds\.json"):
        thresholds_of(triune.load(tmp_path / "run", device="cpu"))
    (tmp_path / "run" / "thresholds.json").unlink()
    assert "thresholds.json" in thresholds_of(triune.load(tmp_path / "run", device="cpu"))


def test_figures_are_those_of_the_report(told):
    results, thresholds = told
    figures = figures_of(results, thresholds.target_fpr)
    test = results.models[0].verification["test"]
    assert (figures.split, figures.level, figures.target_fpr) == ("test", 0.8, 0.1)
    assert (figures.auc.value, figures.auc.low) == (test.auc, test.auc_interval.low)
    assert figures.recall_at_1.value == results.models[0].retrieval.recall_at[1]
    assert figures.accuracy.value == results.classification.accuracy
    assert figures.iou.value == results.segmentation.iou
    assert figures_of(None, 0.1) == Figures(target_fpr=0.1)


def test_a_figure_that_is_no_number_is_left_away(told):
    results, thresholds = told
    model = results.models[0]
    test = model.verification["test"].model_copy(update={"auc": math.nan})
    odd = results.model_copy(
        update={"models": [model.model_copy(update={"verification": {"test": test}})], "classification": None}
    )
    figures = figures_of(odd, thresholds.target_fpr)
    assert figures.auc is None
    assert figures.accuracy is None
    assert figures.eer is not None


@pytest.mark.parametrize(
    ("value", "shown"), [(math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN"), (0.5, 0.5)]
)
def test_a_number_is_one_that_json_holds(value, shown):
    assert number(value) == shown


def test_a_threshold_that_accepts_nothing_is_a_word(told):
    results, thresholds = told
    nothing = [replace(each, threshold=math.inf, lowest_accepted=math.inf) for each in thresholds.thresholds]
    pairs = pairs_of(results, thresholds.model_copy(update={"thresholds": nothing}), "the run")
    assert pairs.levels[pairs.own].distance == "-Infinity"


def test_an_exported_file_says_what_its_run_does(exported):
    folder, _ = exported
    run, file = triune.load(folder / "run", device="cpu"), triune.load(folder / "run.onnx")
    thresholds = thresholds_of(run)
    assert thresholds_of(file) == thresholds
    assert pairs_of(file.network.results, thresholds, "it") == pairs_of(run.network.results, thresholds, "it")
    both = [figures_of(each.network.results, thresholds.target_fpr) for each in (run, file)]
    assert both[0] == both[1]
    assert both[0].auc is not None
    assert both[0].iou is not None
    assert len(file.network.figures) < 12_000


def test_a_file_without_figures_says_so(exported):
    file = triune.load(exported[0] / "run.onnx")
    older = replace(file.network, figures=None)
    assert older.results is None
    with pytest.raises(InputError, match="stores no validation pairs"):
        pairs_of(older.results, thresholds_of(file), "it")
    damaged = replace(file.network, figures='{"format": 2}')
    with pytest.raises(InputError, match=r"run\.onnx, metadata triune\.figures"):
        _ = damaged.results
