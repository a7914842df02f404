"""The run folder: where a run's files lie, and how its model is written and read back without running code."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import safetensors.torch
import torch
import yaml
from pydantic import Field, model_validator

from triune.checksums import NAME as CHECKSUMS, SEALED, check_file, digest, read_checksums
from triune.data.reading import Reading
from triune.distances.embeddings import Metric
from triune.errors import InputError
from triune.files import Record, parse_record, write_text, written_whole
from triune.model.network import MultiTaskModel
from triune.ranges import Count, PositiveInt, ShareBelowOne
from triune.run.familiar import NAME as FAMILIAR
from triune.run.preprocessing import StoredPreprocessing, earlier_preprocessing
from triune.run.settings import TrainConfig, as_plain

FORMAT: Final = 3
"""Of the model card; 1 said no number, and until 2 all images were squashed and normalised as ImageNet's."""

MODEL: Final = "model.safetensors"
JUDGED: Final = ("thresholds.json", "metrics.json", "embeddings.parquet", FAMILIAR)
"""The files that speak of the network in ``model.safetensors``."""


class Network(Record):
    """What rebuilds a network without its weights: arguments of :class:`MultiTaskModel`."""

    backbone: str
    num_classes: Count
    mask_channels: Annotated[int, Field(ge=0, le=255)]
    embedding_dim: Count
    in_channels: Literal[1, 3]
    decoder: str
    decoder_channels: tuple[PositiveInt, ...]
    embedding_stage: int
    pooling: Literal["avg", "gem", "grid", "token", "token+avg"]
    mask_pooling: bool
    dropout: ShareBelowOne


class ModelCard(StoredPreprocessing):
    """What is needed to rebuild a trained network and to use it as it was trained: also how its images are prepared.

    Args:
        model: the network.
        classes: names of the classification head's outputs.
        channels: 3 for RGB, 1 for grey.
        metric: distance between embeddings.
        image_bits: how many bits of images with more than 8 bits a channel are in use; ``None`` where the training
            data held none, so that each image's own are. The first cards do not say it: all 16 were.
        mask_values: the pixel values of mask files that stand for the ids 0, 1, …; ``None`` where pixels are ids.
    """

    format: Literal[3] = FORMAT
    model: Network
    classes: list[str]
    channels: Literal[1, 3]
    metric: Metric
    image_bits: int | None = 16
    mask_values: tuple[int, ...] | None = None

    @property
    def reading(self) -> Reading:
        """How pixels are read for this network."""
        return Reading(self.image_bits, self.mask_values)

    @model_validator(mode="after")
    def _channels_have_numbers(self) -> "ModelCard":
        if not len(self.mean) == len(self.std) == self.channels == self.model.in_channels:
            raise ValueError(f"mean and std need a number for each of {self.channels} channels")
        return self


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
    """The network of a card, which may claim any size: memory is taken when its weights are known to fit."""
    try:
        with torch.device("meta"):
            shapes = MultiTaskModel(**card.model.model_dump(), pretrained=False).state_dict()
    except (ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: no network can be built from its model card: {error}") from error
    if {name: each.shape for name, each in shapes.items()} != {name: each.shape for name, each in tensors.items()}:
        raise InputError(f"{path}: its weights are not those of the network that its model card describes")
    model = MultiTaskModel(**card.model.model_dump(), pretrained=False)
    model.load_state_dict(tensors)
    return model


def load_card(run: Path) -> ModelCard:
    """A run's model card alone, without its weights.

    Raises:
        InputError: as for :func:`load_model`.
    """
    path = model_file(run)
    with _opened(path, "cpu") as file:
        return _card(path, file)


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


def migrated(stored: Any) -> Any:
    """A model card of format 1 or 2 as one of today's; anything else as it is."""
    if not isinstance(stored, dict) or stored.get("format", 1) not in (1, 2):
        return stored
    return {**stored, **earlier_preprocessing(stored["size"], stored["channels"]), "format": FORMAT}
