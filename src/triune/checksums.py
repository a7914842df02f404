"""``checksums.json`` of a folder: what its files held when they were written, so that a changed byte is seen."""

import hashlib
import json
from pathlib import Path
from typing import Final

from triune.errors import InputError

NAME: Final = "checksums.json"

SEALED: Final = f"# {NAME} lists what the files of this run held. Without this line they are read unchecked."
"""The line of a run's ``config.yaml`` by which a list that is gone is missed; runs of version 0.1.0 had neither."""


def digest(path: Path) -> str:
    """The BLAKE2b digest of a file's bytes, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_checksums(folder: Path) -> dict[str, str | None]:
    """By the name of a file its digest; ``None`` where the file belongs to an earlier state of the folder.

    Empty where the folder keeps no checksums.

    Raises:
        InputError: the list is damaged or another file; or it is gone from a run that was begun with one.
    """
    path = folder / NAME
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        settings = folder / "config.yaml"
        if settings.is_file() and SEALED.encode() in settings.read_bytes():
            raise InputError(
                f"{path} is gone, so that nothing says whether the files of {folder} are whole: copy the whole run "
                f"again, or take the line {SEALED!r} out of {settings}"
            ) from error
        return {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged or another file: no JSON") from error
    files = stored.get("files") if isinstance(stored, dict) else None
    if not isinstance(files, dict) or not all(each is None or isinstance(each, str) for each in files.values()):
        raise InputError(f"{path} is damaged or another file: it lists no checksums")
    return files


def is_kept(path: Path) -> bool:
    """Whether a folder holds a file that folders of version 0.1.0 did without.

    Raises:
        InputError: it is gone, though the folder's list speaks of it.
    """
    if path.is_file():
        return True
    if path.name in read_checksums(path.parent):
        raise InputError(
            f"{path} is gone, though {NAME} lists it: copy the whole run again, or train a new one with "
            f"`triune train --config {path.parent / 'config.yaml'}`"
        )
    return False


def check_file(path: Path) -> bool:
    """Refuse a file that is not the one that its folder's list speaks of; one that is not listed is not checked.

    Returns:
        Whether the list vouches for the file.

    Raises:
        InputError: its bytes changed, it comes from elsewhere, or it speaks of a network that was trained further.
    """
    listed = read_checksums(path.parent)
    if path.name not in listed or not path.is_file():
        return False
    if listed[path.name] is None:
        raise InputError(
            f"{path} belongs to the network before its training went on: wait for that training, or finish it with "
            f"`triune train --resume {path.parent}`"
        )
    if listed[path.name] != digest(path):
        raise InputError(
            f"{path} is damaged or of another run: its checksum is not that of {NAME}. Copy the whole run again, or "
            f"write the file anew with `triune train --resume {path.parent}` (if it was changed on purpose, take its "
            f"line out of {NAME})"
        )
    return True
