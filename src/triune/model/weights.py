"""Weights of a file, wherever they come from, given to a backbone by name: what fits, what is missing, what is over."""

import argparse
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from triune.checksums import check_file
from triune.errors import InputError
from triune.model.layers import plain_model, plain_names
from triune.model.torchvision_names import COUNTER, by_order, is_transformer, transformer_names

RUN_MODEL = "model.safetensors"
"""The file of weights in a run folder."""

SHOWN = 3
"""Names that a line gives of a list."""

DEEPEST = 3
"""How deep a checkpoint's tables are looked for: ``checkpoint["teacher"]["backbone"]`` is two."""

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch puts into the names of a compiled, a sharded and a checkpointed module."""

_AVERAGED = re.compile(r"teacher|ema")
"""Of several weights that fit as well: the slow average, which DINO and others mean to be used."""

State = Mapping[str, Tensor]


class Fit(NamedTuple):
    """How the weights of a file fit a backbone.

    Args:
        tensors: those that fit, by the backbone's names.
        missing: names of the backbone that the file lacks.
        misshapen: names of the backbone that have another shape in the file.
        unused: names of the file that the backbone does not have, such as those of a classifier.
    """

    tensors: dict[str, Tensor]
    missing: list[str]
    misshapen: list[str]
    unused: list[str]

    @property
    def wanted(self) -> int:
        """How many tensors the backbone has."""
        return len(self.tensors) + len(self.missing) + len(self.misshapen)

    def line(self) -> str:
        """What matched and what did not: counts, and the first names."""
        parts = [f"{len(self.tensors)} of {self.wanted} tensors matched"]
        parts += [f"{len(names)} {what} ({_first(names)})" for what, names in self._others() if names]
        return "; ".join(parts)

    def _others(self) -> list[tuple[str, list[str]]]:
        return [
            ("not in the file", self.missing),
            ("of another shape", self.misshapen),
            ("of the file not used", self.unused),
        ]


def read_weights(path: Path) -> dict[str, Any]:
    """What a file of weights holds: a run folder, safetensors, or what ``torch.load(weights_only=True)`` reads.

    Reading runs no code of the file.

    Raises:
        InputError: the file is missing, cannot be read, or holds no weights by name.
    """
    if path.is_dir():
        if not (path / RUN_MODEL).is_file():
            raise InputError(f"{path} is a folder without {RUN_MODEL}: name a finished run, or a file of weights")
        path = path / RUN_MODEL
        check_file(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: a local file of backbone weights is needed")
    not_weights = _not_weights(path)
    if not_weights:
        raise InputError(f"{path} cannot be read as weights: {not_weights}")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            # Checkpoints of DINO, MAE, DeiT and timm hold their flags: a namespace, which is nothing but values.
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice on what cannot be read: the line says it
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged archive makes its reader trip over
        raise InputError(f"{path} cannot be read as weights: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} cannot be read as weights: it holds a {type(content).__name__}, not tensors by name")
    return content


def _not_weights(path: Path) -> str:
    """What a file is instead, where a failed download or an unfetched clone left it in the place of weights."""
    with path.open("rb") as file:
        beginning = file.read(64)
    if not beginning:
        return "it is empty"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS in their place: fetch the file with `git lfs pull`"
    if beginning.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "it is a page of the web: download the file itself"
    return ""


def _reason(error: Exception) -> str:
    """In one line; torch's own advice is to read the file though code in it may run."""
    said = str(error)
    if isinstance(error, safetensors.SafetensorError):
        return f"it is damaged, cut short, or no safetensors ({said.rpartition(': ')[2]})"
    if "Weights only load failed" in said:
        kind = re.search(r"GLOBAL ([\w.]+)|unrecognized function", said)
        if kind is None:
            return "it is damaged, or of another kind"
        what = kind[1] or "objects"
        return f"it holds {what} beside tensors, and reading such could run code: save the state_dict alone"
    return next(iter(said.splitlines()), type(error).__name__)


