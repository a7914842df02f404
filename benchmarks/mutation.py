"""Mutation tests: change a number, a comparison or a piece of logic, and see whether a test notices.

    python benchmarks/mutation.py                        every target of mutation.toml whose result is out of date
    python benchmarks/mutation.py verification/roc.py    the targets whose name contains one of these words
    python benchmarks/mutation.py --survivors roc.py     only those that survived last time (after adding tests)
    python benchmarks/mutation.py --list roc.py          what would be changed

The mutants are cosmic-ray's. Its own runner starts a process for every mutant, and importing torch and lightning takes
longer than the tests that matter. Here one process imports the libraries, and a fork of it tests a mutant: in a copy of
the repository, with only the tests that ran the changed line (told by coverage.py), until the first failure. mutmut
leaves out every decorated function, and with them ``Verification.auc``, ``eer`` and all rates.

Outcomes are kept in build/mutation/, one JSON file a source file; benchmarks/results/mutation.md is written from them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "mutation"
RESULTS = ROOT / "benchmarks" / "results" / "mutation.md"
SETTINGS = ROOT / "benchmarks" / "mutation.toml"
OPERATORS = re.compile(
    r"NumberReplacer|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd|AddNot"
    r"|ReplaceBreakWithContinue|ReplaceContinueWithBreak|ZeroIterationForLoop"
    r"|ReplaceUnaryOperator_Delete_(USub|Invert|Not)"
    # a comparison's boundary and its opposite
    r"|ReplaceComparisonOperator_(Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt|Eq_NotEq|NotEq_Eq"
    r"|Is_IsNot|IsNot_Is)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Div|Mod_Mul|Pow_Mul|LShift_RShift|RShift_LShift"
    r"|BitAnd_BitOr|BitOr_BitAnd|BitXor_BitAnd)"
)
"""Of cosmic-ray's operators. With all of them a comparison has seven mutants and a sum eleven, most of them crashes
that any test notices: they would only make the share look better."""
SECONDS = 20
"""Of processor time that a mutant may take beyond five times what its tests took unchanged."""
LOOK = 0.01
"""Seconds between two looks at whether a mutant's tests have ended."""
ALL = "*"
PREFACE = """\
Written by `make mutation` (`benchmarks/mutation.py`). A mutant is the source with one number, comparison, arithmetic or
logical operator changed, as cosmic-ray changes them; it is killed where a test fails or runs endlessly. All others are
listed: some are equivalent, since no input tells them from the source, for the reason given. Strings are not changed
(their number is in the table), nor are annotations."""


@dataclass(frozen=True)
class Mutant:
    """One change of one line.

    Args:
        line: its number, from 1.
        before: the line as it is.
        after: the line as it is changed.
        operator: cosmic-ray's name of the change.
        occurrence: which of the places in the file that this operator can change.
        outcome: ``killed``, ``timeout`` (which counts as killed), ``survived``, or ``not run``: no test runs the line.
    """

    line: int
    before: str
    after: str
    operator: str
    occurrence: int
    outcome: str = ""

    @property
    def is_killed(self) -> bool:
        """Whether a test noticed."""
        return self.outcome in ("killed", "timeout")


