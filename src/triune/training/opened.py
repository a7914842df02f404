"""The folder that a training writes to: locked while it goes on, and gone again where it never began."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from triune.errors import InputError
from triune.files import remove_leftovers
from triune.parallel.command import peers_awaited
from triune.parallel.group import read_by_all, sharing, told_by_first
from triune.run.folder import new_run_folder
from triune.run.lock import training_lock
from triune.run.settings import TrainConfig
from triune.signals import Stopped, raising, signal_of


@contextmanager
def opened_run(config: TrainConfig) -> Iterator[Path]:
    """The run folder of a training within the block, which no other training writes to.

    Of several processes the first one makes it, holds its lock and tells the others. What a killed training left half
    written is removed. Where the block fails before the run has settings, the folders made for it are removed.

    Raises:
        InputError: the folder holds a run and none was to be resumed; another training writes to it; or a process does
            not see it.
        ChildProcessError: another process ended.
        Stopped: a signal came; it names the run if it can go on.
    """
    with raising(), ExitStack() as kept:
        run = told_by_first(lambda: kept.enter_context(_opened_alone(config)))
        read_by_all(lambda: _require_seen(run), sharing())
        try:
            with peers_awaited():
                yield run
        except KeyboardInterrupt as stopped:
            raise Stopped(signal_of(stopped), _going_on(run)) from stopped
        except ChildProcessError as error:
            # The first one to notice tells; others that wait for it are ended by whoever started them.
            going_on = _going_on(run)
            if sharing() is None or not going_on:
                raise
            said = f"{error.strerror}; go on after its last epoch with `triune train --resume {going_on}`"
            raise ChildProcessError(error.errno, said) from error


@contextmanager
def _opened_alone(config: TrainConfig) -> Iterator[Path]:
    """The folder of :func:`opened_run`, in the process that writes to it."""
    before = _existing(config.output)
    run = run_folder(config)
    try:
        with training_lock(run):
            if config.resume is None:
                _refuse_a_run(run)
            for folder in (run, run / "checkpoints", run / "masks"):
                remove_leftovers(folder, all_ages=True)
            yield run
    finally:
        if config.resume is None and not (run / "config.yaml").exists() and run not in before:
            shutil.rmtree(run, ignore_errors=True)
            _remove_empty(run.parent, before)


def _going_on(run: Path) -> str:
    """The run, where it has what it takes to go on with; else nothing."""
    return str(run) if (run / "config.yaml").exists() else ""


def _require_seen(run: Path) -> None:
    if not run.is_dir():
        raise InputError(
            f"{run.absolute()}, the run folder, is not seen on {socket.gethostname()}: all hosts need one file system "
            "for it, and one working folder; or name it with an absolute --output"
        )


def run_folder(config: TrainConfig) -> Path:
    """The folder that is asked for, or a new one called after the data.

    Raises:
        InputError: the folder asked for already holds a run, or is a file.
    """
    if config.resume is not None:
        return config.resume
    if config.output is None:
        return new_run_folder(Path(config.data).stem or "run")
    _refuse_a_run(config.output)
    try:
        config.output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"--output {config.output} is no folder: there is a file in its place; choose another"
        ) from error
    return config.output


def _refuse_a_run(folder: Path) -> None:
    if (folder / "config.yaml").exists():
        raise InputError(f"{folder} already holds a run: continue it with --resume {folder}, or choose another folder")


def _existing(output: Path | None) -> set[Path]:
    """The folders on the way to a run that are there before it is made."""
    place = Path("runs") if output is None else output
    return {each for each in (place, *place.parents) if each.exists()}


def _remove_empty(folder: Path, before: set[Path]) -> None:
    for each in (folder, *folder.parents):
        if each in before or str(each) == ".":
            return
        with contextlib.suppress(OSError):
            each.rmdir()
