"""What a run's validation images look like to its network, and images of another kind beside them."""

import numpy as np
import polars
import pytest
import torch
from PIL import Image

from oracles import as_input
from triune.cli import main
from triune.evaluation.appearance import familiar_with
from triune.model.network import looks_of
from triune.run.familiar import read_familiar, unfamiliar
from triune.run.folder import load_model
from triune.serving.loaded import load
from triune.serving.pictures import pictures


def looks(model, images):
    with torch.inference_mode():
        return [each.numpy() for each in looks_of(model.maps(torch.stack(images)))]


def test_the_rows_are_the_looks_of_the_validation_images_scaled(judged_run):
    run, items, _ = judged_run
    model, card = load_model(run)
    known = read_familiar(run)
    names = [f"{i}-{k}.png" for i in range(2, 6) for k in range(6)]
    by_hand = looks(model, [as_input(np.asarray(Image.open(items.parent / "images" / name))) for name in names])
    for look, features in zip(known, by_hand, strict=True):
        np.testing.assert_allclose(look.mean, features.mean(0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(look.rows, (features - look.mean) / look.scale, atol=2e-2)
    assert card.size == (48, 48)
    assert unfamiliar(known, by_hand).sum() <= 1


def test_a_verdict_on_images_of_another_kind_names_them(judged_run, tmp_path):
    run, items, _ = judged_run
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    known = str(items.parent / "images" / "2-0.png")
    verdict = load(run, device="cpu").verify(known, tmp_path / "white.png", fpr=None)
    assert verdict.unfamiliar == (str(tmp_path / "white.png"),)


def test_a_prediction_says_so_too_and_what_never_asked_does_not_know(judged_run, tmp_path, capsys):
    run, items, _ = judged_run
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    known = str(items.parent / "images" / "2-0.png")
    loaded = load(run, device="cpu")
    assert [each.unfamiliar for each in loaded.predict([known, tmp_path / "white.png"])] == [False, True]
    assert next(loaded.embed_each(pictures(known))).unfamiliar is None
    out = tmp_path / "said"
    assert main(["predict", str(run), known, str(tmp_path / "white.png"), "--output", str(out)]) == 0
    assert "white.png looks like nothing that the run was validated on" in capsys.readouterr().err
    assert polars.read_csv(out / "predictions.csv")["unfamiliar"].to_list() == [False, True]


@pytest.mark.parametrize(("most", "rows"), [(5, 5), (2000, 24)])
def test_many_validation_images_are_drawn_from_evenly(judged_run, monkeypatch, most, rows):
    run, _, _ = judged_run
    monkeypatch.setattr("triune.evaluation.appearance.MOST", most)
    from triune.run.loaders import ItemData
    from triune.run.parser import read_config
    from triune.training.train import class_names, load_items

    config = read_config(run / "config.yaml")
    table = load_items(config)
    data = ItemData(table, config, class_names(table))
    known = familiar_with(load_model(run)[0], data.dataset("val"), torch.device("cpu"))
    assert {len(look.rows) for look in known} == {rows}
