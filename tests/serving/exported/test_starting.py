"""Commands on an exported file start without torch: nothing that they do needs it."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "timm", "lightning", "torchvision", "segmentation_models_pytorch", "torchmetrics", "sklearn",
         "matplotlib")  # fmt: skip
CODE = f"""
import json, sys
from triune.cli import main
code = main(sys.argv[1:])
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr)
sys.exit(code)
"""


def imported(*arguments):
    """What of the heavy libraries a command imports in a process of its own."""
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, env=os.environ)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stderr.splitlines()[-1])


@pytest.fixture(scope="module")
def images(exported):
    return sorted((exported[0] / "images").glob("2-*.png"))


def test_verify_predict_and_embed_need_no_torch(exported, images, tmp_path):
    file = exported[0] / "run.onnx"
    page, table = tmp_path / "page.html", tmp_path / "pairs.csv"
    assert imported("verify", file, images[0], images[1]) == []
    assert imported("verify", file, images[0], exported[0] / "images", "--html", page, "--csv", table) == []
    assert imported("predict", file, *images, "--output", tmp_path / "p", "--overlays", "true") == []
    assert imported("embed", file, *images, "--output", tmp_path / "e.npy") == []
    assert imported("embed", file, *images, "--output", tmp_path / "e.parquet") == []


def test_index_and_search_need_no_torch(exported, images, tmp_path):
    pytest.importorskip("lancedb", reason="LanceDB is not installed (pip install 'triune[gallery]')")
    pytest.importorskip("faiss", reason="FAISS is not installed (pip install 'triune[gallery]')")
    gallery = tmp_path / "gallery"
    assert imported("index", exported[0] / "run.onnx", exported[0] / "images", "--output", gallery) == []
    assert imported("search", gallery, images[0], "--k", "3", "--html", tmp_path / "hits.html") == []


def test_reading_a_file_in_python_needs_no_torch(exported, images):
    code = (
        "import sys, triune; run = triune.load(sys.argv[1]); run.verify(*sys.argv[2:4]); run.predict(sys.argv[2])"
        f"; print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, exported[0] / "run.onnx", *images[:2]]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