# --- what is changed --------------------------------------------------------------------------------------------------


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines; annotations are left alone."""
    from cosmic_ray.ast import ast_nodes, get_ast

    left_out, opposite = _annotations(source) + _stars(source), _changed_otherwise(source)
    lines = source.splitlines()
    found = []
    for name, operator in _operators().items():
        positions = [place for node in ast_nodes(get_ast(source)) for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            if any(first <= start < last for first, last in left_out):
                continue
            if name == "AddNot" and start in opposite:
                continue
            changed = mutated(source, name, occurrence).splitlines()
            number = next(i for i, (old, new) in enumerate(zip(lines, changed)) if old != new)
            found.append(Mutant(number + 1, lines[number].strip(), changed[number].strip(), name, occurrence))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.operator, mutant.occurrence))


def mutated(source: str, operator: str, occurrence: int) -> str:
    """The file with one change."""
    from cosmic_ray.mutating import mutate_code

    changed: str = mutate_code(source, _operators()[operator], occurrence)
    return changed


def _operators() -> dict[str, Any]:
    from cosmic_ray.operators.provider import OperatorProvider

    provider = OperatorProvider()
    return {name: provider[name]() for name in provider if OPERATORS.fullmatch(name)}


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where types are written: from (line, column) to (line, column). ``A | B`` there is no arithmetic."""
    nodes: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg):
            nodes.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            nodes.append(node.returns)
        elif isinstance(node, ast.AnnAssign):
            nodes.append(node.annotation)
            if ast.unparse(node.annotation).endswith("TypeAlias"):
                nodes.append(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            nodes.append(node.args[1])
    return [((n.lineno, n.col_offset), (n.end_lineno or 0, n.end_col_offset or 0)) for n in nodes if n is not None]


def _stars(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where a lone ``*`` begins the parameters that are given by name: cosmic-ray takes it for a product."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.args.kwonlyargs and not node.args.vararg:
            first = node.args.kwonlyargs[0]
            before = [*node.args.posonlyargs, *node.args.args, *node.args.defaults]
            ends = [(n.end_lineno or 0, n.end_col_offset or 0) for n in before]
            start = max(ends, default=(node.lineno, node.col_offset))
            found.append((start, (first.lineno, first.col_offset)))
    return found


def _changed_otherwise(source: str) -> set[tuple[int, int]]:
    """Where a condition begins that is one comparison or a ``not``: other operators turn it into its opposite."""
    return {
        (node.test.lineno, node.test.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If | ast.While | ast.IfExp)
        and (
            (isinstance(node.test, ast.Compare) and not isinstance(node.test.ops[0], ast.In | ast.NotIn))
            or (isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not))
        )
    }


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of the innermost statement around a line; of a statement with a body, those of its head."""
    best = range(line, line + 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or line
            if line <= max(end, node.lineno):
                best = range(node.lineno, max(end, node.lineno) + 1)
    return best


def strings_in(source: str) -> int:
    """How many strings there are beside docstrings: they are not changed."""
    tree = ast.parse(source)
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return sum(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
        for node in ast.walk(tree)
    )


# --- processes --------------------------------------------------------------------------------------------------------


def in_a_fork(work: Callable[[], int], seconds: float, log: Path) -> str:
    """Run it in a fork of this process: ``0``, ``1``, … as its exit code says, or ``timeout``."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            limit = int(seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_DATA, (12 << 30, 12 << 30))
            with log.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            code = int(work())
        finally:
            os._exit(code)
    # A process that waits for a lock uses no processor time. Looks are counted, not seconds: where both processes are
    # stopped for a while, so that something else can be timed, that while must not pass for an endless mutant.
    looks = int(10 * seconds / LOOK)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        looks -= 1
        if looks < 0:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(LOOK)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started and left behind
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "crashed"
    return str(os.WEXITSTATUS(status))


def run_tests(copy: Path, tests: list[str], plugin: object, *options: str) -> int:
    """pytest on a copy of the repository, in this process."""
    import pytest

    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy / "src")
    sys.path[:0] = [str(copy / "src"), str(copy)]
    sys.dont_write_bytecode = "-x" in options
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "--durations=0", *options, *tests], plugins=[plugin]))


class Recorded:
    """Plugin: which test ran which line, and how long each test took; written to a file at the end."""

    def __init__(self, coverage: Any, path: Path) -> None:
        self.coverage, self.path = coverage, path
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Adds a phase of a test."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_runtest_setup(self, item: Any) -> None:
        """What fixtures run is put down to the whole test file: they may be shared."""
        self.coverage.switch_context(f"{item.nodeid.partition('::')[0]}::{ALL}")

    def pytest_runtest_call(self, item: Any) -> None:
        """What the test itself runs."""
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_teardown(self, item: Any) -> None:
        """As with the setup."""
        self.pytest_runtest_setup(item)

    def pytest_sessionfinish(self) -> None:
        """Writes what was seen."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {name: data.contexts_by_lineno(name) for name in data.measured_files()}
        libraries = [
            name
            for name, module in list(sys.modules.items())
            if "site-packages" in (getattr(module, "__file__", None) or "") and "pytest" not in name
        ]
        self.path.write_text(json.dumps({"lines": lines, "seconds": self.seconds, "libraries": libraries}))


class Selected:
    """Plugin: run only these tests, the quickest file first, and in it the quickest test."""

    def __init__(self, wanted: set[str], seconds: dict[str, float]) -> None:
        self.wanted, self.seconds = wanted, seconds

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leaves the others out."""
        items[:] = [item for item in items if item.nodeid in self.wanted]
        cost: dict[str, float] = {}
        for item in items:
            file = item.nodeid.partition("::")[0]
            cost[file] = cost.get(file, 0.0) + self.seconds[item.nodeid]
        items.sort(key=lambda item: (cost[item.nodeid.partition("::")[0]], self.seconds[item.nodeid]))


