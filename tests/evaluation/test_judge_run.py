"""The headline figures of a run, each computed again from the image files and the stored embeddings alone."""

import shutil
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix

from conftest import digests
from data.sources.layouts import lfw as lfw_tree
from evaluation.conftest import FLAGS, SIDE, untrained_run, write_items
from oracles import brute_verification
from triune.data.items import from_frame
from triune.errors import InputError
from triune.evaluation.judge import Resampling
from triune.evaluation.judge_run import (
    RunQuestions,
    checked,
    evaluate_again,
    evaluate_run,
    evaluation_device,
)
from triune.evaluation.results import ModelResult, Results, Unavailable
from triune.files import write_record
from triune.model.network import MultiTaskModel
from triune.retrieval.metrics import retrieval_metrics
from triune.run.facts import TrainingFacts
from triune.run.folder import load_card, load_model, seal
from triune.run.judged_items import read_judged_items
from triune.run.parser import parse_train
from triune.run.thresholds import read_thresholds
from triune.training.train import load_items
from triune.verification.bootstrap import bootstrap_verification
from triune.verification.folds import cross_validated_accuracy

FAST = Resampling(0)
NEAR = 2e-7
"""The oracle's products differ in the last bits of float32."""


def split_of(run, split):
    """Embeddings (N, D) float64 and identities of a split, as the run stored them."""
    frame = read_judged_items(run / "embeddings.parquet").filter(polars.col("split") == split)
    return np.array(frame["embedding"].to_list(), dtype=np.float64), frame["identity"].to_numpy(), frame


def assert_agree(found, expected):
    assert (found.matches, found.impostors) == (expected["matches"], expected["impostors"])
    assert found.auc == pytest.approx(expected["auc"], abs=1e-9)
    assert found.eer == pytest.approx(expected["eer"], abs=1e-9)
    for point in found.points:
        assert point.tpr == pytest.approx(expected["tpr_at_fpr"](point.target_fpr), abs=1e-9)


@pytest.mark.parametrize("split", ["val", "test"])
def test_verification_of_the_model_is_that_of_the_stored_embeddings(judged_run, split):
    run, _, found = judged_run
    x, names, _ = split_of(run, split)
    assert_agree(found.results.models[0].verification[split], brute_verification(x @ x.T, names))


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_pixel_baseline_is_32_by_32_pixels_less_each_image_s_mean_at_unit_length(judged_run, split):
    run, _, found = judged_run
    _, names, frame = split_of(run, split)
    pixels = []
    for path in frame["image"]:
        image = np.asarray(Image.open(path), dtype=np.float64)  # the run's own size: nothing is resized before
        # 48 pixels become 32: each new pixel averages those that its third of two covers, as adaptive pooling does.
        starts, stops = np.floor(np.arange(32) * SIDE / 32), np.ceil((np.arange(32) + 1) * SIDE / 32)
        cells = [slice(int(a), int(b)) for a, b in zip(starts, stops)]
        small = np.array([[image[r, c].mean(axis=(0, 1)) for c in cells] for r in cells]).ravel()
        small -= small.mean()
        pixels.append(small / np.linalg.norm(small))
    expected = brute_verification(np.array(pixels) @ np.array(pixels).T, names)
    [baseline] = [model for model in found.results.models if model.role == "pixels"]
    assert_agree(baseline.verification[split], expected)
    # Each image has a brightness of its own, so that pixels as they are would give other figures.
    assert baseline.name == "raw pixels"


