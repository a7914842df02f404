"""docs/guide/client.md: every line of curl, the Python and the JavaScript of it ask a live service."""

import contextlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import triune

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "client.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


LINES = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]


@pytest.fixture
def folder(pictures, tmp_path, monkeypatch):
    """Where a.jpg and b.jpg lie."""
    for name, path in (("a.jpg", pictures[0]), ("b.jpg", pictures[7])):
        Image.open(path).convert("RGB").save(tmp_path / name, quality=95)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_what_is_run_here():
    assert len(blocks("py")) == len(blocks("javascript")) == len(blocks("console")) == 1
    assert len(LINES) >= 10


def test_every_line_of_curl_is_answered(service, folder):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for line in LINES:
        run = subprocess.run(["sh", "-c", line.replace(ADDRESS, service)], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, f"{line}: {run.stderr}"
        told = json.loads(run.stdout)
        assert "error" not in told, f"{line}: {told}"


def test_the_python_runs(service, folder):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks("py")[0].replace(ADDRESS, service), {})
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("True ")
    assert lines[-1] == "2 images removed"


def test_the_javascript_gives_the_client_s_answer(service, folder):
    node = shutil.which("node")
    major = 0 if node is None else int(subprocess.check_output([node, "--version"], text=True)[1:].split(".")[0])
    if major < 18:
        pytest.skip("node 18 or newer, which has fetch, is not installed")
    program = f"""
        const {{ readFileSync }} = require("fs");
        {blocks("javascript")[0]}
        const file = (name) => new Blob([readFileSync(name)]);
        verify("{service}", file("a.jpg"), file("b.jpg"))
          .then((told) => console.log(JSON.stringify(told)))
          .then(() => verify("{service}", file("a.jpg"), new Blob(["no image"])))
          .catch((error) => console.log(error.message));
    """
    run = subprocess.run([node, "-e", program], capture_output=True, text=True, timeout=60)
    first, second = run.stdout.splitlines()
    with triune.Client(service) as client:
        verdict = client.verify("a.jpg", "b.jpg")
    told = json.loads(first)
    assert (told["same"], told["threshold"]) == (verdict.same, verdict.threshold)
    assert told["distance"] == pytest.approx(verdict.distance, abs=1e-5)
    assert "is no image" in second
