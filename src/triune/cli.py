"""The command line: one function a command; heavy imports stay inside the functions, so that --help answers at once."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from triune._version import __version__
from triune.errors import InputError

DEMO_FLAGS = ("--config", str(Path(__file__).parent / "run" / "demo.yaml"))


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
    return train([*DEMO_FLAGS, *arguments], prog="triune demo")


def train(arguments: list[str], prog: str = "triune train") -> int:
    """Train on a table, a folder or a named data set; evaluate and report."""
    from triune.run.parser import parse_train

    config = parse_train(arguments, prog)
    from triune.experiment import train_and_evaluate
    from triune.report.page import write_report
    from triune.report.summary import summary

    run, metrics = train_and_evaluate(config)
    report = write_report(run)
    print(summary(metrics))
    print(f"\nrun     {run}\nreport  {report}")
    return 0


def evaluate(arguments: list[str]) -> int:
    """Judge a run again, or a file of embeddings, or a file of scores; under torchrun by several processes."""
    parser = _parser("evaluate", evaluate.__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="a run folder")
    parser.add_argument("--data", help="judge the run on this table's test split instead of the run's own data")
    files = parser.add_argument_group("embeddings from any model, all pairs")
    files.add_argument("--embeddings", type=Path, help="N embeddings, one a row (.npy)")
    files.add_argument("--labels", type=Path, help="N labels (.npy, or one a line)")
    files.add_argument("--groups", type=Path, help="CSV of N rows; figures are given for each value of each column")
    files.add_argument("--exclude", metavar="COLUMN", help="column of --groups: pairs within a group are left out")
    files.add_argument("--against", type=Path, help="another model's N embeddings (.npy) to compare with")
    files.add_argument("--threshold", type=Path, help="a run's thresholds.json, to be applied to these pairs")
    files.add_argument("--templates", type=Path, help="CSV of N rows: those of one template (and media) are averaged")
    files.add_argument("--rerank", action="store_true", help="retrieval with expanded items and re-ranked, as well")
    files.add_argument("--metric", default="cosine", choices=["cosine", "euclidean", "squared_euclidean"])
    files.add_argument("--resamples", type=int, default=1000, help="for the intervals; 0 for none (default: 1000)")
    files.add_argument("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    files.add_argument("--seed", type=int, default=0, help="of the resampling (default: 0)")
    lists = parser.add_argument_group("listed pairs")
    lists.add_argument("--pairs", type=Path, help="pairs of --embeddings to compare: CSV, or LFW's pairs.txt")
    lists.add_argument("--names", type=Path, help="N names, one a line, by which --pairs calls the embeddings")
    lists.add_argument("--scores", type=Path, help="CSV with score (or distance) and match, and maybe fold")
    parser.add_argument("--output", type=Path, help="folder for metrics.json, report and figures (runs/evaluate-NAME)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    asked = [options.run is not None, options.embeddings is not None, options.scores is not None]
    if sum(asked) != 1:
        raise InputError("name one thing to evaluate: a RUN, or --embeddings with --labels, or --scores")
    from triune.parallel.command import is_first, sharing
    from triune.report.summary import summary

    if options.run is not None:
        from triune.evaluation.judge_run import evaluate_again

        metrics = evaluate_again(options.run, options.data, sharing())
        if is_first():
            _write_report(options.run, metrics)
    elif options.labels is None and not is_first():
        return 0  # a list is little work: the first process does it alone
    else:
        metrics = _evaluate_files(options)
    _print(metrics if options.json else summary(metrics))
    return 0


def _evaluate_files(options: argparse.Namespace) -> dict[str, Any]:
    """What `triune evaluate` does without a run: judge, and write metrics, report and figures."""
    for name in ("groups", "exclude", "against", "threshold"):
        if getattr(options, name) is not None and options.labels is None:
            raise InputError(f"--{name} needs --embeddings and --labels: all pairs of labelled embeddings")
    if options.templates is not None and options.embeddings is None:
        raise InputError("--templates needs --embeddings, with --labels or --pairs")
    if options.resamples < 0 or not 0 < options.level < 1:
        raise InputError("--resamples is a whole number from 0 on, --level a share between 0 and 1")
    from triune.evaluation import judge_files as judge
    from triune.evaluation.freed_memory import return_large_arrays
    from triune.parallel.command import is_first, sharing

    if options.scores is not None:
        found = judge.evaluate_scores(options.scores)
    elif options.pairs is not None:
        found = judge.evaluate_pairs(
            options.embeddings, options.pairs, options.names, options.metric, options.templates
        )
    elif options.labels is None:
        raise InputError("--embeddings needs --labels, one label for each row, or --pairs, a list of pairs")
    else:
        return_large_arrays()
        found = judge.evaluate_embeddings(
            options.embeddings,
            options.labels,
            options.metric,
            groups=options.groups,
            exclude=options.exclude,
            against=options.against,
            threshold=options.threshold,
            resampling=judge.Resampling(options.resamples, options.level, options.seed),
            reranked=options.rerank,
            templates=options.templates,
            divide_over=sharing(),
        )
    if not is_first():
        return found.metrics
    output = options.output or Path("runs") / f"evaluate-{found.metrics['name']}"
    _write_report(output, found.metrics)
    from triune.report.figure_files import write_figures

    write_figures(output / "figures", found, options.seed)
    print(f"figures {output / 'figures'}", file=sys.stderr)
    return found.metrics


def _write_report(folder: Path, metrics: dict[str, Any]) -> None:
    from triune.files import write_json
    from triune.report.page import write_report

    write_json(folder / "metrics.json", metrics)
    print(f"report  {write_report(folder)}", file=sys.stderr)


def verify(arguments: list[str]) -> int:
    """Say whether two images show the same thing."""
    parser = _parser("verify", verify.__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("first", type=Path, help="an image")
    parser.add_argument("second", type=Path, help="another image")
    parser.add_argument("--fpr", type=float, help="false-positive rate of the threshold (default: the run's own)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    from triune.serving.verify import verify as compare

    verdict = compare(options.run, options.first, options.second, options.fpr)
    if options.json:
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
    parser = _parser("report", report.__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    options = parser.parse_args(arguments)
    from triune.report.page import write_report

    print(write_report(options.run))
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help shows what it takes)")


def _parser(command: str, description: str | None) -> _Parser:
    return _Parser(prog=f"triune {command}", description=description)


def _print(result: Any) -> None:
    if isinstance(result, str):
        print(result)
    else:
        from triune.files import without_nan

        print(json.dumps(without_nan(result), indent=1))


def _fail(message: str, code: int) -> int:
    print(f"triune: {message}", file=sys.stderr)
    return code