def test_the_untrained_baseline_is_the_mean_of_the_deepest_features_before_training(judged_run):
    run, _, found = judged_run
    _, names, frame = split_of(run, "test")
    torch.manual_seed(0)  # the run's seed
    start = MultiTaskModel("resnet10t", num_classes=0, mask_channels=0, embedding_dim=16, pretrained=False).eval()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = np.stack([(np.asarray(Image.open(path)) / 255 - mean) / std for path in frame["image"]])
    with torch.inference_mode():
        deepest = start.features(torch.from_numpy(images.transpose(0, 3, 1, 2)).float())[-1].double().numpy()
    rows = deepest.mean(axis=(2, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    [baseline] = [model for model in found.results.models if model.role == "untrained"]
    expected = brute_verification(rows @ rows.T, names)
    assert baseline.name == "untrained backbone"
    assert baseline.verification["test"].auc == pytest.approx(expected["auc"], abs=0.005)
    assert baseline.verification["test"].eer == pytest.approx(expected["eer"], abs=0.03)


def test_accuracy_and_confusion_are_scikit_learn_s(judged_run):
    run, _, found = judged_run
    _, _, frame = split_of(run, "test")
    measured = found.results.classification
    assert measured.accuracy == pytest.approx(accuracy_score(frame["label"], frame["predicted_label"]))
    expected = confusion_matrix(frame["label"], frame["predicted_label"], labels=["even", "odd"])
    assert measured.confusion == expected.tolist()
    assert (measured.classes, measured.split, measured.items) == (["even", "odd"], "test", 24)


def test_iou_and_dice_are_those_of_the_foreground_pixels_that_are_not_ignored(judged_run):
    run, _, found = judged_run
    model, _ = load_model(run)
    _, _, frame = split_of(run, "test")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    both = either = predicted = true = 0
    for image, mask in zip(frame["image"], frame["mask"]):
        x = torch.from_numpy(((np.asarray(Image.open(image)) / 255 - mean) / std).transpose(2, 0, 1)).float()
        with torch.inference_mode():
            said = (model(x[None]).mask_logits[0, 0] > 0).numpy()
        truth = np.asarray(Image.open(mask))
        for p, t in zip(said.ravel().tolist(), truth.ravel().tolist()):
            if t == 255:
                continue
            both, either = both + (p and t == 1), either + (p or t == 1)
            predicted, true = predicted + p, true + (t == 1)
    measured = found.results.segmentation
    assert measured.iou == pytest.approx(both / either, abs=1e-4)
    assert measured.dice == pytest.approx(2 * both / (predicted + true), abs=1e-4)
    assert (measured.split, measured.items) == ("test", 24)


def test_recall_at_k_asks_whether_one_of_the_k_nearest_has_the_same_identity(judged_run):
    run, _, found = judged_run
    x, names, _ = split_of(run, "test")
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1)
    measured = found.results.models[0].retrieval
    for k in (1, 5, 10):
        hits = [(names[order[i, :k]] == names[i]).any() for i in range(len(x))]
        assert measured.recall_at[k] == pytest.approx(np.mean(hits))
        assert measured.cmc[k - 1] == pytest.approx(np.mean(hits))
    at_r = [[names[order[i, :5]] == names[i]][0] for i in range(len(x))]  # five others of each identity
    precision = [sum((hit[: j + 1].mean() if hit[j] else 0) for j in range(5)) / 5 for hit in at_r]
    assert measured.map_at_r == pytest.approx(np.mean(precision))


def test_thresholds_are_fitted_on_validation_pairs_and_applied_to_test_pairs(judged_run):
    run, _, found = judged_run
    stored = read_thresholds(run / "thresholds.json")
    assert [each.target_fpr for each in stored.thresholds] == [0.1, 0.05, 0.01, 0.001]
    applied = found.results.threshold
    assert (applied.target_fpr, applied.fitted_on) == (0.1, "validation pairs")
    for split, counts in (("val", applied.on_fitted), ("test", applied.on_test)):
        x, names, _ = split_of(run, split)
        expected = brute_verification(x @ x.T, names)
        if split == "val":
            for each in stored.thresholds:
                lowest = expected["lowest_score_within"](each.target_fpr)
                # What is stored accepts the pairs that the lowest observed score within the budget accepts.
                assert expected["accepted"](each.threshold - NEAR) == expected["accepted"](lowest - NEAR)
        assert (counts.tp, counts.fp) == expected["accepted"](applied.threshold - NEAR)
        assert counts.tp + counts.fn == expected["matches"]
        assert counts.fp + counts.tn == expected["impostors"]
    assert applied.on_fitted.fpr <= 0.1
    assert applied.distance == pytest.approx(1 - applied.threshold)


def test_intervals_are_those_of_resampled_identities_on_the_test_split(judged_run):
    run, _, found = judged_run
    x, names, _ = split_of(run, "test")
    expected = bootstrap_verification(x.astype(np.float32), names, resamples=40, level=0.8, seed=1)
    measured = found.results.models[0].verification["test"]
    assert (measured.auc_interval.low, measured.auc_interval.high) == (expected.auc.low, expected.auc.high)
    assert (measured.uncertainty.level, measured.uncertainty.identities) == (0.8, 4)
    assert found.results.models[0].verification["val"].uncertainty is None


def test_what_was_found_is_written_whole(judged_run):
    run, _, found = judged_run
    assert Results.read(run / "metrics.json").model_dump_json() == found.results.model_dump_json()
    data = found.results.data
    assert {split: (c.images, c.identities, c.classes) for split, c in data.splits.items()} == {
        "train": (12, 2, 2), "val": (24, 4, 2), "test": (24, 4, 2)
    }  # fmt: skip
    assert (data.split, data.classes) == ("given", ["even", "odd"])
    assert len(list((run / "masks").glob("*.png"))) == 12


def test_judging_again_finds_the_same_and_writes_where_it_is_told(judged_run, tmp_path):
    run, _, before = judged_run
    kept = (run / "metrics.json").read_bytes()
    again = evaluate_again(run, tmp_path / "out", RunQuestions(resampling=Resampling(40, 0.8, 1)))
    assert (run / "metrics.json").read_bytes() == kept
    same = again.results.model_copy(update={"created": before.results.created})
    assert same.model_dump_json() == before.results.model_dump_json()
    assert not (tmp_path / "out" / "thresholds.json").exists()


def test_a_run_keeps_the_split_that_it_was_trained_with(judged_run, tmp_path):
    """The table says otherwise by now; without the stored split training images would be judged."""
    _, items, before = judged_run
    folder = tmp_path / "data"
    shutil.copytree(items.parent, folder)
    frame = polars.read_csv(folder / "items.csv", infer_schema=False)
    swapped = polars.col("split").replace({"train": "test", "test": "train"})
    frame.with_columns(swapped).write_csv(folder / "items.csv")
    config = (folder / "run" / "config.yaml").read_text().replace(str(items.parent), str(folder))
    (folder / "run" / "config.yaml").write_text(config)
    again = evaluate_again(folder / "run", tmp_path / "a", RunQuestions(resampling=FAST))
    assert again.results.models[0].verification["test"].auc == before.results.models[0].verification["test"].auc
    assert again.results.data.splits == before.results.data.splits
    other = evaluate_again(
        folder / "run", tmp_path / "b", RunQuestions(data=str(folder / "items.csv"), resampling=FAST)
    )
    assert other.results.data.splits["test"].images == 12


def test_conditions_are_columns_of_the_table_at_the_fitted_threshold(judged_run, tmp_path):
    run, _, _ = judged_run
    asked = RunQuestions(conditions=("camera",), exclude="session", resampling=Resampling(40))
    found = evaluate_again(run, tmp_path / "out", asked).results
    [table] = found.conditions
    assert (table.column, table.fitted_here) == ("camera", False)
    assert (table.threshold, table.distance) == (found.threshold.threshold, found.threshold.distance)
    x, names, _ = split_of(run, "test")
    camera, session = np.arange(24) % 2, np.arange(24) % 6 // 2
    i, j = np.triu_indices(24, 1)
    for row, value in zip(table.rows, (0, 1), strict=True):
        kept = (camera[i] == value) & (camera[j] == value) & (session[i] != session[j])
        same = names[i[kept]] == names[j[kept]]
        accepted = (x[i[kept]] * x[j[kept]]).sum(1) >= table.threshold - NEAR
        assert (row.condition, row.matches, row.impostors) == (f"c{value}", same.sum(), (~same).sum())
        assert row.tpr.estimate == pytest.approx(accepted[same].mean())
        assert row.fpr.estimate == pytest.approx(accepted[~same].mean())
    assert found.models[0].verification["test"].matches == sum(
        names[a] == names[b] and session[a] != session[b] for a, b in zip(i, j)
    )


def test_a_column_that_is_not_there_is_named(judged_run, tmp_path):
    run, _, _ = judged_run
    for asked, flag in ((RunQuestions(conditions=("lens",)), "--groups"), (RunQuestions(exclude="lens"), "--exclude")):
        with pytest.raises(InputError, match=rf"^{flag} names the column 'lens': .*camera, session"):
            evaluate_again(run, tmp_path / "out", replace(asked, resampling=FAST))


def test_two_runs_are_compared_on_the_same_items_and_rankings_stand_with_their_model(judged_run, tmp_path):
    run, items, _ = judged_run
    untrained_run(tmp_path / "rival", items)
    asked = RunQuestions(against=tmp_path / "rival", reranked=True, resampling=Resampling(40))
    found = evaluate_again(run, tmp_path / "out", asked).results
    assert [model.name for model in found.models] == ["this model", "rival", "raw pixels", "untrained backbone"]
    assert found.comparison.against == "rival"
    assert found.comparison.auc.estimate == pytest.approx(0, abs=1e-6)  # the rival's weights are the same
    assert list(found.models[0].rankings) == ["expanded", "re-ranked"]
    assert not any(model.rankings for model in found.models[1:])


def test_a_threshold_from_elsewhere_is_applied_in_place_of_the_fitted_one(judged_run, tmp_path):
    run, _, _ = judged_run
    stored = (run / "thresholds.json").read_text()
    (tmp_path / "t.json").write_text(stored.replace('"target_fpr": 0.1', '"target_fpr": 0.01', 1))
    asked = RunQuestions(threshold=tmp_path / "t.json", resampling=FAST)
    found = evaluate_again(run, tmp_path / "out", asked).results
    assert found.threshold.target_fpr == 0.01
    x, names, _ = split_of(run, "test")
    accepted = brute_verification(x @ x.T, names)["accepted"](found.threshold.threshold - NEAR)
    assert (found.threshold.on_test.tp, found.threshold.on_test.fp) == accepted
    assert found.threshold.on_fitted is None


def test_a_run_without_validation_split_says_why_it_has_no_threshold(judged_run, tmp_path):
    run, items, _ = judged_run
    shutil.copytree(items.parent, tmp_path / "data")
    table = tmp_path / "data" / "items.csv"
    table.write_text("\n".join(line for line in items.read_text().splitlines() if ",val," not in line) + "\n")
    table.write_text(table.read_text().replace(",id1,train,", ",id1,val,").replace(",id0,train,", ",id1,train,"))
    lines = [line for line in table.read_text().splitlines() if ",val," not in line or "1-0.png" in line]
    table.write_text("\n".join(lines) + "\n")  # one validation image
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "thresholds.json").unlink()
    asked = RunQuestions(data=str(table), resampling=FAST)
    found = evaluate_again(tmp_path / "run", tmp_path / "out", asked).results
    reason = "validation split: 1 identity: at least two are needed for a non-matching pair"
    assert found.threshold == Unavailable(unavailable=reason)