# --- a target ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Source files and the tests that should notice."""

    sources: tuple[Path, ...]
    tests: tuple[Path, ...]

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Target:
        """From an entry of the settings, whose paths may hold ``*``."""
        sources = sorted(path for pattern in entry["source"] for path in ROOT.glob(pattern))
        tests = sorted(path for pattern in entry["tests"] for path in ROOT.glob(pattern))
        return cls(tuple(p for p in sources if len(ast.parse(p.read_text()).body) > 1), tuple(tests))

    def digest(self, source: Path) -> dict[str, str]:
        """What an outcome depends on, but for the rest of the package."""
        tests = hashlib.sha256(b"".join(path.read_bytes() for path in self.tests)).hexdigest()
        return {"source": hashlib.sha256(source.read_bytes()).hexdigest(), "tests": tests}


def kept(source: Path) -> Path:
    """Where the outcomes of a source file lie."""
    return KEPT / (".".join(source.relative_to(ROOT / "src" / "triune").with_suffix("").parts) + ".json")


def test_target(target: Target, sources: list[Path], survivors_only: bool) -> None:
    """Run the mutants of some sources of a target and keep their outcomes."""
    with tempfile.TemporaryDirectory(prefix=f"mutation-{os.getpid()}-") as folder:
        copy = Path(folder) / "triune"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "runs", "site", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored, symlinks=True)
        if (ROOT.parent / "shared").is_dir():
            (Path(folder) / "shared").symlink_to(ROOT.parent / "shared")
        tests = [str(path.relative_to(ROOT)) for path in target.tests]
        seen = observed(copy, tests, sources, Path(folder))
        for library in seen["libraries"]:
            with contextlib.suppress(Exception):
                importlib.import_module(library)
        require_unchanged_passes(copy, tests, seen)
        for source in sources:
            test_source(target, source, copy, tests, seen, survivors_only)


def require_unchanged_passes(copy: Path, tests: list[str], seen: dict[str, Any]) -> None:
    """Stop where the tests fail although nothing is changed: a full disk or a lost file is no mutant killed."""
    outcome = outcome_of(copy, tests, Selected(set(seen["seconds"]), seen["seconds"]))
    if outcome != "survived":
        log = copy.parent / "log"
        said = log.read_text()[:6000] if log.exists() else f"{copy} is gone"
        sys.exit(f"{said}\nthe tests fail in a fork although nothing is changed: no outcome since the last is kept")


