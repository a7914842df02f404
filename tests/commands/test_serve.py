"""`triune serve`: what it refuses before it listens, each in one line; where the token comes from."""

from pathlib import Path

import pytest

from commands.running import ran, refused
from evaluation.conftest import untrained_run, write_items
from triune.commands.serve import ServeConfig, opening_of, token_of
from triune.errors import InputError

PORT = ("--port", "0")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    untrained_run(folder / "run", write_items(folder))
    return folder / "run"


def test_a_run_is_named_or_the_demonstration_is_asked_for(capsys):
    assert "or --demo" in refused(capsys, "serve", *PORT)
    assert "leave others away" in refused(capsys, "serve", "runs/x", "--demo", *PORT)


def test_what_is_not_there_is_named(capsys, tmp_path, run):
    assert str(tmp_path / "none") in refused(capsys, "serve", tmp_path / "none", *PORT)
    assert "`triune index` makes one" in refused(capsys, "serve", run, "--gallery", tmp_path / "none", *PORT)


def test_a_gallery_of_another_network_is_refused(capsys, tmp_path, run):
    items = run.parent / "items.csv"
    untrained_run(tmp_path / "other", items, "--model.embedding_dim", "8")
    code, _, _ = ran(capsys, "index", run, items, "--output", tmp_path / "G")
    assert code == 0
    assert "was made by another network" in refused(
        capsys, "serve", tmp_path / "other", "--gallery", tmp_path / "G", *PORT
    )


def test_the_demonstration_is_trained_where_it_is_not_there_and_standard_output_stays_clean(
    capsys, tmp_path, monkeypatch
):
    trained = []

    def train(arguments):
        trained.append(arguments)
        print("what training says")
        untrained_run(Path("runs/digits-1"), "digits", "--images.channels", "1", "--images.size", "32")
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("triune.commands.demo.run", train)
    monkeypatch.setattr("triune.web.demo.demo_gallery", lambda run, items: run.parent / "gallery")
    for _ in range(2):
        opening = opening_of(ServeConfig(demo=True))
    assert (opening.run, opening.gallery, opening.demo) == ("runs/digits-1", "runs/gallery", True)
    assert len(opening.samples) == 24
    assert trained == [[]]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "flags",
    [("--port", "65536"), ("--port", "-1"), ("--workers", "0"), ("--limits.images", "0"), ("--limits.seconds", "x")],
)
def test_a_setting_out_of_its_range_is_named(capsys, flags):
    assert flags[0] in refused(capsys, "serve", "runs/x", *flags)


def test_help_shows_where_it_listens_and_that_limits_can_be_set(capsys):
    code, out, _ = ran(capsys, "serve", "--help")
    assert code == 0
    assert "--host 127.0.0.1" in out
    assert "--limits.*" in out


def test_the_token_comes_from_a_flag_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("TRIUNE_TOKEN", raising=False)
    (tmp_path / "token").write_text("of-the-file-and-long\n")
    assert token_of(None, None) is None
    assert token_of("of-the-flag-and-long", None) == "of-the-flag-and-long"
    assert token_of(None, tmp_path / "token") == "of-the-file-and-long"
    monkeypatch.setenv("TRIUNE_TOKEN", "of-the-environment")
    assert token_of(None, None) == "of-the-environment"
    assert token_of(None, tmp_path / "token") == "of-the-file-and-long"
    with pytest.raises(InputError, match="both given"):
        token_of("a", tmp_path / "token")
    with pytest.raises(InputError, match="does not exist"):
        token_of(None, tmp_path / "none")
    (tmp_path / "token").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="holds no token"):
        token_of(None, tmp_path / "token")


def test_other_machines_are_refused_without_a_token_before_anything_is_opened(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("TRIUNE_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        said = refused(capsys, "serve", tmp_path / "none", "--host", host, *PORT)
        assert f"--host {host} can be reached from other machines" in said
    monkeypatch.setenv("TRIUNE_TOKEN", "too-short")
    assert "at least 16 characters" in refused(capsys, "serve", tmp_path / "none", *PORT)
