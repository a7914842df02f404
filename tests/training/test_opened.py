"""The folder of a training: locked while it goes on, gone where it never began."""

import signal

import pytest

from triune.errors import InputError
from triune.run.lock import training_lock
from triune.run.settings import TrainConfig
from triune.signals import Stopped
from triune.training.opened import opened_run, run_folder


def settings(**given):
    return TrainConfig(**given)


@pytest.mark.parametrize("made", [[], ["deep"], ["deep", "deep/a/b"]])
def test_where_training_never_began_only_what_was_there_before_is_left(tmp_path, made):
    for name in made:
        (tmp_path / name).mkdir(parents=True)
    if "deep/a/b" in made:
        (tmp_path / "deep/a/b" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="bad data"), opened_run(settings(output=tmp_path / "deep/a/b")):
        raise InputError("bad data")
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.name != "training.lock"}
    assert left == {*made, *(["deep/a", "deep/a/b/notes.txt"] if "deep/a/b" in made else [])}


def test_a_folder_that_is_numbered_goes_too_and_the_runs_beside_it_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError), opened_run(settings(data="items.csv")):
        raise InputError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs" / "items-1").mkdir(parents=True)
    with pytest.raises(InputError, match="items-2"), opened_run(settings(data="items.csv")) as run:
        raise InputError(run.name)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["items-1"]


def test_a_run_that_has_begun_stays_and_a_signal_says_that_it_can_go_on(tmp_path):
    def begin_and_stop():
        with opened_run(settings(output=tmp_path / "run")) as run:
            (run / "config.yaml").write_text("")
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped) as stopped:
        begin_and_stop()
    assert (str(stopped.value), stopped.value.number) == (str(tmp_path / "run"), signal.SIGTERM)
    with pytest.raises(Stopped) as stopped, opened_run(settings(output=tmp_path / "other")):
        raise KeyboardInterrupt
    assert (str(stopped.value), stopped.value.number) == ("", signal.SIGINT)


def test_a_folder_that_holds_a_run_is_refused_and_kept(tmp_path):
    (tmp_path / "config.yaml").write_text("mine")
    for attempt in (
        lambda: opened_run(settings(output=tmp_path)).__enter__(),
        lambda: run_folder(settings(output=tmp_path)),
    ):
        with pytest.raises(InputError, match=f"already holds a run: continue it with --resume {tmp_path}"):
            attempt()
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_two_trainings_of_one_run_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    with training_lock(tmp_path), pytest.raises(InputError, match="is being trained into by process"):
        opened_run(settings(resume=tmp_path)).__enter__()


def test_what_a_killed_training_left_half_written_is_cleared_and_nothing_else(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    halves = [tmp_path / ".config.yaml.abcd1234.yaml", tmp_path / "checkpoints" / ".last.ckpt.0a_b1c2d.ckpt"]
    kept = [tmp_path / "config.yaml", tmp_path / "checkpoints" / "last.ckpt", tmp_path / ".notes"]
    for path in (*halves, *kept):
        path.write_text("x")
    with opened_run(settings(resume=tmp_path)):
        assert [path for path in (*halves, *kept) if path.exists()] == kept


def test_whatever_waited_for_a_process_that_ended_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("triune.training.opened.sharing", lambda: "two processes")
    monkeypatch.setattr("triune.training.opened.told_by_first", lambda make: make())
    monkeypatch.setattr("triune.training.opened.read_by_all", lambda read, group: read())

    def evaluate():
        with opened_run(settings(output=tmp_path / "run")) as run:
            (run / "config.yaml").write_text("")
            raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")

    with pytest.raises(
        ChildProcessError, match=r"another of the processes ended.*go on after its last epoch with"
    ) as told:
        evaluate()
    assert str(tmp_path / "run") in told.value.strerror