def test_a_split_that_is_no_verification_task_says_why(judged_run, tmp_path):
    run, items, _ = judged_run
    folder = tmp_path / "data"
    shutil.copytree(items.parent, folder)
    lines = (folder / "items.csv").read_text().splitlines()
    kept = [line for line in lines if ",test," not in line or ",id6," in line]  # one identity alone
    (folder / "items.csv").write_text("\n".join(kept) + "\n")
    asked = RunQuestions(data=str(folder / "items.csv"), resampling=FAST)
    found = evaluate_again(run, tmp_path / "out", asked).results
    model: ModelResult = found.models[0]
    assert isinstance(model.verification["test"], Unavailable)
    assert model.judged()[0] == "val"
    assert model.retrieval.queries == 24


def test_other_data_are_judged_whole_at_the_stored_threshold_and_the_run_stays_as_it_is(judged_run, tmp_path):
    run, items, before = judged_run
    shutil.copytree(items.parent / "images", tmp_path / "images")
    frame = polars.read_csv(items, infer_schema=False).filter(polars.col("split") == "test")
    frame.select("image", "identity").write_csv(tmp_path / "new.csv")
    kept = digests(run)
    found = evaluate_again(run, tmp_path / "out", RunQuestions(data=str(tmp_path / "new.csv"), resampling=FAST)).results
    assert digests(run) == kept
    assert {split: c.images for split, c in found.data.splits.items()} == {"test": 24}
    assert found.threshold.threshold == before.results.threshold.threshold
    assert found.threshold.on_test == before.results.threshold.on_test  # they are the same pictures
    assert found.threshold.on_fitted is None


