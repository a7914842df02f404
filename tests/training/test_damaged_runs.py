"""Damaged, foreign and mixed files of a run: one line that names the file, and nothing of the run changes."""

import shutil

import pytest

from conftest import digests
from training.test_train import TINY, write_items
from triune.checksums import SEALED
from triune.cli import main
from triune.run.folder import JUDGED
from triune.run.places import MODEL


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two finished runs of the same settings and seeds that differ by one, and their data."""
    folder = tmp_path_factory.mktemp("runs")
    table = write_items(folder / "items")
    for name, seed in (("run", "0"), ("other", "1")):
        flags = ["--data", str(table), *TINY, "--epochs", "1", "--output", str(folder / name), "--seed", seed]
        assert main(["train", *flags]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A copy of the first run whose large files are hard links: a damage replaces the file."""
    shutil.copytree(made / "run", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    return tmp_path / "run"


def cut(path, made):
    return path.read_bytes()[: path.stat().st_size // 2]


def flip(path, made):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


def grow(path, made):
    return path.read_bytes() + b"\n\n0\n"


def empty(path, made):
    return b""


def binary(path, made):
    return bytes(range(256)) * 4


def nested(path, made):
    return b"[" * 100_000


def of_another_run(path, made):
    return (made / "other" / path.name).read_bytes()


DAMAGES = [cut, flip, grow, empty, binary, nested, of_another_run]

READ_BY = {
    MODEL: ["verify", "evaluate"],
    "thresholds.json": ["verify", "evaluate"],
    "metrics.json": ["report", "evaluate"],
    "embeddings.parquet": ["report"],
    "history.csv": ["report"],
    "split.csv": ["evaluate", "train"],
    "data.json": ["evaluate", "train"],
    "checksums.json": ["verify", "report", "evaluate"],
}


def arguments(command, run, made):
    images = [str(made / "items" / "images" / name) for name in ("0-0.png", "1-0.png")]
    return {
        "verify": ["verify", str(run), *images],
        "report": ["report", str(run)],
        "evaluate": ["evaluate", str(run), "--resamples", "0"],
        "train": ["train", "--resume", str(run)],
    }[command]


NO_DAMAGE = {
    ("split.csv", of_another_run),  # the table itself says the split, so both runs have the same
    ("checksums.json", flip),  # the line of a file that is not read
}
CASES = [
    (name, command, damage)
    for name, commands in READ_BY.items()
    for command in commands
    for damage in DAMAGES
    if (name, damage) not in NO_DAMAGE
]


@pytest.mark.parametrize(("name", "command", "damage"), CASES)
def test_a_damaged_file_is_one_line_that_names_it(name, command, damage, run, made, capsys):
    (run / name).write_bytes(damage(run / name, made))
    before = digests(run)
    capsys.readouterr()
    assert main(arguments(command, run, made)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    # A damaged list of checksums that can still be read calls the files damaged that it lists.
    assert name in said[0] or name == "checksums.json"
    assert digests(run) == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (MODEL, "verify"),
        (MODEL, "evaluate"),
        ("thresholds.json", "verify"),
        *((name, command) for name in ("split.csv", "data.json") for command in ("train", "evaluate")),
        *(("checksums.json", command) for command in ("verify", "report", "evaluate", "train")),
    ],
)
def test_a_missing_file_is_one_line_that_names_it_and_the_way_out(name, command, run, made, capsys):
    (run / name).unlink()
    before = digests(run)
    capsys.readouterr()
    assert main(arguments(command, run, made)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert name in said[0]
    assert "copy" in said[0] or name in (MODEL, "thresholds.json")
    assert digests(run) == before


@pytest.mark.parametrize("command", ["verify", "report", "evaluate", "train"])
def test_what_a_run_stored_of_its_data_and_its_files_is_not_lost_in_silence(command, run, made, capsys):
    """All of it: a run of version 0.1.0 has none of these files, and its split is that of the table or drawn anew."""
    for name in ("checksums.json", "data.json", "split.csv"):
        (run / name).unlink()
    before = digests(run)
    capsys.readouterr()
    assert main(arguments(command, run, made)) == 2
    [said] = capsys.readouterr().err.strip().splitlines()
    assert f"{run / 'checksums.json'} is gone" in said
    assert digests(run) == before


def test_a_run_is_read_unchecked_where_the_line_that_speaks_of_its_list_is_taken_out(run, made, capsys):
    (run / "checksums.json").unlink()
    settings = run / "config.yaml"
    settings.write_text(settings.read_text().replace(f"{SEALED}\n", ""))
    assert main(arguments("verify", run, made)) == 0
    (run / "data.json").unlink()
    (run / "split.csv").unlink()
    assert main(arguments("report", run, made)) == 0


def test_another_run_begins_with_the_settings_of_one_whose_files_are_gone(run, made, tmp_path):
    (run / "split.csv").unlink()
    flags = ["--config", str(run / "config.yaml"), "--output", str(tmp_path / "new")]
    assert main(["train", *flags]) == 0
    assert (tmp_path / "new" / "checksums.json").is_file()


def test_between_the_new_network_and_its_judgement_the_old_judgement_is_refused(run, made, capsys):
    """As after a kill: the training went on, its network is written, its thresholds are not."""
    from triune.run.folder import seal

    seal(run, [MODEL], outdated=JUDGED)
    capsys.readouterr()
    assert main(arguments("verify", run, made)) == 2
    assert "thresholds.json belongs to the network before its training went on" in capsys.readouterr().err
    assert main(arguments("report", run, made)) == 2
