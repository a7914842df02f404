"""What the flags of a command line say by themselves, before files and defaults are mixed with them."""

from collections.abc import Sequence
from typing import Final

from triune.errors import InputError

TRIPLET: Final = "triplet"
"""The metric loss that ``--margin`` and ``--mining`` are of."""


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of a flag, written ``--flag value`` or ``--flag=value``; ``None`` where it is not given.

    Args:
        flag: with its hyphens.
        arguments: of the command line.
    """
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(flag + "="):
            return argument.removeprefix(flag + "=")
    return None


def check_length(arguments: Sequence[str]) -> None:
    """Refuse two lengths of one training. A file's epochs give way to ``--steps``.

    Raises:
        InputError: steps and epochs are both given.
    """
    if None not in (value_of("--steps", arguments), value_of("--epochs", arguments)):
        raise InputError("--steps and --epochs are both given, and each says how long to train: leave one away")


def check_metric_flags(arguments: Sequence[str], metric_loss: str) -> None:
    """Refuse flags of the triplet loss beside another one, which would not look at them.

    Args:
        arguments: of the command line.
        metric_loss: what is trained with, by name.

    Raises:
        InputError: one is given.
    """
    for flag in ("--margin", "--mining"):
        if metric_loss != TRIPLET and value_of(flag, arguments) is not None:
            raise InputError(
                f"{flag} is for the triplet loss, not {metric_loss}: leave it away; settings of {metric_loss} are "
                "given with --metric_loss_options"
            )