def test_own_data_are_judged_at_the_stored_threshold_even_where_another_would_be_fitted(judged_run, tmp_path):
    run, _, before = judged_run
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "thresholds.json"
    stored = read_thresholds(path)
    own = stored.own("it")
    moved = replace(own, threshold=own.threshold + 0.01)
    others = [moved if each == own else each for each in stored.thresholds]
    write_record(path, stored.model_copy(update={"thresholds": others}))
    seal(tmp_path / "run", [path.name])
    found = evaluate_again(tmp_path / "run", tmp_path / "out", RunQuestions(resampling=FAST)).results
    assert found.threshold.threshold == own.threshold + 0.01
    assert found.threshold.on_fitted.fpr <= before.results.threshold.on_fitted.fpr


def test_a_table_with_nothing_to_judge_or_with_files_that_cannot_be_read_is_refused(judged_run, tmp_path):
    run, items, _ = judged_run
    frame = polars.read_csv(items, infer_schema=False)
    for column in ("image", "mask"):
        frame = frame.with_columns((str(items.parent) + "/" + polars.col(column)).alias(column))
    frame.with_columns(polars.lit("train").alias("split")).write_csv(tmp_path / "train.csv")
    gone = polars.when(polars.arange(polars.len()) == 3).then(polars.lit("gone.png")).otherwise(polars.col("image"))
    frame.with_columns(gone.alias("image")).write_csv(tmp_path / "gone.csv")
    for name, said in (("train.csv", "nothing is judged"), ("gone.csv", r"row 5, column image: .*gone\.png")):
        with pytest.raises(InputError, match=said):
            evaluate_again(run, tmp_path / "out", RunQuestions(data=str(tmp_path / name), resampling=FAST))
    assert not (tmp_path / "out").exists()


