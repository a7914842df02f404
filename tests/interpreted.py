"""Triton kernels are tested on a GPU where there is one, else under Triton's interpreter in a process of its own."""

import os
import subprocess
import sys

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
needs_kernels = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="no GPU; the interpreter runs these in a process of its own"
)
starts_the_interpreter = pytest.mark.skipif(
    INTERPRETED or torch.cuda.is_available(), reason="this is the process that runs the kernels"
)


def assert_passes_interpreted(test_file: str) -> None:
    """The other tests of a file, in a process that interprets Triton (which is decided when it is imported)."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test_file]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout or "[100%]" in done.stdout
