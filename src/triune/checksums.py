"""``checksums.json`` of a folder: what its files held when they were written, so that a changed byte is seen."""

import hashlib
import json
from pathlib import Path
from typing import Final

from triune.errors import InputError

NAME: Final = "checksums.json"


def digest(path: Path) -> str:
    """The BLAKE2b digest of a file's bytes, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_checksums(folder: Path) -> dict[str, str | None]:
    """By the name of a file its digest; ``None`` where the file belongs to an earlier state of the folder.

    Empty where the folder keeps no checksums.

    Raises:
        InputError: the list is damaged or another file.
    """
    path = folder / NAME
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged or another file: no JSON") from error
    files = stored.get("files") if isinstance(stored, dict) else None
    if not isinstance(files, dict) or not all(each is None or isinstance(each, str) for each in files.values()):
        raise InputError(f"{path} is damaged or another file: it lists no checksums")
    return files


def check_file(path: Path) -> None:
    """Refuse a file that is not the one that its folder's list speaks of; one that is not listed is not checked.

    Raises:
        InputError: its bytes changed, it comes from elsewhere, or it speaks of a network that was trained further.
    """
    listed = read_checksums(path.parent)
    if path.name not in listed or not path.is_file():
        return
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
