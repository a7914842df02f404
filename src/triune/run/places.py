"""Where the files of a run lie, whether the run is named by its folder or by its ``model.safetensors``."""

from pathlib import Path
from typing import Final

from triune.errors import InputError

MODEL: Final = "model.safetensors"


def folder_of(run: Path) -> Path:
    """The folder of a run that is named by it, or by its ``model.safetensors``."""
    return run.parent if run.suffix == ".safetensors" else run


def model_file(run: Path) -> Path:
    """The ``model.safetensors`` of a run folder, or that file itself.

    Raises:
        InputError: there is none.
    """
    path = run if run.suffix == ".safetensors" else run / MODEL
    if not path.is_file():
        if run.is_dir() and (run / "config.yaml").is_file():
            raise InputError(f"{path} does not exist: finish the training with `triune train --resume {run}`")
        raise InputError(f"{path} does not exist: name a run folder that holds a finished training run")
    return path
