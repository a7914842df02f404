"""A run from images to verdicts on tiny pictures: the folder, the errors, resuming, evaluating again, verifying."""

import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from PIL import Image

from conftest import digests
from forked import in_processes
from triune.cli import main
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.experiment import train_and_evaluate
from triune.run.folder import load_model
from triune.run.parser import parse_train, read_config
from triune.signals import Stopped
from triune.training.opened import opened_run, run_folder
from triune.training.resume import resumed_settings
from triune.training.train import _train, fit, load_items, training_data

TINY = [
    *("--model.backbone", "test_resnet", "--model.pretrained", "false", "--model.decoder_channels", "[16,8,8,8,8]"),
    *("--images.size", "32", "--batch_size", "16", "--model.embedding_dim", "16", "--trainer.accelerator", "cpu"),
]


def write_items(folder, images=6, identities=8):
    """Discs of one colour an identity, of one of two shapes a class, on grey; with a mask and a split."""
    g = np.random.default_rng(0)
    yy, xx = np.mgrid[:32, :32]
    lines = ["image,mask,label,identity,split"]
    for i in range(identities):
        colour = g.integers(60, 255, 3)
        split = "train" if i < identities - 4 else "val" if i < identities - 2 else "test"
        for k in range(images):
            cy, cx, r = g.integers(10, 22), g.integers(10, 22), g.integers(5, 9)
            ink = (abs(yy - cy) + abs(xx - cx) <= r) if i % 2 else ((yy - cy) ** 2 + (xx - cx) ** 2 <= r * r)
            image = np.where(ink[..., None], colour, 40) + g.normal(0, 6, (32, 32, 3))
            name = f"{i}-{k}.png"
            for part, array in (("images", image.clip(0, 255).astype(np.uint8)), ("masks", ink.astype(np.uint8))):
                (folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / part / name)
            lines.append(f"images/{name},masks/{name},{'square' if i % 2 else 'disc'},id{i},{split}")
    table = folder / "items.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    """A run of two epochs through the command line."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "--data", str(table), "--output", str(run), "--epochs", "2", *TINY]) == 0
    return run


def test_the_run_folder_holds_what_is_promised(finished):
    names = {path.name for path in finished.iterdir()}
    promised = {"config.yaml", "model.safetensors", "checkpoints", "metrics.json", "thresholds.json", "history.csv"}
    assert promised | {"embeddings.parquet", "split.csv", "report.html", "masks", "tensorboard"} <= names
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert not [name for name in names if name.startswith(".")]


def test_the_stage_of_the_embedding_is_stored_as_a_number(finished):
    model, card = load_model(finished)
    assert read_config(finished / "config.yaml").model.embedding_stage == card.model.embedding_stage == -2
    deepest, before = model.features(torch.zeros(1, 3, 32, 32))[:-3:-1]
    assert model.embedding_head.in_features == before.shape[1] != deepest.shape[1]


def test_the_metrics_compare_the_model_with_both_baselines(finished):
    found = Results.read(finished / "metrics.json")
    assert [model.role for model in found.models] == ["model", "pixels", "untrained"]
    for model in found.models:
        assert list(model.verification) == ["val", "test"]
        assert 0 <= model.verification["test"].at(0.05).fpr <= 0.05
        assert model.verification["test"].uncertainty.identities == 2
    assert found.models[0].verification["test"].matches == 2 * 15
    assert found.models[0].verification["test"].impostors == 36
    assert found.classification.split == "test"
    assert sum(map(sum, found.classification.confusion)) == 12
    assert 0 <= found.segmentation.iou <= found.segmentation.dice <= 1
    assert (found.training.epochs, found.training.seed) == (2, 0)