def observed(copy: Path, tests: list[str], sources: list[Path], folder: Path) -> dict[str, Any]:
    """Run the tests once, unchanged, under coverage.py."""
    path, log = folder / "seen.json", folder / "log"

    def work() -> int:
        import coverage

        include = [str(copy / source.relative_to(ROOT)) for source in sources]
        measured = coverage.Coverage(data_file=None, include=include, config_file=False)
        measured.start()
        return run_tests(copy, tests, Recorded(measured, path))

    code = in_a_fork(work, 3600, log)
    if code != "0":
        sys.exit(f"{log.read_text()[-4000:]}\nthe tests must pass before anything is changed (exit {code})")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_source(
    target: Target, source: Path, copy: Path, tests: list[str], seen: dict[str, Any], survivors_only: bool
) -> None:
    """Run the mutants of one source file."""
    text = source.read_text()
    place = copy / source.relative_to(ROOT)
    tree = ast.parse(text)
    lines = seen["lines"].get(str(place), {})
    before = json.loads(kept(source).read_text()) if survivors_only else None
    if before and before["digest"]["source"] != target.digest(source)["source"]:
        sys.exit(f"{source.relative_to(ROOT)} has changed since: run it whole, without --survivors")
    known = {(m["operator"], m["occurrence"]): m["outcome"] for m in before["mutants"]} if before else {}
    mutants = [replace(m, outcome=known.get((m.operator, m.occurrence), "")) for m in mutants_of(text)]
    report = {
        "source": str(source.relative_to(ROOT)),
        "tests": [str(path.relative_to(ROOT)) for path in target.tests],
        "digest": target.digest(source),
        "machine": machine(),
        "minutes": before["minutes"] if before else 0.0,
        "strings": strings_in(text),
    }
    kept(source).parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    todo = [number for number, mutant in enumerate(mutants) if not mutant.is_killed]
    for step, number in enumerate(todo, start=1):
        contexts = {c for line in _statement(tree, mutants[number].line) for c in lines.get(str(line), [])}
        # What no test runs here, one may run in a process of its own.
        wanted = tests_of(contexts, set(seen["seconds"])) or set(seen["seconds"])
        outcome = "not run"
        if wanted:
            place.write_text(mutated(text, mutants[number].operator, mutants[number].occurrence))
            for stale in (place.parent / "__pycache__").glob(f"{place.stem}.*"):
                stale.unlink()
            outcome = outcome_of(copy, tests, Selected(wanted, seen["seconds"]))
            place.write_text(text)
        mutants[number] = replace(mutants[number], outcome=outcome)
        print(outcome[0].upper() if outcome != "killed" else ".", end="", file=sys.stderr, flush=True)
        if step % 50 == 0 or step == len(todo):
            require_unchanged_passes(copy, tests, seen)
            minutes = round(report["minutes"] + (time.monotonic() - started) / 60, 1)
            now = report | {"minutes": minutes, "mutants": [asdict(mutant) for mutant in mutants]}
            kept(source).write_text(json.dumps(now, indent=1, ensure_ascii=False))
            print(file=sys.stderr)
    dead = sum(mutant.is_killed for mutant in mutants)
    print(f"{source.relative_to(ROOT)}: {dead} of {len(mutants)} killed", file=sys.stderr)


def outcome_of(copy: Path, tests: list[str], selected: Selected) -> str:
    """Run the selected tests until one fails, and say what became of the mutant in the copy."""
    files = [test for test in tests if any(name.startswith(test) for name in selected.wanted)]
    limit = 5 * sum(selected.seconds[name] for name in selected.wanted) + SECONDS
    code = in_a_fork(lambda: run_tests(copy, files, selected, "-x"), limit, copy.parent / "log")
    if code == "5":
        sys.exit(f"none of these tests was found: {', '.join(sorted(selected.wanted))}")
    return {"0": "survived", "timeout": "timeout"}.get(code, "killed")


def tests_of(contexts: set[str], every: set[str]) -> set[str]:
    """The tests to run for a line that was run in these contexts. What an import runs, all tests may depend on."""
    found = contexts & every
    for context in contexts:
        if context == "":
            return every
        if context.endswith(f"::{ALL}"):
            found |= {name for name in every if name.startswith(context.removesuffix(ALL))}
    return found