def test_identities_set_aside_for_it_get_the_threshold_and_nothing_is_chosen_or_reported_by_them(tmp_path):
    items = write_items(tmp_path)
    for name in ("id8", "id9"):
        items.write_text(items.read_text().replace(f"{name},test", f"{name},calibration"))
    config, data = untrained_run(tmp_path / "run", items)
    found = evaluate_run(tmp_path / "run", config, data, RunQuestions(resampling=FAST))
    x, names, _ = split_of(tmp_path / "run", "calibration")
    assert set(names) == {"id8", "id9"}
    stored = read_thresholds(tmp_path / "run" / "thresholds.json")
    expected = brute_verification(x @ x.T, names)
    for each in stored.thresholds:
        assert (each.fitted_on, each.matches, each.impostors) == ("calibration pairs", 30, 36)
        assert each.tpr == pytest.approx(expected["tpr_at_fpr"](each.target_fpr))
        assert (each.expected.identities, each.expected.low) == (2, 0)
        assert each.expected.high >= 0.975  # two identities say next to nothing of others
    assert found.results.data.splits["calibration"].images == 12
    roles = {model.role: list(model.verification) for model in found.results.models}
    assert roles == {"model": ["calibration", "val", "test"], "pixels": ["val", "test"], "untrained": ["val", "test"]}


def test_a_promise_that_so_few_identities_cannot_give_is_refused_before_anything_is_trained(tmp_path):
    items = write_items(tmp_path)
    asked = ["--data", str(items), *FLAGS, "--fpr_confidence", "0.95"]
    with pytest.raises(InputError, match=r"needs 58 identities by which nothing was chosen: mark rows of .*items\.csv"):
        load_items(parse_train(asked))
    items.write_text(items.read_text().replace("id9,test", "id9,calibration").replace("id8,test", "id8,calibration"))
    with pytest.raises(InputError, match=r"2 identities cannot .* 58 are needed; 2 can promise 0\.95 at the least"):
        load_items(parse_train(asked))
    assert len(load_items(parse_train([*asked, "--target_fpr", "0.96"])).part("calibration")) == 12


def test_settings_of_another_run_are_refused_by_name(judged_run, tmp_path):
    run, items, _ = judged_run
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("metric: cosine", "metric: euclidean"))
    with pytest.raises(InputError, match=r"config\.yaml, field metric: it says euclidean, but .* with cosine"):
        evaluate_again(tmp_path / "run", tmp_path / "out", RunQuestions(data=str(items), resampling=FAST))


def test_identities_that_were_trained_on_are_counted_in_every_split(judged_run, tmp_path):
    run, items, found = judged_run
    assert {split: counts.trained for split, counts in found.results.data.splits.items()} == {
        "train": 2,
        "val": 0,
        "test": 0,
    }
    again = evaluate_again(run, tmp_path / "out", RunQuestions(data=str(_all_as_test(items)), resampling=FAST))
    assert again.results.data.splits["test"].trained == 2


def _all_as_test(items):
    lines = items.read_text().splitlines()
    place = items.with_name("all.csv")
    place.write_text("\n".join(line.replace(",train,", ",test,").replace(",val,", ",test,") for line in lines) + "\n")
    return place


@pytest.fixture(scope="module")
def frame(judged_run):
    """The run's table with paths that hold anywhere."""
    items = judged_run[1]
    found = polars.read_csv(items, infer_schema=False)
    return found.with_columns((f"{items.parent}/" + polars.col(name)).alias(name) for name in ("image", "mask"))