def test_the_threshold_is_chosen_on_validation_pairs_and_applied_to_test_pairs(finished):
    point = Results.read(finished / "metrics.json").threshold
    frame = polars.read_parquet(finished / "embeddings.parquet")
    for split, counts in (("val", point.on_fitted), ("test", point.on_test)):
        part = frame.filter(polars.col("split") == split)
        x = np.array(part["embedding"].to_list(), dtype=np.float64)
        names = part["identity"].to_numpy()
        scores = x @ x.T
        upper = np.triu_indices(len(x), 1)
        same, accepted = (names[:, None] == names)[upper], scores[upper] >= point.threshold
        expected = [
            (same & accepted).sum(),
            (~same & accepted).sum(),
            (~same & ~accepted).sum(),
            (same & ~accepted).sum(),
        ]
        assert expected == [counts.tp, counts.fp, counts.tn, counts.fn]
    assert point.on_fitted.fpr <= point.target_fpr
    assert point.distance == 1 - point.threshold


def test_the_split_that_was_trained_with_is_kept(finished, table):
    stored, given = polars.read_csv(finished / "split.csv"), polars.read_csv(table)
    assert stored["split"].to_list() == given["split"].to_list()
    assert stored["image"].to_list() == [str(table.parent / image) for image in given["image"]]


