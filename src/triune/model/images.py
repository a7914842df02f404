"""How a backbone was trained to see images, as timm says it, and which image sizes it takes."""

from collections.abc import Iterator
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config

from triune.data.preprocessing import MEAN, STD, Fit, Preprocessing
from triune.errors import InputError

_FITS: dict[str, Fit] = {"center": "crop", "squash": "squash", "border": "pad"}
"""What timm's ways to crop are called here."""


def own_preprocessing(backbone: str, channels: int = 3) -> Preprocessing:
    """How timm prepares images for a backbone when it judges it: size, shape, filter, mean and standard deviation.

    Args:
        backbone: its name at timm; of one that timm says nothing about, what most have (ImageNet's).
        channels: 3 for RGB; 1 for grey, whose mean and standard deviation are the average of the three, as those of
            ImageNet's photographs are.

    Raises:
        InputError: its name ends in a tag of weights that timm does not know.
    """
    try:
        said = timm.get_pretrained_cfg(backbone)
    except RuntimeError as error:
        architecture = backbone.partition(".")[0]
        raise InputError(
            f"there is no timm backbone {backbone!r} ({error}): timm.list_pretrained('{architecture}*') lists the tags"
        ) from error
    config: dict[str, Any] = resolve_data_config(  # type: ignore[no-untyped-call]
        {"in_chans": 3},
        pretrained_cfg={} if said is None else said.to_dict(),  # type: ignore[no-untyped-call]
    )
    mean, std = (tuple(map(float, config[name])) for name in ("mean", "std"))
    if channels == 1:
        mean, std = _grey(mean, MEAN), _grey(std, STD)
    return Preprocessing(
        size=tuple(config["input_size"][-2:]),
        fit=_FITS[config["crop_mode"]],
        interpolation=config["interpolation"],
        mean=mean,
        std=std,
        share=config["crop_pct"],
    )


def _grey(numbers: tuple[float, ...], imagenet: dict[int, tuple[float, ...]]) -> tuple[float, ...]:
    """The average of three channels' numbers; of ImageNet's, what has always been taken for it."""
    return imagenet[1] if numbers == imagenet[3] else (sum(numbers) / len(numbers),)


def check_size(model: Any, backbone: str, size: tuple[int, int]) -> str | None:
    """Let a network see one image of a size, before any are read for it.

    Args:
        model: a :class:`~triune.model.network.MultiTaskModel`; it is left as it was.
        backbone: its backbone's name.
        size: height and width.

    Returns:
        What is done to such images where the network does not take them as they are; ``None`` where it does.

    Raises:
        InputError: the backbone cannot see images of that size; the line says which sizes work.
    """
    problem = _problem(model, size)
    if problem is not None:
        near = next((each for each in _others(model, size) if _problem(model, each) is None), None)
        way_out = "choose another backbone" if near is None else f"--images.size {near[0]} {near[1]} works"
        raise InputError(f"--images.size {size[0]} {size[1]}: {backbone} cannot see such images ({problem}): {way_out}")
    own = model.fixed or getattr(model.backbone, "fixed", None)
    if own is not None and own != size:
        return f"{backbone} takes images of {own[0]} x {own[1]} only, and is given those of {_by(size)} scaled to it"
    taken = tuple(-(-side // model.stride) * model.stride for side in size)
    if own is None and taken != size:
        return (
            f"{backbone} works in steps of {model.stride} pixels: images of {_by(size)} are extended to {_by(taken)} "
            f"by repeating their border; --images.size {taken[0]} {taken[1]} would use all of it"
        )
    return None


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"


def _problem(model: Any, size: tuple[int, int]) -> str | None:
    """What a network raises of one image of a size, in a line; ``None`` where it answers."""
    parameter = next(model.parameters())
    training = model.training
    try:
        with torch.no_grad():  # not inference mode: what a network keeps for its next images is learnt through
            shape = (1, model.in_channels, *size)
            model.eval()(torch.zeros(shape, device=parameter.device, dtype=parameter.dtype))
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError, ZeroDivisionError) as error:
        return " ".join(str(error).split())[:200] or type(error).__name__
    finally:
        model.train(training)
    return None


def _others(model: Any, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Sizes that a network may rather take than one: larger ones in larger and larger steps, then its own."""
    for factor in (1, 2, 4, 7, 8):
        step = factor * model.stride
        yield tuple(max(1, -(-side // step)) * step for side in size)
    settings = getattr(model.backbone.model, "default_cfg", None) or {}
    if "input_size" in settings:
        yield tuple(settings["input_size"][-2:])