def on(run, frame, folder, **asked):
    """What a run is found to be on another table."""
    frame.write_csv(folder / "other.csv")
    asked = RunQuestions(data=str(folder / "other.csv"), resampling=FAST, **asked)
    return evaluate_again(run, folder / "out", asked)


def where(condition, name, value):
    """A column with another value in some rows."""
    return polars.when(condition).then(polars.lit(value, polars.String)).otherwise(polars.col(name)).alias(name)


def test_items_that_show_nobody_known_are_predicted_and_counted_but_make_no_pair(judged_run, frame, tmp_path):
    run, *_ = judged_run
    row = polars.arange(polars.len())
    found = on(run, frame.with_columns(where(row.is_in([36, 40, 59]), "identity", None)), tmp_path).results
    x, names, _ = split_of(tmp_path / "out", "test")
    assert len(x) == 24  # the first of them is the first test item
    known = np.array([name is not None for name in names])
    assert known.sum() == 21
    assert_agree(found.models[0].verification["test"], brute_verification(x[known] @ x[known].T, names[known]))
    assert found.models[0].retrieval.queries == 21
    assert {split: (c.identities, c.nameless) for split, c in found.data.splits.items()} == {
        "train": (2, 0), "val": (4, 0), "test": (4, 3)
    }  # fmt: skip
    nobody = on(run, frame.with_columns(where(row >= 36, "identity", None)), tmp_path).results
    assert (nobody.data.splits["test"].identities, nobody.data.splits["test"].nameless) == (0, 0)


def test_heads_are_judged_on_the_test_split_or_on_the_next_that_can_tell(judged_run, frame, tmp_path):
    run, *_ = judged_run
    row = polars.arange(polars.len())
    no_test = frame.filter(polars.col("split") != "test")
    found = on(run, no_test, tmp_path).results
    assert (found.classification.split, found.segmentation.split) == ("val", "val")
    assert list(found.models[0].verification) == ["val"]
    assert not (tmp_path / "out" / "masks").exists()  # samples are of test items
    held = no_test.with_columns(where(row.is_between(12, 17), "split", "holdout"))
    found = on(run, held, tmp_path).results
    assert (found.classification.split, found.classification.items, found.segmentation.split) == (
        *("holdout", 6), "holdout"
    )  # fmt: skip
    assert {model.role: list(model.verification) for model in found.models} == {
        "model": ["val"], "pixels": ["val"], "untrained": ["val"]
    }  # fmt: skip
    one_class = frame.with_columns(where((row >= 36) & (polars.col("label") == "odd"), "label", None))
    found = on(run, one_class, tmp_path).results.classification
    assert (found.split, found.items, found.confusion[1]) == ("test", 12, [0, 0])
    unknown = no_test.with_columns(polars.lit("neither").alias("label"))
    found = on(run, unknown, tmp_path).results.classification
    assert found == Unavailable(unavailable="no held-out image belongs to a class that was trained")


def test_a_network_without_a_class_or_a_mask_head_is_judged_by_the_others(frame, tmp_path):
    frame.write_csv(tmp_path / "items.csv")
    config, data = untrained_run(tmp_path / "run", tmp_path / "items.csv", "--alpha", "0", "--beta", "0")
    found = evaluate_run(tmp_path / "run", config, data, RunQuestions(resampling=FAST)).results
    assert (found.classification, found.segmentation) == (None, None)
    assert found.models[0].role == "model"
    assert read_judged_items(tmp_path / "run" / "embeddings.parquet")["predicted_label"].null_count() == 48
    assert not (tmp_path / "run" / "masks").exists()
    card = load_card(tmp_path / "run")
    broken = frame.with_columns(polars.lit("gone.png").alias("mask"))
    assert checked(from_frame(broken, source="it", folder=tmp_path), card).frame.height == 60  # nobody reads its masks


def test_what_a_network_reads_of_other_data_is_looked_at_as_it_will_be_read(judged_run, frame, tmp_path):
    run, *_ = judged_run
    card = load_card(run)
    gone = frame.with_columns(where(polars.arange(polars.len()) == 50, "mask", "gone.png"))
    with pytest.raises(InputError, match=r"row 51, column mask: .*gone\.png"):
        checked(from_frame(gone, source="it", folder=tmp_path), card)
    for pixel, said in ((2, "mask"), (200, "mask")):
        Image.new("L", (SIDE, SIDE), pixel).save(tmp_path / "other.png")
        other = frame.with_columns(polars.lit(str(tmp_path / "other.png")).alias("mask"))
        with pytest.raises(InputError, match=said):
            checked(from_frame(other, source="it", folder=tmp_path), card)
    single = frame.with_columns(polars.format("own {}", polars.arange(polars.len())).alias("identity"))
    assert len(checked(from_frame(single, source="it", folder=tmp_path), card).frame) == 60


