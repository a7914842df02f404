"""Commands on an exported file start without torch: nothing that they do needs it."""

import ast
import json
import os
import subprocess
import sys
import textwrap

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


def in_python(code, *arguments):
    """What of the heavy libraries some lines import."""
    told = f"; print([name for name in {HEAVY!r} if name in sys.modules])"
    command = [sys.executable, "-c", textwrap.dedent(code).strip() + told, *map(str, arguments)]
    return ast.literal_eval(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


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


def test_who_it_is_is_said_without_torch_in_python_and_by_the_command(exported, images, tmp_path):
    pytest.importorskip("lancedb", reason="LanceDB is not installed (pip install 'triune[gallery]')")
    code = """
        import sys, triune
        gallery = triune.Gallery.create(sys.argv[1], triune.load(sys.argv[2]), sys.argv[3])
        gallery.identify(sys.argv[4], fpir=0.2)
    """
    gallery, table = tmp_path / "gallery", exported[0] / "items.csv"
    assert in_python(code, gallery, exported[0] / "run.onnx", table, images[0]) == []
    assert imported("identify", gallery, *images, "--fpir", "0.2", "--verbose", "--html", tmp_path / "who.html") == []


def test_new_classes_need_no_torch_and_some_heads_scikit_learn(exported, images, tmp_path):
    asked = ("fewshot", exported[0] / "run.onnx", "--support", support(exported[0], tmp_path))
    page, few = tmp_path / "named.html", ("--episodes", "4", "--ways", "2", "--shots", "2", "--queries", "2")
    assert imported(*asked, "--query", *images, "--head", "nearest", "--strangers", images[0], "--output", page) == []
    assert set(imported(*asked, "--query", images[0], "--head", "logistic")) <= {"sklearn"}
    assert set(imported(*asked, *few, "--json")) <= {"sklearn"}


def support(folder, beside):
    """Examples of three identities, as classes."""
    rows = [f"{folder}/images/{i}-{k}.png,thing{i}" for i in (3, 4, 5) for k in range(5)]
    (beside / "support.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    return beside / "support.csv"


def test_reading_a_file_in_python_needs_no_torch(exported, images):
    code = """
        import sys, triune
        run = triune.load(sys.argv[1])
        run.verify(*sys.argv[2:4])
        run.predict(sys.argv[2])
        run.few_shot({"a": sys.argv[2:4], "b": sys.argv[4:6]}, head="prototype").classify(sys.argv[2])
    """
    assert in_python(code, exported[0] / "run.onnx", *images[:4]) == []