def load_weights(model: nn.Module, path: Path, backbone: str | None = None) -> Fit:
    """Give a backbone the weights of a local file, as far as they fit it.

    The file may be that of a whole classifier, of timm, torchvision, DINO or another training (tables within tables,
    names behind prefixes such as ``module.backbone.``), or a run of Triune. A first convolution of another number of
    channels is adapted as timm does.

    Args:
        model: the backbone, as timm or segmentation-models-pytorch made it.
        path: a file, or a run folder.
        backbone: its name at timm, by which names and layouts of other origins are translated.

    Returns:
        What fitted and what did not.

    Raises:
        InputError: the file cannot be read, its weights are not finite, or fewer than half of the backbone's are in it.
    """
    content = read_weights(path)
    whole = None if backbone is None else plain_model(backbone)
    names = {name: name for name in model.state_dict()} if whole is None else plain_names(model, whole)
    # The plain names of what the backbone has, and the way back.
    own = {plain: model.state_dict()[name] for name, plain in names.items()}
    fits = [
        fit(state, own, names)
        for table in _tables(content)
        for state in _translations(table, own, None if backbone is None else (model, backbone))
    ]
    best = max(fits, key=lambda each: len(each.tensors), default=Fit({}, list(names), [], []))
    if 2 * len(best.tensors) < best.wanted:
        called = "the backbone" if backbone is None else f"the backbone {backbone}"
        raise InputError(f"{path} does not fit {called} ({best.line()}): name the backbone that it was made with")
    for name, tensor in best.tensors.items():
        if own[names[name]].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(
                f"{path}: its weights {name} are {kind}, as of a quantised network: give those it came from"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(f"{path}: its weights {name} are not finite, so nothing can begin with them")
    model.load_state_dict(best.tensors, strict=False)
    return best


def fit(state: State, own: State, names: Mapping[str, str]) -> Fit:
    """How a table of tensors fits a backbone, by name and shape.

    Args:
        state: the table, whose names begin as the backbone's do.
        own: the backbone's tensors by their plain names.
        names: the plain name of each of the backbone's.
    """
    over = [name for name in state if name not in own and not name.endswith(COUNTER)]
    found = Fit({}, [], [], over)
    for name, plain in names.items():
        given, wanted = state.get(plain), own[plain]
        if given is not None and given.shape != wanted.shape:
            given = _adapted(given, wanted)
            if given is None:
                found.misshapen.append(name)
                continue
        if given is not None:
            found.tensors[name] = given
        elif not name.endswith(COUNTER):
            found.missing.append(name)
    return found


def _adapted(given: Tensor, wanted: Tensor) -> Tensor | None:
    """A first convolution of 3 colours as one of grey images, or the other way; ``None`` of anything else."""
    channels = {given.shape[1], wanted.shape[1]} if given.ndim == wanted.ndim == 4 else set()
    if channels != {1, 3} or given.shape[2:] != wanted.shape[2:] or given.shape[0] != wanted.shape[0]:
        return None
    if wanted.shape[1] == 3:
        return given.expand(-1, 3, -1, -1) / 3
    adapted: Tensor = adapt_input_conv(1, given)
    return adapted


def _tables(content: Mapping[Any, Any], depth: int = 0) -> Iterator[dict[str, Tensor]]:
    """Every table of tensors in a checkpoint; where several fit as well the first counts, so averages come first."""
    tensors = {_WRAPPERS.sub("", str(name)): each for name, each in content.items() if isinstance(each, Tensor)}
    if tensors:
        yield tensors
    if depth < DEEPEST:
        for name in sorted(content, key=lambda each: not _AVERAGED.search(str(each))):
            if isinstance(content[name], Mapping):
                yield from _tables(content[name], depth + 1)


def _translations(table: State, own: State, of: tuple[nn.Module, str] | None) -> Iterator[State]:
    """A table with names as the backbone's begin: as it is, without its prefix, and by timm's own converter.

    Args:
        table: tensors by the file's names.
        own: the backbone's tensors by their plain names.
        of: the backbone and its name, where timm knows it.
    """
    prefix = _prefix(table, own)
    stripped = {name.removeprefix(prefix): each for name, each in table.items() if name.startswith(prefix)}
    whole = len(own) == sum(name in own and each.shape == own[name].shape for name, each in stripped.items())
    others = {name: each for name, each in table.items() if not name.startswith(prefix) and name not in own}
    yield {**others, **stripped}
    if whole:
        return
    inner = _behind_wrapper(table)
    yield by_order(inner, own)
    if is_transformer(inner):
        stripped = transformer_names(inner)
        yield stripped
    if of is not None:
        for state in (stripped, table):
            yield from _converted(state, *of)


def _behind_wrapper(table: State) -> State:
    """Names without what stands before all of them, such as ``module.``."""
    firsts = {name.partition(".")[0] for name in table}
    known = firsts & {"module", "model", "backbone", "encoder_q", "student", "teacher"}
    if len(firsts) != 1 or not known:
        return table
    return _behind_wrapper({name.partition(".")[2]: each for name, each in table.items()})


def _prefix(table: State, own: State) -> str:
    """What stands before most names of a table that are the backbone's, of the same shape; an average's goes first."""
    counts: Counter[str] = Counter()
    for name, tensor in table.items():
        parts = name.split(".")
        for place in range(len(parts)):
            known = own.get(".".join(parts[place:]))
            if known is not None and known.shape == tensor.shape:
                counts["".join(f"{part}." for part in parts[:place])] += 1
    return max(counts, key=lambda each: (counts[each], bool(_AVERAGED.search(each))), default="")


def _converted(state: State, model: nn.Module, backbone: str) -> Iterator[State]:
    """What timm makes of weights of another origin: other names and layouts, position embeddings of other sizes."""
    convert = getattr(sys.modules[timm.model_entrypoint(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return
    try:
        # Of a backbone that was taken apart for its maps the converter needs the whole.
        whole = model if hasattr(model, "get_classifier") else timm.create_model(backbone, pretrained=False)
        yield {name: each for name, each in convert(dict(state), whole).items() if isinstance(each, Tensor)}
    except (KeyError, ValueError, RuntimeError, AttributeError, TypeError, AssertionError, IndexError):
        return  # it is not of an origin that timm knows


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
