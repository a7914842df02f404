"""`triune export`: what it says on the terminal, and what it refuses."""

import json

import onnx
import pytest

from commands.running import ran, refused
from triune.serving.exported import export


def test_it_says_what_both_verify_and_where_the_file_lies(exported, capsys, tmp_path, monkeypatch):
    path = tmp_path / "whole.onnx"
    monkeypatch.setattr(export, "as_onnx", lambda *_: onnx.load(exported[0] / "run.onnx"))  # which takes long to make
    code, out, err = ran(capsys, "export", exported[0] / "run", "--output", path, "--check", 6)
    assert (code, out) == (0, f"{path}\n")
    assert path.stat().st_size > 1e6
    assert err.startswith("6 validation images, PyTorch and ONNX: embeddings differ by at most ")
    assert "\n  TPR@FPR 10.000%: PyTorch " in err
    assert err.splitlines()[-1].endswith("MB, opset 20")
    assert "is there already" in refused(capsys, "export", exported[0] / "run", "--output", path)


def test_what_was_never_trained_here_is_refused(exported, capsys, tmp_path):
    assert "was never trained here" in refused(capsys, "export", "timm:resnet18", "--output", tmp_path / "m.onnx")
    assert "does not exist" in refused(capsys, "export", tmp_path / "none", "--output", tmp_path / "m.onnx")
    path = exported[0] / "run.onnx"
    assert "is no run that was trained here" in refused(capsys, "export", path, "--output", tmp_path / "m.onnx")


def test_the_file_takes_the_run_s_place_in_other_commands(exported, capsys, tmp_path):
    folder, _ = exported
    one, other = folder / "images" / "2-0.png", folder / "images" / "3-0.png"
    both = [json.loads(ran(capsys, "verify", each, one, other, "--json", "true")[1])
            for each in (folder / "run", folder / "run.onnx")]  # fmt: skip
    distances = [each.pop("distance") for each in both]
    assert distances[0] == pytest.approx(distances[1], abs=1e-5)
    assert both[0] == both[1]
    code, out, _ = ran(capsys, "predict", folder / "run.onnx", one, "--output", tmp_path / "p")
    assert (code, out) == (0, f"{tmp_path / 'p'}\n")
    assert (tmp_path / "p" / "masks" / "000001-2-0.png").is_file()
    code, _, _ = ran(capsys, "embed", folder / "run.onnx", one, other, "--output", tmp_path / "e.parquet")
    assert code == 0
