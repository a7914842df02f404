"""The command line: one function a command; heavy imports stay inside the functions, so that --help answers at once."""

import contextlib
import errno
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from triune._version import __version__
from triune.errors import InputError
from triune.signals import leave_at_once, signal_of, word_of

if TYPE_CHECKING:
    from triune.evaluation.judge import Judgement
    from triune.evaluation.results import Results
    from triune.run.settings import EvaluateConfig, TrainConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of a call from Python; where not given, those of the process, which signals then end in a line.

    Returns:
        The exit code: 0 done, 1 stopped by the environment (disk full, no permission), 2 bad input, 128 and the
        number of the signal where one ended it.
    """
    if arguments is None:
        leave_at_once()
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = _ended(lambda: _command(given))
    # What is still in the buffer may have nowhere to go, which the interpreter would complain of at its end.
    return _ended(lambda: _flushed(code)) or code


def _command(given: list[str]) -> int:
    """The command that a line names."""
    # Where there is no home to write to it says so in three lines, and goes on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        print(f"triune {__version__}")
        return 0
    # What Pillow finds odd about a file is told in a line of our own, where it matters.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        return _fail(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}", 2)
    if name == "evaluate" and "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from triune.parallel.command import run_in_processes

        return run_in_processes(lambda: _ended(lambda: COMMANDS[name](rest)))
    return COMMANDS[name](rest)


def _flushed(code: int) -> int:
    if sys.stdout is not None:  # as it is where it was closed before the start
        sys.stdout.flush()
    return code


def _ended(command: Callable[[], int]) -> int:
    """Run a command, and say what went wrong in one line."""
    warnings.formatwarning = lambda message, *_: f"triune: warning: {message}\n"
    try:
        return command()
    except InputError as error:
        # Of a table all problems are told, a line each.
        return _fail(str(error), 2, each_line=hasattr(error, "problems"))
    except SystemExit as ended:  # --help and --print_config, which end where they are found
        return int(ended.code or 0)
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
        return _fail("whoever read the output went away (a closed pipe)", 1)
    except OSError as error:
        where = error.filename
        if where is None and error.errno in (errno.ENOSPC, errno.EIO):  # files are named where they are written
            where = "standard output"
            _to_nowhere(sys.stdout)
        where = f": {where}" if where else ""
        # A path that no machine would take is bad input; all else is this machine's.
        return _fail(f"{error.strerror or error}{where}", 2 if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else 1)
    except MemoryError as error:
        return _fail(f"there is not enough memory for this: {error or 'ask for less at once'}", 1)
    except KeyboardInterrupt as stopped:
        run = f"; go on after its last epoch with `triune train --resume {stopped}`" if str(stopped) else ""
        number = signal_of(stopped)
        return _fail(f"{word_of(number)}{run}", 128 + number)


def _to_nowhere(stream: TextIO | None) -> None:
    """Let a stream that takes nothing more lead nowhere, so that the interpreter can end without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
    from triune.report.terminal import summary

    run, results = train_and_evaluate(config)
    report = write_report(run)
    print(summary(results))
    _tell_cautions(results)
    print(f"\nrun     {run}\nreport  {report}")
    return 0


def _tell_cautions(results: "Results") -> None:
    """What the page says below its first figures, on standard error."""
    from triune.report.sections.cautions import cautions

    for sentence in cautions(results):
        print(f"caution: {sentence}", file=sys.stderr)


def evaluate(arguments: list[str]) -> int:
    """Judge a run again, a file of embeddings, or scored pairs; torchrun divides it."""
    from triune.run.parser import Command
    from triune.run.settings import EvaluateConfig

    asked = Command("triune evaluate", str(evaluate.__doc__), EvaluateConfig, words=("run",)).parse(arguments)
    kind = _what_is_evaluated(asked)
    from triune.parallel.command import is_first
    from triune.report.terminal import summary

    if kind in LISTS and not is_first():
        return 0  # a list is little work: the first process does it alone
    found = _judged(asked, kind)
    print(found.results.model_dump_json(indent=1) if asked.json else summary(found.results))
    if not asked.json:
        _tell_cautions(found.results)
    return 0


