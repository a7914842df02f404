"""The run folder: where a run's files lie, and how its model is written and read back without running code."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
import yaml

from triune.checksums import NAME as CHECKSUMS, SEALED, check_file, digest, read_checksums
from triune.errors import InputError
from triune.files import parse_record, write_text, written_whole
from triune.model.network import MultiTaskModel
from triune.model.without_memory import without_memory
from triune.run.card import ModelCard, migrated
from triune.run.familiar import NAME as FAMILIAR
from triune.run.places import model_file
from triune.run.settings import TrainConfig, as_plain

JUDGED: Final = ("thresholds.json", "metrics.json", "embeddings.parquet", FAMILIAR)
"""The files that speak of the network in ``model.safetensors``."""


def new_run_folder(name: str, parent: Path = Path("runs")) -> Path:
    """Make and return ``parent/name-K`` with the lowest free K; safe when two processes ask at once."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1_000_000):
        folder = parent / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise InputError(f"{parent} holds a million runs called {name}: give the run folder a name with --output")


def save_config(run: Path, config: TrainConfig) -> None:
    """Write the settings to ``run/config.yaml``, in the form that ``--config`` reads; :func:`seal` comes before."""
    write_text(run / "config.yaml", f"{SEALED}\n{yaml.safe_dump(as_plain(config), sort_keys=False)}")


def seal(run: Path, names: Iterable[str], *, outdated: Iterable[str] = (), unchecked: Iterable[str] = ()) -> None:
    """List the checksums of files of a run as they are now; what is listed of other files stays.

    Args:
        run: the run folder.
        names: the files to list; those that are not there are passed over.
        outdated: files that speak of an earlier network, and are refused until they are written anew and listed.
        unchecked: files that are being written, and are not to be listed.
    """
    files = read_checksums(run)
    files |= {name: digest(run / name) for name in names if (run / name).is_file()}
    files |= {name: None for name in outdated if (run / name).is_file()}
    for name in unchecked:
        files.pop(name, None)
    write_text(run / CHECKSUMS, json.dumps({"format": 1, "files": files}, indent=1) + "\n")


def save_model(path: Path, model: MultiTaskModel, card: ModelCard) -> None:
    """Write a network, whole or not at all: its weights as safetensors, the model card in the file's metadata.

    Args:
        path: the file.
        model: the network.
        card: what is needed to build it again.
    """
    # One entry: of several, safetensors leaves the order to chance, and the same network would have other bytes.
    metadata = {"card": card.model_dump_json()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(tensors, metadata=metadata)
    # Not by save_file: it writes to a temporary file of its own beside this one, which a kill would leave behind.
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def load_model(run: Path, device: torch.device | str = "cpu") -> tuple[MultiTaskModel, ModelCard]:
    """Read a run's network, ready to use (evaluation mode), and its card.

    Args:
        run: a run folder, or a ``model.safetensors`` file.
        device: where the network goes.

    Raises:
        InputError: no such run, a file that is cut short or changed, one that was not written by Triune, or weights
            that are not finite.
    """
    path = model_file(run)
    check_file(path)
    with _opened(path, device) as file:
        card = _card(path, file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safe_open is not a dict
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{path}: the weights {name} are not finite, so it can tell nothing: train again")
    return _with_weights(path, card, tensors).to(device).eval(), card


def _with_weights(path: Path, card: ModelCard, tensors: dict[str, torch.Tensor]) -> MultiTaskModel:
    """The network of a card, which may claim any size: it is built without memory, and takes weights that fit."""
    arguments = card.model.model_dump()
    try:
        with without_memory():
            model = MultiTaskModel(**arguments, pretrained=False)
    except (ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: no network can be built from its model card: {error}") from error
    own = model.state_dict()
    if {name: each.shape for name, each in own.items()} != {name: each.shape for name, each in tensors.items()}:
        raise InputError(f"{path}: its weights are not those of the network that its model card describes")
    # As copying does: the network's own type of numbers, in memory of its own rather than the file's.
    copied = {name: each.to(own[name].dtype, copy=True) for name, each in tensors.items()}
    model.load_state_dict(copied, assign=True)
    if _lacks_numbers(model):  # which no file holds, such as the places of a Swin's windows
        model = MultiTaskModel(**arguments, pretrained=False)
        model.load_state_dict(copied)
    return model


def _lacks_numbers(model: torch.nn.Module) -> bool:
    """Whether a tensor of a network that was built without memory is still without."""
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [value for part in model.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)]
    return any(each.is_meta for each in tensors)


def load_card(run: Path) -> ModelCard:
    """A run's model card alone, without its weights.

    Raises:
        InputError: as for :func:`load_model`.
    """
    path = model_file(run)
    with _opened(path, "cpu") as file:
        return _card(path, file)


@contextmanager
def _opened(path: Path, device: torch.device | str) -> Iterator[Any]:
    """A safetensors file, open for reading."""
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): it is cut short or damaged, train or copy it again"
        ) from error


def _card(path: Path, file: Any) -> ModelCard:
    metadata = file.metadata() or {}
    if "card" not in metadata:
        raise InputError(f"{path} holds no Triune model card: is it a file that `triune train` wrote?")
    return parse_record(metadata["card"], ModelCard, f"{path}, model card", migrated)
