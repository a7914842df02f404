"""What a run stores of itself is written when it begins, in an order that a kill may interrupt anywhere."""

import pytest

from training.test_train import TINY, write_items
from triune.checksums import read_checksums
from triune.run.folder import seal
from triune.run.origin import read_origin
from triune.run.parser import parse_train, read_config
from triune.run.places import MODEL
from triune.training import beginning
from triune.training.beginning import Beginning
from triune.training.train import training_data


@pytest.fixture
def data(tmp_path):
    config = parse_train(["--data", str(write_items(tmp_path / "items")), *TINY, "--output", str(tmp_path / "run")])
    (tmp_path / "run").mkdir()
    return config, training_data(config, tmp_path / "run")


def test_a_run_that_begins_stores_its_settings_last(data, tmp_path, monkeypatch):
    config, items = data
    run, order = tmp_path / "run", []
    for module, name in (
        (beginning.origin_file, "write_origin"),
        (beginning.split_file, "write_split"),
        (beginning, "save_config"),
    ):
        write = getattr(module, name)

        def noted(*given, name=name, write=write):
            order.append(name)
            write(*given)

        monkeypatch.setattr(module, name, noted)
    Beginning(run, config, items, None).write()
    assert order == ["write_origin", "write_split", "save_config"]
    assert set(read_checksums(run)) == {"data.json", "split.csv"}
    stored = read_config(run / "config.yaml")
    assert (stored.output, stored.resume, stored.data) == (None, None, str(tmp_path / "items" / "items.csv"))
    origin = read_origin(run)
    assert (origin.classes, origin.identities) == (["disc", "square"], ["id0", "id1", "id2", "id3"])


def test_a_run_that_goes_on_as_it_was_writes_nothing_and_keeps_its_name(data, tmp_path):
    config, items = data
    run = tmp_path / "run"
    Beginning(run, config, items, None).write()
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    again = Beginning(run, config, items, read_origin(run))
    assert again.origin == read_origin(run)
    again.write()
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_what_is_written_while_training_goes_on_is_not_checked(data, tmp_path):
    config, items = data
    run = tmp_path / "run"
    (run / "history.csv").write_text("")
    Beginning(run, config, items, None).write()
    seal(run, ["history.csv"])
    Beginning(run, config, items, read_origin(run)).on_train_start(None, None)
    assert "history.csv" not in read_checksums(run)
    assert MODEL not in read_checksums(run)