def test_the_first_empty_cell_of_a_column_that_is_compared_is_named(judged_run, frame, tmp_path):
    run, *_ = judged_run
    empty = frame.with_columns(where(polars.arange(polars.len()).is_in([40, 44, 50]), "camera", None))
    with pytest.raises(InputError, match=r"row 42, column camera: empty"):
        on(run, empty, tmp_path, conditions=("camera",))


def test_facts_of_the_training_go_over_into_every_later_judgement(judged_run, tmp_path):
    run, *_ = judged_run
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "metrics.json"
    facts = TrainingFacts(epochs=3, steps=12, seconds=4.5, seed=0)
    Results.read(path).model_copy(update={"training": facts}).write(path)
    seal(tmp_path / "run", [path.name])
    asked = RunQuestions(resampling=FAST)
    assert evaluate_again(tmp_path / "run", tmp_path / "a", asked).results.training == facts
    path.unlink()
    assert evaluate_again(tmp_path / "run", tmp_path / "b", asked).results.training is None


def test_the_run_s_own_data_are_needed_only_where_it_is_judged_on_them(judged_run, frame, tmp_path):
    run, items, before = judged_run
    shutil.copytree(run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(items), str(tmp_path / "gone.csv")))
    with pytest.raises(InputError, match=r"gone\.csv"):
        evaluate_again(tmp_path / "run", tmp_path / "out", RunQuestions(resampling=FAST))
    found = on(tmp_path / "run", frame, tmp_path).results
    assert found.models[0].verification["test"].auc == before.results.models[0].verification["test"].auc


def test_what_the_data_say_of_themselves_is_told(judged_run, frame, tmp_path, capsys):
    run, *_ = judged_run
    on(run, frame.with_columns(where(polars.arange(polars.len()) == 59, "label", "n/a")), tmp_path)
    assert "1 cells of the column label say" in capsys.readouterr().err


def test_at_the_end_of_a_training_a_threshold_is_fitted_whatever_the_run_had_before(judged_run, tmp_path):
    run, items, before = judged_run
    config, data = untrained_run(tmp_path / "run", items)
    stored = read_thresholds(run / "thresholds.json")
    moved = [replace(each, threshold=each.threshold + 0.01) for each in stored.thresholds]
    write_record(tmp_path / "run" / "thresholds.json", stored.model_copy(update={"thresholds": moved}))
    found = evaluate_run(tmp_path / "run", config, data, RunQuestions(resampling=FAST)).results
    assert found.threshold.threshold == pytest.approx(before.results.threshold.threshold, abs=1e-6)
    again = read_thresholds(tmp_path / "run" / "thresholds.json").thresholds
    assert [each.threshold for each in again] == pytest.approx([each.threshold for each in stored.thresholds], abs=1e-6)


def test_weights_of_a_file_make_a_pretrained_baseline(judged_run, tmp_path):
    _, items, _ = judged_run
    torch.manual_seed(7)
    start = MultiTaskModel("resnet10t", num_classes=0, mask_channels=0, embedding_dim=16, pretrained=False)
    torch.save(start.backbone.model.state_dict(), tmp_path / "w.pt")
    config, data = untrained_run(tmp_path / "run", items, "--model.weights", str(tmp_path / "w.pt"))
    found = evaluate_run(tmp_path / "run", config, data, RunQuestions(resampling=FAST)).results
    assert [model.role for model in found.models] == ["model", "pixels", "pretrained"]


def test_sample_masks_are_of_items_from_the_first_to_the_last_and_what_the_network_says(judged_run):
    run, *_ = judged_run
    model, _ = load_model(run)
    _, _, frame = split_of(run, "test")
    masks = {int(path.stem): np.asarray(Image.open(path)) for path in (run / "masks").glob("*.png")}
    places = np.linspace(0, 23, 12).astype(int)
    assert sorted(masks) == [frame["row"][int(place)] for place in places]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for place in places[[0, 5, 11]].tolist():
        x = ((np.asarray(Image.open(frame["image"][place])) / 255 - mean) / std).transpose(2, 0, 1)
        with torch.inference_mode():
            said = (model(torch.from_numpy(x).float()[None]).mask_logits[0, 0] > 0).numpy()
        assert (masks[frame["row"][place]] == said).mean() > 0.999


