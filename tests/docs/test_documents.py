"""Every Python block of the documents runs, and prints what stands below it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
    if "```python\n" in path.read_text(encoding="utf-8")
)


def test_there_are_documents_to_run():
    assert {Path("README.md"), Path("docs/worked-examples.md")} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_block_runs_and_prints_what_the_document_says(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / document).read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "document"}
    printed = ""
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        if block[1] == "python":
            assert printed == "", f"{document}: what the block before line {line} prints is not shown below it"
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile("\n" * line + block[2], str(document), "exec"), names)
            printed = output.getvalue()
        elif printed:
            assert printed == block[2], f"{document}, line {line}"
            printed = ""
    assert printed == ""
