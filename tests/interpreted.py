"""Triton kernels are tested on a GPU where there is one, else under Triton's interpreter in a process of its own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

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


def assert_passes_interpreted(test_file: str, skipped: int) -> None:
    """The other tests of a file, in a process that interprets Triton (which is decided when it is imported).

    Args:
        test_file: its path.
        skipped: how many of its tests the interpreter cannot run. One more or fewer is a failure, so that a condition
            that has come to skip every test is noticed.
    """
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        command = [sys.executable, "-m", "pytest", *options, test_file]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        cases = list(ElementTree.parse(report).iter("testcase"))
    why = [f"{case.get('name')}: {left_out.get('message')}" for case in cases for left_out in case.iter("skipped")]
    assert len(cases) > len(why), f"not one test of {test_file} ran under the interpreter:\n" + "\n".join(why)
    assert len(why) == skipped, f"{len(why)} tests were skipped, not {skipped}:\n" + "\n".join(why)