def test_every_step_is_in_the_history(finished):
    rows = list(csv.DictReader((finished / "history.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    for name in ("train_total", "train_triplet", "train_active_share", "train_positive_distance", "train_collapse"):
        assert all(np.isfinite(float(row[name])) for row in rows if row[name]), name
        assert any(row[name] for row in rows), name
    assert sum(bool(row["val_tpr"]) for row in rows) == 2


def test_the_saved_network_gives_the_saved_embeddings(finished):
    model, card = load_model(finished)
    frame = polars.read_parquet(finished / "embeddings.parquet")
    from oracles import as_input
    from triune.data.decode import read_image

    images = torch.stack([as_input(read_image(p, 3, (32, 32)), card.mean, card.std) for p in frame["image"][:5]])
    with torch.inference_mode():
        embedding = model.embed(images).numpy()
    np.testing.assert_allclose(embedding, np.array(frame["embedding"][:5].to_list()), atol=1e-4)
    assert card.classes == ["disc", "square"]


def train_only(flags):
    config = parse_train(flags)
    with opened_run(config) as run:
        config = config if config.resume is None else resumed_settings(config, run)
        return fit(config, training_data(config, run), run)


def test_masks_that_are_not_learnt_from_need_not_be_there(table, tmp_path):
    """`--beta 0` asked for every mask, read them all while training, and failed on one that was missing."""
    rows = [line.split(",") for line in table.read_text().splitlines()]
    rows[1:] = [[f"{table.parent}/{r[0]}", "no/such/mask.png", *r[2:]] for r in rows[1:]]
    (tmp_path / "items.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    flags = ["--data", str(tmp_path / "items.csv"), *TINY, "--epochs", "1"]
    run = tmp_path / "run"
    assert main(["train", *flags, "--beta", "0", "--output", str(run)]) == 0
    assert Results.read(run / "metrics.json").segmentation is None
    assert main(["evaluate", str(run)]) == 0
    assert main(["train", *flags, "--output", str(tmp_path / "other")]) == 2


def test_without_an_embedding_identities_may_have_a_single_image(table, tmp_path, capsys):
    """`--gamma 0 --model.embedding_dim 0` asked for pairs of images that nothing is learnt from or judged by."""
    rows = [line.split(",") for line in table.read_text().splitlines()]
    singles = [f"{table.parent}/{r[0]},{r[2]},one{place}" for place, r in enumerate(rows[1:])]
    (tmp_path / "items.csv").write_text("\n".join(["image,label,identity", *singles]) + "\n")
    flags = ["--data", str(tmp_path / "items.csv"), *TINY, "--epochs", "1"]
    run = tmp_path / "run"
    assert main(["train", *flags, "--output", str(run)]) == 2
    assert "single image" in capsys.readouterr().err
    assert not run.exists()
    assert main(["train", *flags, "--gamma", "0", "--model.embedding_dim", "0", "--output", str(run)]) == 0
    found = Results.read(run / "metrics.json")
    assert found.classification.split == "test"
    assert not found.models
    assert main(["evaluate", str(run)]) == 0


def test_a_mask_id_beyond_the_channels_asked_for_is_found_before_training(table, tmp_path, capsys):
    images = [f"{table.parent}/images/{i}-{k}.png" for i in range(8) for k in range(2)]
    for place in range(16):
        Image.fromarray(np.full((32, 32), place % 4, np.uint8)).save(tmp_path / f"{place}.png")
    lines = [f"{image},{tmp_path}/{place}.png,id{place // 2}" for place, image in enumerate(images)]
    (tmp_path / "items.csv").write_text("\n".join(["image,mask,label", *lines]) + "\n")
    flags = ["--data", str(tmp_path / "items.csv"), *TINY, "--model.mask_channels", "3"]
    assert main(["train", *flags, "--output", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(", row ")[1].split(",")[0] for line in told] == ["5", "9", "13", "17"]
    assert all("the id 3, but ids go from 0 to 2" in line for line in told)


def test_what_this_machine_does_not_have_leaves_no_run_behind(table, tmp_path, capsys):
    if torch.backends.mps.is_available():
        pytest.skip("this machine has what is asked for")
    run = tmp_path / "run"
    flags = ["--data", str(table), *TINY, "--epochs", "1", "--output", str(run)]
    assert main(["train", *flags, "--trainer.accelerator", "mps"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("triune: --trainer.accelerator mps --trainer.devices auto: ")
    assert len(told.splitlines()) == 1
    assert not (run / "config.yaml").exists()


def test_the_settings_of_a_run_start_another_one(finished, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = parse_train(["--config", str(finished / "config.yaml"), "--seed", "1"])
    assert (config.output, config.resume, config.seed) == (None, None, 1)
    assert run_folder(config) == Path("runs/items-1")


def test_what_a_user_should_know_of_the_table_is_said(table, tmp_path, capsys):
    rows = [line.split(",") for line in table.read_text().splitlines()]
    rows[1:] = [[f"{table.parent}/{r[0]}", f"{table.parent}/{r[1]}", "NA", *r[3:]] for r in rows[1:]]
    (tmp_path / "items.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    load_items(parse_train(["--data", str(tmp_path / "items.csv")]))
    assert "48 cells of the column label say NA: taken as not known" in capsys.readouterr().err


def test_every_problem_of_a_table_is_listed_at_once_and_the_exit_code_is_2(table, tmp_path, capsys):
    lines = table.read_text().splitlines()
    folder = table.parent
    bad = tmp_path / "bad"
    bad.mkdir()
    Image.new("L", (9, 9)).save(bad / "small.png")
    (bad / "cut.png").write_bytes((folder / "images/1-1.png").read_bytes()[:60])
    rows = [line.split(",") for line in lines[1:]]
    rows = [[f"{folder}/{r[0]}", f"{folder}/{r[1]}", *r[2:]] for r in rows]
    rows[2][0] = str(bad / "missing.png")
    rows[5][0] = str(bad / "cut.png")
    rows[8][1] = str(bad / "small.png")
    rows[11][3] = "lonely"
    rows[20][4] = "tset"
    (bad / "items.csv").write_text("\n".join([lines[0], *(",".join(r) for r in rows)]) + "\n")
    assert main(["train", "--data", str(bad / "items.csv"), *TINY, "--output", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 5
    for line, (row, column) in zip(
        told, [(4, "image"), (7, "image"), (10, "mask"), (13, "identity"), (22, "split")], strict=True
    ):
        assert f"items.csv, row {row}, column {column}:" in line
    assert not (tmp_path / "run").exists()


def test_verify_tells_same_from_different_by_the_stored_threshold(finished, capsys):
    frame = polars.read_parquet(finished / "embeddings.parquet").filter(polars.col("split") == "test")
    x = np.array(frame["embedding"].to_list())
    point = Results.read(finished / "metrics.json").threshold
    for other in (1, len(x) - 1):
        assert main(["verify", str(finished), frame["image"][0], frame["image"][other], "--json"]) == 0
        verdict = json.loads(capsys.readouterr().out)
        assert verdict["distance"] == pytest.approx(1 - float(x[0] @ x[other]), abs=1e-4)
        assert verdict["same"] == (verdict["distance"] <= point.distance)
        assert verdict["target_fpr"] == 0.05
    assert main(["verify", str(finished), frame["image"][0], frame["image"][0]]) == 0
    assert capsys.readouterr().out.startswith("same  cosine distance 0.0000")


def test_verify_names_what_it_cannot_read(finished, tmp_path, capsys):
    good = polars.read_parquet(finished / "embeddings.parquet")["image"][0]
    (tmp_path / "no.jpg").write_text("no image")
    for arguments in ([good, str(tmp_path / "no.jpg")], [str(tmp_path / "gone.jpg"), good]):
        assert main(["verify", str(finished), *arguments]) == 2
        assert ".jpg" in capsys.readouterr().err
    assert main(["verify", str(finished), good, good, "--fpr", "1e-9"]) == 2
    assert "0.05" in capsys.readouterr().err


def test_a_run_is_judged_again_to_the_same_figures(finished, capsys):
    kept = digests(finished)
    before = json.loads((finished / "metrics.json").read_text())
    for number in (1, 2):
        assert main(["evaluate", str(finished), "--json"]) == 0
        after = json.loads(capsys.readouterr().out)
        assert {**after, "created": None} == {**before, "created": None}
        folder = finished / "evaluations" / f"own-data-{number}"
        assert {path.name for path in folder.iterdir()} >= {"metrics.json", "report.html", "embeddings.parquet"}
        assert {path.name for path in (folder / "figures").glob("*.png")} >= {"roc.png", "cmc.png", "map.png"}
    assert kept.items() <= digests(finished).items()  # judging a run changes none of its files


def test_embeddings_from_files_are_judged(finished, tmp_path, capsys):
    frame = polars.read_parquet(finished / "embeddings.parquet").filter(polars.col("split") == "test")
    np.save(tmp_path / "e.npy", np.array(frame["embedding"].to_list(), dtype=np.float32))
    np.save(tmp_path / "l.npy", frame["identity"].to_numpy().astype(str))
    flags = ["--embeddings", str(tmp_path / "e.npy"), "--labels", str(tmp_path / "l.npy")]
    assert main(["evaluate", *flags, "--json", "--output", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)["models"][0]
    expected = json.loads((finished / "metrics.json").read_text())["models"][0]
    assert found["verification"]["test"] == expected["verification"]["test"]  # with the same intervals
    assert found["retrieval"] == expected["retrieval"]
    assert (tmp_path / "out" / "report.html").is_file()
    (tmp_path / "l.txt").write_text("a\nb\n")
    assert main(["evaluate", *flags[:3], str(tmp_path / "l.txt")]) == 2
    assert "2 labels" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on_and_exits_130(table, tmp_path, monkeypatch, capsys):
    from triune.training.module import TrainingModule

    step = TrainingModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_index)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)
    run = tmp_path / "run"
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert main(["train", "--data", str(table), *TINY, "--epochs", "2", "--output", str(run)]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning switches it off while it shuts down
    assert f"--resume {run}" in capsys.readouterr().err
    monkeypatch.undo()
    facts = train_only(["--resume", str(run), "--epochs", "2"])
    assert facts.epochs == 2


def test_a_folder_that_holds_a_run_is_not_written_over(finished, table):
    with pytest.raises(InputError, match="already holds a run"):
        train_and_evaluate(parse_train(["--data", str(table), *TINY, "--output", str(finished)]))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_items(table, tmp_path, monkeypatch):
    from triune.losses.triplet import TripletLoss

    monkeypatch.setattr(TripletLoss, "outcome", lambda self, e, y, *a, **k: _broken(self, e, y))
    with pytest.raises(InputError, match=r"step 0: the loss is not finite .*triplet nan.*items"):
        train_and_evaluate(parse_train(["--data", str(table), *TINY, "--epochs", "1", "--output", str(tmp_path / "r")]))


def _broken(loss, embeddings, labels):
    from triune.losses.triplet import triplet_loss

    outcome = triplet_loss(embeddings, labels)
    return outcome._replace(loss=outcome.loss * float("nan"))


@pytest.mark.usefixtures("one_thread")
def test_a_run_is_judged_over_processes_as_by_one(finished, tmp_path, capsys):
    copies = [tmp_path / name / finished.name for name in ("one", "two")]
    for copy in copies:
        shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("evaluations"))
    assert main(["evaluate", str(copies[0]), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    (((_, printed, _), _),) = in_processes([["evaluate", str(copies[1]), "--json"]], tmp_path)
    two = json.loads(printed)
    folders = [copy / "evaluations" / "own-data-1" for copy in copies]
    assert two == json.loads((folders[1] / "metrics.json").read_text())
    for found in (one, two):
        del found["created"]
    assert two == one
    files = sorted((folders[0] / "masks").iterdir())
    assert files
    assert [file.read_bytes() for file in files] == [(folders[1] / "masks" / f.name).read_bytes() for f in files]
    frames = [polars.read_parquet(folder / "embeddings.parquet") for folder in folders]
    assert frames[0].equals(frames[1])


def test_what_cannot_be_judged_after_the_training_is_said_before_it(table, tmp_path, capsys):
    """A table of single images to judge on was trained for hours, and then there was neither threshold nor ROC."""
    rows = [line.split(",") for line in table.read_text().splitlines()]
    judged = {}
    for row in rows[1:]:
        row[:2] = [f"{table.parent}/{each}" for each in row[:2]]
        if row[4] != "train":
            judged.setdefault(row[3], row)
    kept = [row for row in rows[1:] if row[4] == "train"] + [row for row in judged.values() if row[3] != "id7"]
    (tmp_path / "items.csv").write_text("\n".join(",".join(row) for row in [rows[0], *kept]) + "\n")
    train_only(["--data", str(tmp_path / "items.csv"), *TINY, "--epochs", "1", "--output", str(tmp_path / "run")])
    said = capsys.readouterr().err.splitlines()
    first_epoch = next(place for place, line in enumerate(said) if line.startswith("epoch 1"))
    warnings = [line for line in said[:first_epoch] if line.startswith("warning: ")]
    assert warnings == [
        "warning: split val: every identity has a single image: a matching pair needs two; no threshold can be set",
        "warning: split test: 1 identity: at least two are needed for a non-matching pair; no verification can be "
        "measured",
    ]


def test_splits_that_can_be_judged_are_not_warned_of(table, tmp_path, capsys):
    train_only(["--data", str(table), *TINY, "--epochs", "1", "--output", str(tmp_path / "run")])
    assert "warning" not in capsys.readouterr().err


def plain_table(table, folder, columns):
    """The same images with some of the columns."""
    frame = polars.read_csv(table, infer_schema=False)
    path = [f"{table.parent}/{name}" for name in frame["image"]]
    frame.select(columns).with_columns(polars.Series("image", path)).write_csv(folder / "plain.csv")
    return folder / "plain.csv"


@pytest.mark.parametrize("columns", [["image", "identity", "split"], ["image", "identity", "label", "mask", "split"]])
def test_where_no_validation_item_tells_which_epoch_is_best_the_last_one_is_kept(table, tmp_path, capsys, columns):
    """A loss over nothing is 0 in the first epoch and never less: that one's network was kept, and no word said."""
    frame = polars.read_csv(plain_table(table, tmp_path, columns), infer_schema=False)
    val = polars.col("split") == "val"
    lost = [polars.when(~val).then(polars.col(name)).alias(name) for name in columns[1:-1]]
    if "mask" in columns:
        lost[-1] = polars.when(~val).then(polars.format(f"{table.parent}/{{}}", "mask")).alias("mask")
    frame.with_columns(lost).write_csv(tmp_path / "items.csv")
    flags = ["--data", str(tmp_path / "items.csv"), *TINY, "--epochs", "3", "--trainer.patience", "1"]
    facts = train_only([*flags, "--output", str(tmp_path / "run")])
    assert (facts.best_epoch, facts.epochs) == (3, 3)
    assert (
        "warning: split val: nothing tells by it which epoch is the best; the last one is kept, and --trainer.patience "
        "has nothing to wait for"
    ) in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused(table, tmp_path, capsys):
    for output in (table, table / "run"):
        assert main(["train", "--data", str(table), *TINY, "--output", str(output)]) == 2
        assert f"--output {output} is no folder: there is a file in its place" in capsys.readouterr().err


def test_items_that_teach_nothing_are_refused(table, tmp_path, capsys):
    """Images without label, mask and identity were trained on to a loss of 0."""
    images = plain_table(table, tmp_path, ["image", "split"])
    run = tmp_path / "run"
    assert main(["train", "--data", str(images), *TINY, "--epochs", "1", "--output", str(run)]) == 2
    assert "nothing to learn from: with alpha 1, beta 1 and gamma 1 the training images need two classes (label)" in (
        capsys.readouterr().err
    )
    assert not run.exists()


def test_without_identities_nothing_is_said_of_triplets(table, tmp_path, capsys):
    masked = plain_table(table, tmp_path, ["image", "mask", "split"]).read_text()
    (tmp_path / "plain.csv").write_text(masked.replace(",masks/", f",{table.parent}/masks/"))
    run = str(tmp_path / "run")
    train_only(["--data", str(tmp_path / "plain.csv"), *TINY, "--epochs", "1", "--output", run])
    said = capsys.readouterr().err
    assert "epoch 1/1" in said
    assert "triplet" not in said.partition("epoch 1/1")[2].partition("\n")[2]


def test_identities_of_a_single_image_are_trained_on_where_no_pair_is_asked_for(table, tmp_path):
    frame = polars.read_csv(table, infer_schema=False)
    train = polars.col("split") == "train"
    each = polars.when(train).then(polars.col("image")).otherwise(polars.col("identity")).alias("identity")
    frame.with_columns(each, polars.format("{}/{}", polars.lit(str(table.parent)), "image").alias("image")).drop(
        "mask"
    ).write_csv(tmp_path / "single.csv")
    flags = ["--data", str(tmp_path / "single.csv"), *TINY]
    with pytest.raises(InputError, match="has a single image in train"):
        load_items(parse_train(flags))
    config = parse_train([*flags, "--samples_per_class", "1", "--metric_loss", "arcface"])
    data = training_data(config, tmp_path)
    batches = data.train_dataloader().batch_sampler
    assert (len(data.training_identities), batches.classes_per_batch, batches.samples_per_class) == (24, 16, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_lightning_trips_over_while_it_cleans_up_stays_a_signal(number):
    class Trips:
        """As Lightning, when a signal comes while loaders are closed, which it then closes once more."""

        def fit(self, *given, **named):
            try:
                raise Stopped(number)
            finally:
                raise RuntimeError("Please call `iter(combined_loader)` first.")

    with pytest.raises(Stopped) as stopped:
        _train(Trips(), None, None, None)
    assert stopped.value.number == number


def test_an_error_of_its_own_is_no_signal():
    class Fails:
        def fit(self, *given, **named):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        _train(Fails(), None, None, None)
