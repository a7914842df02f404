"""Every Python block of the documents runs and prints what stands below it; every link leads somewhere."""

import contextlib
import importlib
import io
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_the_site_lists_every_page():
    def pages(entry):
        return [entry] if isinstance(entry, str) else [p for e in entry for v in e.values() for p in pages(v)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    there = [str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")]
    assert sorted(listed) == sorted(there)


def test_the_api_page_names_modules_that_exist():
    modules = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert modules
    for module in modules:
        importlib.import_module(module)
