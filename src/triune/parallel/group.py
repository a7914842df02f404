"""The processes that share a command's work, as each of them sees the others; alone, it needs no torch for that."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from triune.errors import InputError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")


def sharing() -> "ProcessGroup | None":
    """The processes that share this command's work; ``None`` where there is one."""
    dist = sys.modules.get("torch.distributed")  # which whoever shares work has imported, and others need not
    return dist.group.WORLD if dist is not None and dist.is_available() and dist.is_initialized() else None


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank_and_size(sharing())[0] == 0


def done_by_first(step: Callable[[], T]) -> T | None:
    """What the first process does for all; where it cannot, all raise what it raised.

    Returns:
        What ``step`` returned, in the first process; ``None`` in the others.

    Raises:
        InputError: ``step`` did so.
        OSError: likewise.
    """
    done: T | None = None
    error: InputError | OSError | None = None
    if is_first():
        try:
            done = step()
        except (InputError, OSError) as failed:
            error = failed
    error = all_gather([error], sharing())[0]
    if error is not None:
        raise error
    return done


def told_by_first(step: Callable[[], T]) -> T:
    """What the first process does for all, and tells them; where it cannot, all raise what it raised.

    Raises:
        InputError: ``step`` did so.
        OSError: likewise.
    """
    done = done_by_first(step)
    return all_gather([done], sharing())[0]  # type: ignore[return-value]


def done_in_turn(step: Callable[[], T]) -> T:
    """What the first process does before the others do it, too: what it fetches or makes is then there for them.

    Raises:
        InputError: ``step`` did so in one of them.
        OSError: ``step`` did so in the first.
    """
    done = done_by_first(step)
    return read_by_all(lambda: done if is_first() else step(), sharing())  # type: ignore[return-value]


def read_by_all(read: Callable[[], T], divide_over: "ProcessGroup | None") -> T:
    """What every process reads for itself. Where one of them cannot, all of them raise what it has to say.

    Else the others would go on, and wait for it.

    Raises:
        InputError: ``read`` did so in one of the processes.
    """
    if divide_over is None:
        return read()
    found: T | None = None
    says = None
    try:
        found = read()
    except InputError as error:
        says = str(error)
    except OSError as error:
        says = f"{error.filename or 'a file'} cannot be read: {error.strerror or error}"
    first = next((each for each in all_gather([says], divide_over) if each is not None), None)
    if first is not None:
        raise InputError(first)
    return found  # type: ignore[return-value]


def rank_and_size(divide_over: "ProcessGroup | None") -> tuple[int, int]:
    """This process's place among those that share some work, and how many they are."""
    if divide_over is None:
        return 0, 1
    import torch.distributed as dist

    return dist.get_rank(divide_over), dist.get_world_size(divide_over)


def all_gather(parts: Sequence[T], divide_over: "ProcessGroup | None") -> list[T]:
    """The parts of all processes, those of the first process first."""
    if divide_over is None:
        return list(parts)
    import torch.distributed as dist

    gathered: list[Any] = [None] * dist.get_world_size(divide_over)
    dist.all_gather_object(gathered, list(parts), group=divide_over)
    return [part for theirs in gathered for part in theirs]
