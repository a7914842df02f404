"""A command in processes of this host: its exit code is theirs, and one that is killed ends all within seconds."""

import sys
import textwrap
import time

import pytest

from triune.parallel import launch


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A module `triune` of the test's own in place of the command: what each process does."""

    def write(body):
        package = tmp_path / "triune"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text("import os, signal, sys, time\nrank = int(os.environ['RANK'])\n" + body)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.chdir(tmp_path)

    return write


def test_every_process_runs_the_command_with_its_part_of_the_cores(program, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    program("open(f'{rank}.txt', 'w').write(' '.join(sys.argv[1:]) + ' ' + os.environ['OMP_NUM_THREADS'])")
    assert launch.start_in_processes(2, ["train", "--data", "a b"]) == 0
    for rank in (0, 1):
        *words, threads = (tmp_path / f"{rank}.txt").read_text().split(" ")
        assert words == ["train", "--data", "a", "b"]
        assert int(threads) >= 1


def test_the_code_of_a_command_that_failed_is_its_own(program):
    program("sys.exit(2)")
    assert launch.start_in_processes(2, ["train"]) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_process_ends_all_and_is_named(program, capfd, which):
    program(
        textwrap.dedent(f"""
        if rank == {which}:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    """)
    )
    began = time.monotonic()
    with pytest.raises(ChildProcessError, match=f"process {which} of 2 was killed by SIGKILL, which ended all"):
        launch.start_in_processes(2, ["train"])
    assert time.monotonic() - began < 50
    assert capfd.readouterr().err == ""


@pytest.mark.slow  # torch gives it half a minute
def test_one_that_does_not_listen_is_ended_as_well(program):
    program(
        textwrap.dedent("""
        if rank == 1:
            time.sleep(2)
            sys.exit(3)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    """)
    )
    began = time.monotonic()
    assert launch.start_in_processes(2, ["train"]) == 3
    assert time.monotonic() - began < 50


def test_the_environment_is_as_before(program, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    program("")
    import os

    before = dict(os.environ)
    launch.start_in_processes(1, [])
    assert dict(os.environ) == before
    assert sys.executable
