"""What the machine refuses: no permission, no room, a file where a folder is due. Exit code 1."""

import errno
import os

from malformed.case import FILES, Case

JUDGE = ("evaluate", "--embeddings", "e.npy", "--labels", "l.npy", "--resamples", "0", "--output")

ENVIRONMENT = [
    Case(
        "the machine: an output that is a file",
        (*JUDGE, "out"),
        ("out", os.strerror(errno.ENOTDIR)),
        {**FILES, "out": ""},
        1,
    ),
    Case("the machine: an output below a file", (*JUDGE, "out/a"), ("out", "exists"), {**FILES, "out": ""}, 1),
    Case("the machine: an output below what is no folder", (*JUDGE, "/proc/none/out"), ("/proc/none",), FILES, 1),
    Case("the machine: an output of too long a name", (*JUDGE, "o" * 300), ("too long",), FILES, 2),
]
