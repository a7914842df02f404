"""The command line: one function a command; heavy imports stay inside the functions, so that --help answers at once."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triune._version import __version__
from triune.errors import InputError

if TYPE_CHECKING:
    from triune.run.settings import EvaluateConfig, TrainConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 stopped (interrupted, disk full), 2 bad input.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"triune {__version__}")
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        return _fail(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}", 2)
    if name == "evaluate" and "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from triune.parallel.command import run_in_processes

        return run_in_processes(lambda: _run(name, rest))
    return _run(name, rest)


def _run(name: str, arguments: list[str]) -> int:
    """Run a command that exists, and say what went wrong in one line."""
    try:
        return COMMANDS[name](arguments)
    except InputError as error:
        return _fail(str(error), 2)
    except SystemExit as ended:  # --help and --print_config, which end where they are found
        return int(ended.code or 0)
    except BrokenPipeError:
        # The reader of our output went away (`triune … | head`): nothing is wrong; keep Python from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", 1)
    except KeyboardInterrupt as stopped:
        run = f"; go on after its last epoch with `triune train --resume {stopped}`" if str(stopped) else ""
        return _fail(f"interrupted{run}", 130)


def demo(arguments: list[str]) -> int:
    """Train on real digits and write a report to look at."""
    from triune.run.parser import Command, parse_train
    from triune.run.settings import TrainConfig

    defaults = Path(__file__).parent / "run" / "demo.yaml"
    return _trained(parse_train(arguments, Command("triune demo", str(demo.__doc__), TrainConfig, defaults=defaults)))


def train(arguments: list[str]) -> int:
    """Train on a table, a folder or a named data set; evaluate and report."""
    from triune.run.parser import Command, parse_train
    from triune.run.settings import TrainConfig

    return _trained(parse_train(arguments, Command("triune train", str(train.__doc__), TrainConfig)))


def _trained(config: "TrainConfig") -> int:
    from triune.experiment import train_and_evaluate
    from triune.report.page import write_report
    from triune.report.summary import summary

    run, metrics = train_and_evaluate(config)
    report = write_report(run)
    print(summary(metrics))
    print(f"\nrun     {run}\nreport  {report}")
    return 0


def evaluate(arguments: list[str]) -> int:
    """Judge a run again, a file of embeddings, or scored pairs; torchrun divides it."""
    from triune.run.parser import Command
    from triune.run.settings import EvaluateConfig

    asked = Command("triune evaluate", str(evaluate.__doc__), EvaluateConfig, words=("run",)).parse(arguments)
    kind = _what_is_evaluated(asked)
    from triune.parallel.command import is_first, sharing
    from triune.report.summary import summary

    if asked.run is not None:
        from triune.evaluation.judge_run import evaluate_again

        metrics = evaluate_again(asked.run, asked.data, sharing())
        if is_first():
            _write_report(asked.run, metrics)
    elif kind in LISTS and not is_first():
        return 0  # a list is little work: the first process does it alone
    else:
        metrics = _evaluate_files(asked, kind)
    _print(metrics if asked.json else summary(metrics))
    return 0


ALL_PAIRS, LISTED_PAIRS, SCORED_PAIRS = "--embeddings and --labels", "--embeddings and --pairs", "--scores"
RUN = "a RUN"
LISTS = (LISTED_PAIRS, SCORED_PAIRS)
FITTING = {
    RUN: {"data"},
    ALL_PAIRS: {
        *("embeddings", "labels", "groups", "exclude", "against", "threshold", "templates", "rerank"),
        *("metric", "resamples", "level", "output"),
    },
    LISTED_PAIRS: {"embeddings", "pairs", "names", "templates", "metric", "output"},
    SCORED_PAIRS: {"scores", "output"},
}
"""Which options can be answered of what; ``--json`` and ``--seed`` always."""


def _what_is_evaluated(asked: "EvaluateConfig") -> str:
    """A key of :data:`FITTING`.

    Raises:
        InputError: nothing or several things are named, or an option that cannot be answered of what is.
    """
    from dataclasses import fields

    if (asked.run is not None) + (asked.embeddings is not None) + (asked.scores is not None) != 1:
        raise InputError("name one thing to evaluate: a RUN, or --embeddings with --labels, or --scores")
    if asked.embeddings is not None and asked.labels is None and asked.pairs is None:
        raise InputError("--embeddings needs --labels, one label for each row, or --pairs, a list of pairs")
    kind = RUN if asked.run is not None else SCORED_PAIRS if asked.scores is not None else ALL_PAIRS
    if asked.pairs is not None and asked.embeddings is not None:
        kind = LISTED_PAIRS
    given = [field.name for field in fields(asked) if getattr(asked, field.name) != field.default]
    for name in given:
        if name in FITTING[kind] or name in ("run", "seed", "json") or (name == "resamples" and not asked.resamples):
            continue
        fits = " or ".join(other for other, names in FITTING.items() if name in names)
        raise InputError(f"--{name} needs {fits}: leave it away for {kind}")
    return kind


def _evaluate_files(asked: "EvaluateConfig", kind: str) -> dict[str, Any]:
    """What `triune evaluate` does without a run: judge, and write metrics, report and figures."""
    from triune.evaluation import judge_files as judge
    from triune.evaluation.freed_memory import return_large_arrays
    from triune.parallel.command import is_first, sharing

    if kind == SCORED_PAIRS:
        assert asked.scores is not None
        found = judge.evaluate_scores(asked.scores)
    elif kind == LISTED_PAIRS:
        assert asked.embeddings is not None
        assert asked.pairs is not None
        found = judge.evaluate_pairs(asked.embeddings, asked.pairs, asked.names, asked.metric, asked.templates)
    else:
        assert asked.embeddings is not None
        assert asked.labels is not None
        return_large_arrays()
        found = judge.evaluate_embeddings(
            asked.embeddings,
            asked.labels,
            asked.metric,
            groups=asked.groups,
            exclude=asked.exclude,
            against=asked.against,
            threshold=asked.threshold,
            resampling=judge.Resampling(asked.resamples, asked.level, asked.seed),
            reranked=asked.rerank,
            templates=asked.templates,
            divide_over=sharing(),
        )
    if not is_first():
        return found.metrics
    output = asked.output or Path("runs") / f"evaluate-{found.metrics['name']}"
    _write_report(output, found.metrics)
    from triune.report.figure_files import write_figures

    write_figures(output / "figures", found, asked.seed)
    print(f"figures {output / 'figures'}", file=sys.stderr)
    return found.metrics


def _write_report(folder: Path, metrics: dict[str, Any]) -> None:
    from triune.files import write_json
    from triune.report.page import write_report

    write_json(folder / "metrics.json", metrics)
    print(f"report  {write_report(folder)}", file=sys.stderr)


def verify(arguments: list[str]) -> int:
    """Say whether two images show the same thing."""
    from triune.run.parser import Command
    from triune.run.settings import VerifyConfig

    words = ("run", "first", "second")
    asked = Command("triune verify", str(verify.__doc__), VerifyConfig, words, has_config=False).parse(arguments)
    from triune.serving.verify import verify as compare

    verdict = compare(asked.run, asked.first, asked.second, asked.fpr)
    if asked.json:
        _print(verdict._asdict())
        return 0
    _print(
        f"{'same' if verdict.same else 'different'}  {verdict.metric} distance {verdict.distance:.4f}, "
        f"threshold {verdict.threshold:.4f} set at FPR {verdict.target_fpr:.3%} "
        f"({verdict.validation_fpr:.3%} on the validation pairs)"
    )
    return 0


def report(arguments: list[str]) -> int:
    """Write a run's report again."""
    from triune.run.parser import Command
    from triune.run.settings import ReportConfig

    command = Command("triune report", str(report.__doc__), ReportConfig, words=("run",), has_config=False)
    asked = command.parse(arguments)
    from triune.report.page import write_report

    print(write_report(asked.run))
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "verify": verify,
    "report": report,
}


def overview() -> str:
    """What `triune --help` prints."""
    lines = ["usage: triune COMMAND …", "", "Deep metric learning: classify, segment, embed, verify.", ""]
    lines += [f"  {name:<9} {str(command.__doc__).splitlines()[0]}" for name, command in COMMANDS.items()]
    lines += ["", "triune COMMAND --help shows a command's settings; triune --version the version."]
    return "\n".join(lines)


def _print(result: Any) -> None:
    if isinstance(result, str):
        print(result)
    else:
        from triune.files import without_nan

        print(json.dumps(without_nan(result), indent=1))


def _fail(message: str, code: int) -> int:
    print(f"triune: {message}", file=sys.stderr)
    return code
