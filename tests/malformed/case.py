"""A malformed input: the files that are made, the command that is given them, and what it must say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Content = str | bytes | Callable[[Path], Any]
"""What a file holds, or what writes it."""


@dataclass(frozen=True)
class Case:
    """A command that must be refused.

    Args:
        name: what is wrong.
        arguments: the command; ``RUN`` stands for a copy of a trained run.
        says: what the one line must name.
        files: what lies in the working folder, by path; those of the copied run are ``RUN/…``.
        code: the exit code: 2 for bad input, 1 for the environment.
    """

    name: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    files: Mapping[str, Content]
    code: int = 2

    def write(self, folder: Path) -> None:
        """Make the files in a folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)


def cases(group: str, arguments: str, files: Mapping[str, Content], faults: Mapping[str, Any], *, into: str):
    """A case for each fault: content and words in ``into``, beside other files that are sound.

    Args:
        group: the first word of the cases' names.
        arguments: the command, parts between spaces.
        files: the other files.
        faults: by name, the content of ``into`` and the words that the answer must hold besides its name.
        into: the file that is malformed.
    """
    return [
        Case(f"{group}: {name}", tuple(arguments.split()), (Path(into).name, *says), {**files, into: content})
        for name, (content, *says) in faults.items()
    ]


def array(values: Any, **options: Any) -> bytes:
    """The bytes of a .npy file."""
    out = BytesIO()
    np.save(out, values, **options)
    return out.getvalue()


def picture(seed: int = 0, size: tuple[int, int] = (16, 16), mode: str = "RGB", kind: str = "PNG", **options) -> bytes:
    """The bytes of an image file."""
    out = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()


def mask(ids: Any, kind: str = "PNG") -> bytes:
    """The bytes of a mask file."""
    out = BytesIO()
    Image.fromarray(np.asarray(ids)).save(out, kind)
    return out.getvalue()


ROWS = 18
ITEMS = {f"{i}.png": picture(i) for i in range(ROWS)}
"""The images of eighteen items; the rows of :data:`SOUND` name them."""

SOUND = ["image,label,identity,split"] + [
    f"{i}.png,{'ab'[i % 2]},p{i // 3},{('train', 'val', 'test')[i // 6]}" for i in range(ROWS)
]
"""A table without a fault, line by line."""

EMBEDDINGS = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
LABELS = np.arange(ROWS) // 3
FILES = {"e.npy": array(EMBEDDINGS), "l.npy": array(LABELS)}
"""Embeddings and labels without a fault."""

SMALL = (
    "--epochs 1 --model.backbone test_resnet --model.pretrained false --model.decoder_channels [16,8,8,8,8] "
    "--images.size 32 --model.embedding_dim 8 --trainer.accelerator cpu --batch_size 8 --samples_per_class 2"
)


def replaced(line: int, text: str, lines: list[str] = SOUND) -> str:
    """The sound table with another line (counted from 1)."""
    return "\n".join([*lines[: line - 1], text, *lines[line:]]) + "\n"