def machine() -> str:
    """Date, machine and versions, as the other results have them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from machine import described

    return described(("cosmic-ray", "coverage", "pytest", "torch", "numba", "numpy"))


# --- the results ------------------------------------------------------------------------------------------------------


def written(settings: dict[str, Any], before: str = "") -> str:
    """The page of results, from all outcomes that are kept and whose source is still there.

    Args:
        settings: ``mutation.toml``.
        before: the page as it is: what it says of files whose outcomes are not kept here stays.
    """
    equivalent = {(e["source"], e["before"], e["after"]): e["reason"] for e in settings.get("equivalent", [])}
    reports = [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]
    reports = [report for report in reports if (ROOT / report["source"]).exists()]
    reports = [report for report in reports if all(mutant["outcome"] for mutant in report["mutants"])]
    told = {name: told for name, told in _told_before(before).items() if (ROOT / "src" / "triune" / name).exists()}
    for report in reports:
        mutants = [Mutant(**m) for m in report["mutants"]]
        alive = [m for m in mutants if not m.is_killed]
        same = [m for m in alive if (report["source"], m.before, m.after) in equivalent]
        name = report["source"].removeprefix("src/triune/")
        counts = (len(mutants), len(mutants) - len(alive), len(same))
        details = (
            ["", f"## {name}", "", "| line | it says | changed to | |", "| --- | --- | --- | --- |"] if alive else []
        )
        for m in alive:
            reason = equivalent.get((report["source"], m.before, m.after))
            said = f"equivalent: {reason}" if reason else m.outcome
            details.append(f"| {m.line} | {_code(m.before)} | {_code(m.after)} | {said} |")
        rest = f"{report['strings']} | {report['minutes']} | {report['machine'][:10]} |"
        told[name] = Told(counts, rest, tuple(details))
    machines = [line for line in before.splitlines() if re.match(r"20\d\d-\d\d-\d\d; ", line)]
    return "\n".join(
        [
            "# Mutation tests",
            "",
            PREFACE,
            "",
            *dict.fromkeys(
                re.sub(r"load [\d.]+ at the start", "beside other work", each)
                for each in [*machines, *(report["machine"] for report in reports)]
            ),
            "",
            "| file | mutants | killed | survived | equivalent | killed of all | killed of those that can be "
            "| strings, not changed | minutes | measured |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(f"| {name} | {_shares(told[name].counts)} | {told[name].rest}" for name in sorted(told)),
            f"| all | {_shares(tuple(map(sum, zip(*(each.counts for each in told.values())))))} | | | |",
            *_not_told(settings, set(told)),
            *(line for name in sorted(told) for line in told[name].details),
            "",
        ]
    )


@dataclass(frozen=True)
class Told:
    """What the page says of a file.

    Args:
        counts: mutants, those killed, those that are equivalent.
        rest: the last cells of its row.
        details: lines on those that were not killed.
    """

    counts: tuple[int, ...]
    rest: str
    details: tuple[str, ...]


def _told_before(page: str) -> dict[str, Told]:
    """What a page of results says, by file."""
    head, *sections = page.split("\n## ")
    details = {part.partition("\n")[0]: ("", *f"## {part}".rstrip().splitlines()) for part in sections}
    found = {}
    for line in head.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0].endswith(".py"):
            mutants, killed, _, same = map(int, cells[1:5])
            rest = " | ".join([*cells[7:9], *(cells[9:] or [""])]) + " |"
            found[cells[0]] = Told((mutants, killed, same), rest, details.get(cells[0], ()))
    return found


def _shares(counts: tuple[int, ...]) -> str:
    """The cells of a row from mutants, those killed and those equivalent."""
    everything, dead, same = counts
    shares = f"{_share(dead, everything)} | {_share(dead, everything - same)}"
    return f"{everything} | {dead} | {everything - dead - same} | {same} | {shares}"


def _not_told(settings: dict[str, Any], told: set[str]) -> Iterator[str]:
    """Lines on files whose mutants were not all run, and on those that have changed, or whose tests have, since."""
    missing, changed = [], []
    for target, sources in _targets(settings, []):
        for source in sources:
            name = str(source.relative_to(ROOT / "src" / "triune"))
            if name not in told:
                missing.append(name)
            elif not is_current(target, source):
                changed.append(name)
    if changed:
        yield from ("", f"The file or its tests have changed since: {', '.join(changed)}.")
    if missing:
        yield from ("", f"Not measured, or not to the end: {', '.join(missing)}.")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _targets(settings: dict[str, Any], words: list[str]) -> Iterator[tuple[Target, list[Path]]]:
    for entry in settings["target"]:
        target = Target.read(entry)
        chosen = [s for s in target.sources if not words or any(word in str(s) for word in words)]
        if chosen:
            yield target, chosen


def is_current(target: Target, source: Path) -> bool:
    """Whether there is an outcome for the file and its tests as they are now."""
    if not kept(source).exists():
        return False
    report = json.loads(kept(source).read_text())
    return report["digest"] == target.digest(source) and all(mutant["outcome"] for mutant in report["mutants"])


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of the names of source files")
    parser.add_argument("--survivors", action="store_true", help="only what survived last time, or was not reached")
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    parser.add_argument("--again", action="store_true", help="also what is up to date")
    given = parser.parse_args()
    settings = tomllib.loads(SETTINGS.read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the copy is removed
    sys.path.remove(str(Path(__file__).resolve().parent))  # verification.py here is not the tests' folder
    os.nice(10)
    os.environ["OMP_NUM_THREADS"] = "1"
    for target, sources in _targets(settings, given.words):
        if given.list:
            for source in sources:
                for mutant in mutants_of(source.read_text()):
                    print(f"{source.name}:{mutant.line}: {mutant.before}  →  {mutant.after}")
            continue
        stale = [s for s in sources if given.again or not is_current(target, s)]
        if stale:
            test_target(target, stale, given.survivors)
    if not given.list:
        RESULTS.write_text(written(settings, RESULTS.read_text() if RESULTS.exists() else ""))
        print(f"written to {RESULTS.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
