"""The folder that a training writes to: locked while it goes on, and gone again where it never began."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triune.errors import InputError
from triune.files import remove_leftovers
from triune.run.folder import new_run_folder
from triune.run.lock import training_lock
from triune.run.settings import TrainConfig
from triune.signals import Stopped, raising, signal_of


@contextmanager
def opened_run(config: TrainConfig) -> Iterator[Path]:
    """The run folder of a training within the block, which no other process trains into.

    What a killed training left half written is removed. Where the block fails before the run has settings, the folders
    that were made for it are removed.

    Raises:
        InputError: the folder holds a run and none was to be resumed; or another process trains into it.
        Stopped: a signal came; it names the run if it can go on.
    """
    refuse_several(config)
    with raising():
        before = _existing(config.output)
        run = run_folder(config)
        try:
            with training_lock(run):
                if config.resume is None:
                    _refuse_a_run(run)
                for folder in (run, run / "checkpoints", run / "masks"):
                    remove_leftovers(folder, all_ages=True)
                yield run
        except KeyboardInterrupt as stopped:
            going_on = str(run) if (run / "config.yaml").exists() else ""
            raise Stopped(signal_of(stopped), going_on) from stopped
        finally:
            if config.resume is None and not (run / "config.yaml").exists() and run not in before:
                shutil.rmtree(run, ignore_errors=True)
                _remove_empty(run.parent, before)


def refuse_several(config: TrainConfig) -> None:
    """Training takes one process and one device; several would write into one folder, or each into one of its own.

    Raises:
        InputError: this is one of several processes, or several devices are asked for.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size.isdecimal() and int(size) > 1:
        raise InputError(f"training takes one process, and WORLD_SIZE is {size}: start `triune train` without torchrun")
    devices = config.trainer.devices
    if devices != "auto" and devices > 1:
        raise InputError(f"--trainer.devices is {devices}: training takes one device; leave it at auto or 1")


def run_folder(config: TrainConfig) -> Path:
    """The folder that is asked for, or a new one called after the data.

    Raises:
        InputError: the folder asked for already holds a run.
    """
    if config.resume is not None:
        return config.resume
    if config.output is None:
        return new_run_folder(Path(config.data).stem or "run")
    _refuse_a_run(config.output)
    config.output.mkdir(parents=True, exist_ok=True)
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