@pytest.mark.parametrize(
    ("there", "asked", "rank", "device"),
    [
        *((False, asked, "0", "cpu") for asked in ("auto", "cpu")),
        (True, "cpu", "0", "cpu"),
        *((True, "auto", rank, f"cuda:{place}") for rank, place in (("0", 0), ("1", 1), ("3", 1))),
    ],
)
def test_a_run_is_judged_on_the_gpu_of_its_process_unless_it_asks_for_the_processor(
    monkeypatch, there, asked, rank, device
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    told = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "RANK": rank, "LOCAL_RANK": rank}
    for name, value in {**told, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    config = parse_train(["--data", "x.csv", "--trainer.accelerator", asked])
    assert evaluation_device(config) == torch.device(device)


def test_what_is_asked_of_a_run_stays_as_it_is():
    with pytest.raises(FrozenInstanceError):
        RunQuestions().reranked = True
    assert RunQuestions() == RunQuestions(None, (), None, None, None, Resampling(), False)


# ---------------------------------------------------------------- queries, gallery and lists of pairs


def test_a_run_s_retrieval_follows_the_queries_and_the_gallery_of_its_table(judged_run, tmp_path):
    run, items, _ = judged_run
    frame = polars.read_csv(items, infer_schema=False).with_columns(
        *(polars.format("{}/{}", polars.lit(str(items.parent)), name).alias(name) for name in ("image", "mask")),
        is_query=polars.int_range(polars.len()) % 2 == 0,
        is_gallery=polars.int_range(polars.len()) % 3 > 0,
    )
    # Images of nobody in the gallery: two of the test's are robbed of their identity.
    tests = np.flatnonzero((frame["split"] == "test").to_numpy())
    nobody = polars.int_range(polars.len()).is_in(tests[[1, 7]].tolist())
    frame = frame.with_columns(identity=polars.when(nobody).then(None).otherwise("identity"))
    frame.write_csv(tmp_path / "items.csv")
    asked = RunQuestions(data=str(tmp_path / "items.csv"), resampling=FAST)
    found = evaluate_again(run, tmp_path / "out", asked).results
    judged = read_judged_items(tmp_path / "out" / "embeddings.parquet").filter(polars.col("split") == "test")
    x = np.array(judged["embedding"].to_list(), np.float32)
    roles = frame.filter(frame["split"] == "test")
    names = [name or f"nobody {row}" for row, name in enumerate(roles["identity"].to_list())]
    expected = retrieval_metrics(
        x,
        names,
        is_query=(roles["is_query"] & roles["identity"].is_not_null()).to_numpy(),
        is_gallery=roles["is_gallery"].to_numpy(),
        groups=roles["camera"].to_list(),
    )
    retrieval = found.models[0].retrieval
    assert retrieval.roles.distractors == 2
    assert retrieval.roles.gallery == roles["is_gallery"].sum()
    assert retrieval.map == pytest.approx(expected.map, abs=1e-9)
    assert retrieval.recall_at == pytest.approx(expected.recall_at)
    assert all(model.retrieval.roles == retrieval.roles for model in found.models)


def test_lfw_s_list_of_pairs_is_judged_over_its_folds(judged_run, tmp_path):
    run = judged_run[0]
    root = lfw_tree(tmp_path / "lfw", folds=3)
    asked = RunQuestions(data="lfw-pairs", root=root, resampling=FAST)
    found = evaluate_again(run, tmp_path / "out", asked).results
    judged = read_judged_items(tmp_path / "out" / "embeddings.parquet")
    rows = {Path(name).stem: np.array(x) for name, x in zip(judged["image"], judged["embedding"])}
    lines = [line.split() for line in (root / "pairs.txt").read_text().splitlines()[1:]]
    pairs = [(line[0], line[1], line[-2] if len(line) == 4 else line[0], line[-1]) for line in lines]
    scores = [float(rows[f"{a}_{int(i):04d}"] @ rows[f"{b}_{int(j):04d}"]) for a, i, b, j in pairs]
    expected = cross_validated_accuracy(
        np.array(scores, np.float32), np.array([len(line) == 3 for line in lines]), np.repeat(["1", "2", "3"], 4)
    )
    assert found.folds.names == ["1", "2", "3"]
    assert found.folds.accuracy.mean == pytest.approx(expected.accuracy.mean)
    assert found.data.source == "lfw-pairs"
