"""The layout in the guide is that of the tree, in the order that import-linter checks."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "triune"


def layers() -> list[list[str]]:
    """The layers in pyproject.toml from the top; those of one line may not import each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (listed,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [[name.strip().removeprefix("triune.") for name in line.split("|")] for line in listed]


def rows() -> list[list[str]]:
    """What the first column of the layout names, row by row."""
    text = (ROOT / "docs/guide/design.md").read_text(encoding="utf-8")
    table = text.split("## Layout")[1].split("\n## ")[0]
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]


def test_the_guide_lists_the_layers_that_are_checked_in_their_order():
    named = [[name.removesuffix("/").removesuffix(".py") for name in row] for row in rows()]
    assert named == layers()


def test_the_guide_lists_every_folder_and_file_of_the_package():
    apart = {"__init__.py", "__main__.py", "_version.py"}
    files = {path.name for path in PACKAGE.glob("*.py")} - apart
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert {name for row in rows() for name in row} == files | folders
