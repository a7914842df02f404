"""The rules of the house that can be counted: sizes, parameters, documentation, one test file a source file."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "triune"
TESTS = Path(__file__).resolve().parent
FILES = sorted(path for path in SRC.rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

# --- what needs no test file of its own, and why ----------------------------------------------------------------------

NEEDS_NO_TEST_FILE = {
    "__init__.py": "docstrings and the public names, which tests/test_public_api.py checks",
    "__main__.py": "one call of the command line",
    "_version.py": "one constant",
    "errors.py": "one exception without behaviour",
}

HOOKS = {
    *("on_train_batch_start", "on_train_batch_end", "backward", "transfer_batch_to_device"),
    *("save_checkpoint", "load_checkpoint"),
}
"""Methods that Lightning calls: it says what it hands them."""


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def in_kernels(path: Path) -> bool:
    return path.is_relative_to(SRC / "kernels")


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the parameters, without self and cls."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    more = [arg for arg in (given.vararg, given.kwarg) if arg]
    return [arg.arg for arg in (*named, *more) if arg.arg not in ("self", "cls")]


def public_names() -> set[str]:
    """``FILE:NAME`` of everything that the stubs of the package and of its losses list."""
    found = set()
    for stub in (SRC / "__init__.pyi", SRC / "losses" / "__init__.pyi"):
        for node in ast.parse(stub.read_text()).body:
            assert isinstance(node, ast.ImportFrom), f"{stub}: a stub of public names holds imports alone"
            for alias in node.names:
                place = stub.parent.joinpath(*(node.module or alias.name).split("."))
                if node.module:
                    found.add(f"{name_of(place.with_suffix('.py'))}:{alias.name}")
                elif place.with_suffix(".py").exists():  # a module is public with all that it names
                    tree = ast.parse(place.with_suffix(".py").read_text())
                    named = [n.name for n in tree.body if isinstance(n, (*FUNCTION, ast.ClassDef))]
                    found |= {f"{name_of(place.with_suffix('.py'))}:{name}" for name in named if name[0] != "_"}
    return found


def functions_of(path: Path):
    """Every function of a file with its dotted name: ``function``, ``Class.method``, ``function.inner``."""

    def walk(node, names):
        for child in ast.iter_child_nodes(node):
            inner = [*names, child.name] if isinstance(child, (*FUNCTION, ast.ClassDef)) else names
            if isinstance(child, FUNCTION):
                yield ".".join(inner), child
            yield from walk(child, inner)

    yield from walk(ast.parse(path.read_text()), [])


def is_public(path: Path, dotted: str, public: set[str]) -> bool:
    """Whether users call it: a public name, or a public method (or the constructor) of a public class."""
    first, *rest = dotted.split(".")
    return f"{name_of(path)}:{first}" in public and all(name[0] != "_" or name == "__init__" for name in rest)


def test_no_function_outside_the_kernels_and_the_public_signatures_takes_more_than_eight_parameters():
    public = public_names()
    found = {
        f"{name_of(path)}:{dotted}"
        for path in FILES
        if not in_kernels(path) and path != SRC / "cli.py"
        for dotted, function in functions_of(path)
        if len(parameters(function)) > 8 and not is_public(path, dotted, public)
    }
    assert found == set()


def test_no_file_outside_the_kernels_has_more_than_500_lines():
    assert {name_of(path) for path in FILES if not in_kernels(path) and lines_of(path) > 500} == set()


def test_no_folder_but_the_kernels_holds_more_than_a_fifth_of_the_lines():
    lines = Counter()
    for path in FILES:
        lines[path.relative_to(SRC).parts[0] if path.parent != SRC else "."] += lines_of(path)
    wide = {folder for folder, count in lines.items() if count > 0.2 * lines.total() and folder != "kernels"}
    assert wide == set()


def test_every_source_file_has_its_test_file_in_the_same_place():
    missing = {
        name_of(path)
        for path in FILES
        if path.name not in NEEDS_NO_TEST_FILE
        and not (TESTS / path.relative_to(SRC)).with_name(f"test_{path.name}").exists()
    }
    assert missing == set()


def test_a_file_that_needs_no_test_file_holds_no_function():
    excused = [path for path in FILES if path.name in NEEDS_NO_TEST_FILE]
    assert {name_of(path) for path in excused if list(functions_of(path))} == set()


def entries(docstring: str) -> list[str]:
    """What stands before the colon of each entry of ``Args:``."""
    found = re.search(r"^( *)Args:\n((?:\1 +\S.*\n?|\s*\n)*)", docstring + "\n", flags=re.MULTILINE)
    if not found:
        return []
    indents = [len(line) - len(line.lstrip()) for line in found[2].splitlines() if line.strip()]
    starts = [line.strip() for line in found[2].splitlines() if len(line) - len(line.lstrip()) == min(indents)]
    return [start.partition(":")[0].lstrip("*") for start in starts if start]


def documented(path: Path):
    """Public functions and methods, with the entries that say what their parameters are.

    A constructor's parameters are said in the docstring of its class.
    """
    classes = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
    for dotted, function in functions_of(path):
        names = dotted.split(".")
        if any(name[0] == "_" and name != "__init__" for name in names) or names[-1] in HOOKS:
            continue
        if len(names) == 1 or (len(names) == 2 and names[0] in classes):
            said = function if names[-1] != "__init__" else classes[names[0]]
            yield dotted, parameters(function), entries(ast.get_docstring(said) or "")


def test_every_public_function_of_three_or_more_parameters_documents_each_in_an_entry_of_its_own():
    undocumented = {
        f"{name_of(path)}:{dotted}": sorted(set(names) - set(said))
        for path in FILES
        for dotted, names, said in documented(path)
        if len(names) >= 3 and not set(names) <= set(said)
    }
    assert undocumented == {}


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        ("One.\n\nArgs:\n    a: first,\n        b: not an entry.\n    c: third.\n\nRaises:\n    d: no.", ["a", "c"]),
        ("One.\n\nArgs:\n    a, b: two at once.", ["a, b"]),
        ("Only a sentence.", []),
        ("One.\n\nArgs:\n    **more: the rest.", ["more"]),
    ],
)
def test_entries_are_read_as_people_read_them(docstring, found):
    assert entries(docstring) == found


def test_every_module_says_its_idea_in_one_sentence_on_its_first_line():
    odd = set()
    for path in FILES:
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        if not first or len(first) > 120 or not first.endswith("."):
            odd.add(name_of(path))
    assert odd - {"_version.py"} == set()


def told(path: Path) -> list[str]:
    """What a file may show to people: strings of a module but for docstrings; a template but for its comments."""
    text = path.read_text()
    if path.suffix != ".py":
        return [re.sub(r"\{#.*?#\}|<!--.*?-->|/\*.*?\*/", "", text, flags=re.DOTALL)]
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [node.value for node in constants if isinstance(node.value, str)]


def test_no_level_of_confidence_is_written_where_the_level_that_was_asked_for_belongs():
    shown = [path for path in SRC.rglob("*") if path.suffix in (".py", ".pyi", ".html", ".jinja", ".j2", ".js", ".svg")]
    found = {name_of(path) for path in shown if any(re.search(r"95\s?(%|&nbsp;%|per cent)", s) for s in told(path))}
    assert found == set()