ALL_PAIRS, LISTED_PAIRS, SCORED_PAIRS = "--embeddings and --labels", "--embeddings and --pairs", "--scores"
RUN = "a RUN"
LISTS = (LISTED_PAIRS, SCORED_PAIRS)
FITTING = {
    RUN: {"data", "groups", "exclude", "against", "threshold", "rerank", "resamples", "level", "output"},
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
    told = []
    for name in given:
        if name in FITTING[kind] or name in ("run", "seed", "json") or (name == "resamples" and not asked.resamples):
            continue
        told.append(f"--{name} needs {' or '.join(other for other, names in FITTING.items() if name in names)}")
    if told:
        raise InputError(f"{'; '.join(told)}: leave {'it' if len(told) == 1 else 'them'} away for {kind}")
    return kind


def _judged(asked: "EvaluateConfig", kind: str) -> "Judgement":
    """What was found; the first process writes it with its page and figures, all together, into a folder of its own."""
    from contextlib import ExitStack

    from triune.files import filled_together
    from triune.parallel.command import done_by_first, is_first

    folder, numbered = _where(asked)
    with ExitStack() as opened:

        def prepare() -> tuple[Path, Callable[[], Path]]:
            try:
                return opened.enter_context(filled_together(folder, numbered=numbered))
            except PermissionError as error:
                way_out = f"{error.strerror} (name a folder that can be written to with --output)"
                raise PermissionError(error.errno, way_out, error.filename) from error

        # A list is judged by the first process alone: the others have left.
        place = prepare() if kind in LISTS else done_by_first(prepare)
        temporary = Path() if place is None else place[0]
        found = _judge_run(asked, temporary) if kind == RUN else _judge_files(asked, kind)
        if not is_first() or place is None:
            return found
        from triune.report.figure_files import write_figures
        from triune.report.page import write_report

        if kind != RUN:  # what is found of a run lies there already, beside its embeddings and masks
            found.results.write(temporary / "metrics.json")
        write_report(temporary)
        write_figures(temporary / "figures", found, asked.seed)
        folder = place[1]()
    print(f"report  {folder / 'report.html'}\nfigures {folder / 'figures'}", file=sys.stderr)
    return found


def _where(asked: "EvaluateConfig") -> tuple[Path, bool]:
    """The folder of what is found, and whether its name gets a number."""
    if asked.output is not None:
        return asked.output, False
    if asked.run is not None:
        if not (asked.run / "config.yaml").is_file():
            stored = asked.run / "config.yaml"
            raise InputError(f"{stored} does not exist: name a run folder that `triune train` wrote")
        return asked.run / "evaluations" / ("own-data" if asked.data is None else Path(asked.data).stem), True
    source = asked.embeddings or asked.scores
    assert source is not None
    return Path("runs") / f"evaluate-{source.stem}", True


def _judge_run(asked: "EvaluateConfig", folder: Path) -> "Judgement":
    """Judge a run into a folder."""
    from triune.evaluation.judge import Resampling
    from triune.evaluation.judge_run import RunQuestions, evaluate_again
    from triune.parallel.command import sharing

    assert asked.run is not None
    questions = RunQuestions(
        data=asked.data,
        conditions=() if asked.groups is None else tuple(asked.groups.split(",")),
        exclude=asked.exclude,
        against=asked.against,
        threshold=asked.threshold,
        resampling=Resampling(asked.resamples, asked.level, asked.seed),
        reranked=asked.rerank,
    )
    return evaluate_again(asked.run, folder, questions, sharing())


def _judge_files(asked: "EvaluateConfig", kind: str) -> "Judgement":
    """Judge files of embeddings or of scores."""
    from triune.evaluation import judge_files
    from triune.evaluation.freed_memory import return_large_arrays
    from triune.evaluation.judge import Resampling
    from triune.parallel.command import sharing

    if kind == SCORED_PAIRS:
        assert asked.scores is not None
        return judge_files.evaluate_scores(asked.scores)
    assert asked.embeddings is not None
    if kind == LISTED_PAIRS:
        assert asked.pairs is not None
        pairs = judge_files.PairFiles(asked.embeddings, asked.pairs, asked.names, asked.templates)
        return judge_files.evaluate_pairs(pairs, asked.metric)
    assert asked.labels is not None
    return_large_arrays()
    files = judge_files.EmbeddingFiles(
        asked.embeddings,
        asked.labels,
        groups=None if asked.groups is None else Path(asked.groups),
        exclude=asked.exclude,
        against=asked.against,
        threshold=asked.threshold,
        templates=asked.templates,
    )
    resampling = Resampling(asked.resamples, asked.level, asked.seed)
    return judge_files.evaluate_embeddings(
        files, asked.metric, resampling, reranked=asked.rerank, divide_over=sharing()
    )


def verify(arguments: list[str]) -> int:
    """Say whether two images show the same thing."""
    from triune.run.parser import Command
    from triune.run.settings import VerifyConfig

    words = ("run", "first", "second")
    asked = Command("triune verify", str(verify.__doc__), VerifyConfig, words, has_config=False).parse(arguments)
    from dataclasses import asdict

    from triune.report.threshold_words import for_new_identities
    from triune.serving.loaded import load

    verdict = load(asked.run).verify(asked.first, asked.second, fpr=asked.fpr)
    if asked.json:
        expected = None if verdict.expected is None else asdict(verdict.expected)
        print(json.dumps(_in_words(verdict._asdict() | {"expected": expected}), indent=1))
        return 0
    print(
        f"{'same' if verdict.same else 'different'}  {verdict.metric} distance {verdict.distance:.4f}, "
        f"threshold {verdict.threshold:.4f} {'for' if verdict.confidence is None else 'promised for'} "
        f"FPR {verdict.target_fpr:.3%} "
        f"({verdict.validation_fpr:.3%} on the pairs it was fitted on)"
    )
    print(for_new_identities(verdict.target_fpr, verdict.expected, verdict.confidence))
    if verdict.caution is not None:
        print(f"that rate is not to be leaned on: {verdict.caution}", file=sys.stderr)
    return 0


def _in_words(value: Any) -> Any:
    """Plain values with infinity and NaN, which JSON has not, in words, as in the files of a run."""
    if isinstance(value, dict):
        return {name: _in_words(each) for name, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def predict(arguments: list[str]) -> int:
    """Class and mask of new images, as a table and PNG files."""
    from triune.run.parser import Command
    from triune.run.settings import PredictConfig

    words = ("run", "images")
    asked = Command("triune predict", str(predict.__doc__), PredictConfig, words, has_config=False).parse(arguments)
    from triune.serving.written import write_predictions

    folder, left_out = write_predictions(asked, _progress("predicted"))
    _tell_left_out(left_out)
    print(folder)
    return 0


def embed(arguments: list[str]) -> int:
    """Embeddings of new images, as Parquet, or .npy with their names beside it."""
    from triune.run.parser import Command
    from triune.run.settings import EmbedConfig

    words = ("run", "images")
    asked = Command("triune embed", str(embed.__doc__), EmbedConfig, words, has_config=False).parse(arguments)
    from triune.serving.written import write_embeddings

    path, left_out = write_embeddings(asked, _progress("embedded"))
    _tell_left_out(left_out)
    print(path)
    return 0


def _progress(word: str) -> Callable[[int, int], None]:
    """What says how far it is: on a terminal only, on one line."""

    def said(done: int, of: int) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            print(f"\r{word} {done:,} of {of:,}", end="\n" if done == of else "", file=sys.stderr, flush=True)

    return said


def _tell_left_out(names: list[str]) -> None:
    if names:
        print(f"{len(names)} images could not be read and were left out; the first is {names[0]}", file=sys.stderr)


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
    "predict": predict,
    "embed": embed,
    "report": report,
}


def overview() -> str:
    """What `triune --help` prints."""
    lines = ["usage: triune COMMAND …", "", "Deep metric learning: classify, segment, embed, verify.", ""]
    lines += [f"  {name:<9} {str(command.__doc__).splitlines()[0]}" for name, command in COMMANDS.items()]
    lines += ["", "triune COMMAND --help shows a command's settings; triune --version the version."]
    return "\n".join(lines)


def _fail(message: str, code: int, *, each_line: bool = False) -> int:
    from triune.files import on_one_line

    lines = message.split("\n") if each_line else [message]
    shown = [on_one_line(line) for line in [f"triune: {lines[0]}", *lines[1:]]]
    with contextlib.suppress(OSError):
        print("\n".join(shown), file=sys.stderr, flush=True)
        return code
    _to_nowhere(sys.stderr)
    return code
