"""What several test files need: where the real data lie, and the command in several processes."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """A folder of real data beside the repository; the test is skipped where it is not there."""
    folder = ROOT.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} does not lie beside the repository (shared/data/{name})")
    return folder


def digests(folder: Path) -> dict[str, bytes]:
    """What the files under a folder hold, but for the lock of a training, to see that they stay as they are.

    A run's files are tens of megabytes, and a failed command that a test looks at keeps them alive: not the bytes.
    """
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "training.lock")
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).digest() for path in files}


@pytest.fixture
def one_thread():
    """As torchrun starts processes: how a product is shared out among threads changes its last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def torchrun(*arguments, processes=2):
    """`triune` in several processes, one thread each; the exit code is torchrun's own: 0, or 1 where any failed."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m", "triune"]
    return subprocess.run(
        [sys.executable, *launch, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=200,
    )


@pytest.fixture(autouse=True)
def _environment_as_it_was():
    """What a test, or a command that it runs, writes into the environment is none of the next one's."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A run of an untrained network that was judged, with thresholds, and the same run as an ONNX file.

    Its folder holds ``run/``, ``images/`` and ``run.onnx``; and what the export said of itself.
    """
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (pip install 'triune[export]')")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install 'triune[export]')")
    from evaluation.conftest import untrained_run, write_items
    from triune.evaluation.judge import Resampling
    from triune.evaluation.judge_run import RunQuestions, evaluate_run
    from triune.serving.loaded import load

    folder = tmp_path_factory.mktemp("exported")
    config, data = untrained_run(folder / "run", write_items(folder))
    evaluate_run(folder / "run", config, data, RunQuestions(resampling=Resampling(0, 0.95, 1)))
    return folder, load(folder / "run", device="cpu").export(folder / "run.onnx", licence="CC0-1.0")
