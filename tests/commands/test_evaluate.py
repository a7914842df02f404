import numpy as np
import pytest
from pydantic import ValidationError

from triune.cli import main
from triune.commands.evaluate import EvaluateConfig


def test_a_folder_that_is_no_run_is_refused_and_stays_as_it_is(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nosuch"):
        assert main(["evaluate", str(folder)]) == 2
        assert "name a run folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def judge(folder, *more):
    np.save(folder / "e.npy", np.random.default_rng(0).normal(size=(12, 4)))
    (folder / "l.txt").write_text("".join(f"p{i // 3}\n" for i in range(12)))
    return main(["evaluate", "--embeddings", "e.npy", "--labels", "l.txt", "--resamples", "0", *more])


def test_a_second_judgement_of_a_file_lies_beside_the_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [judge(tmp_path) for _ in range(2)] == [0, 0]
    assert sorted(each.name for each in (tmp_path / "runs").iterdir()) == ["evaluate-e-1", "evaluate-e-2"]


def test_all_options_that_do_not_fit_are_told_at_once(capsys):
    assert main(["evaluate", "--scores", "s.csv", "--level", "0.9", "--resamples", "30", "--rerank"]) == 2
    said = capsys.readouterr().err
    assert all(f"--{name} needs" in said for name in ("level", "resamples", "rerank"))
    assert said.endswith("leave them away for --scores\n")


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [("resamples", (0,), (-1, 0.5)), ("level", (0.5, 0.99), (0, 1, 95)), ("seed", (0,), (-1,))],
)
def test_every_number_has_a_range(name, inside, outside):
    assert [getattr(EvaluateConfig(**{name: value}), name) for value in inside] == list(inside)
    for value in outside:
        with pytest.raises(ValidationError, match=name):
            EvaluateConfig(**{name: value})
