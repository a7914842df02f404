"""`triune evaluate`: a run, a file of embeddings or scored pairs is judged into a folder of its own."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from triune.commands.cautions import tell_cautions
from triune.commands.common import command
from triune.errors import InputError
from triune.ranges import Count, Rate, Seed
from triune.run.settings import Metric

if TYPE_CHECKING:
    from triune.evaluation.judge import Judgement


@dataclass(frozen=True)
class EvaluateConfig:
    """What `triune evaluate` judges, and how.

    Args:
        run: a run folder, or an exported .onnx with --data.
        data: of a RUN: judge it on this table's test split instead. A folder or the name of a data set will do, too.
        root: of a RUN: where a named data set lies. It is the run's own root where not given.
        embeddings: N embeddings from any model (.npy or .parquet). A .parquet is what `triune embed` writes.
        labels: their N labels (.npy, or one a line). They are a .parquet's column identity where not given.
        groups: a table of N conditions; of a RUN, names of columns. Figures are given for each value of each column
            of the table; the columns of a RUN are those of its own table, with commas between their names. Retrieval
            follows the columns is_query and is_gallery, and with them the column camera.
        exclude: column of --groups: leave pairs within a group out. Of a RUN: a column of its table.
        against: another model's N embeddings, to compare with. Of a RUN: another run's folder.
        threshold: a run's thresholds.json, applied to these pairs.
        templates: a table of N rows, which says what is averaged. It has a column template, and maybe media: the
            embeddings of one template are averaged, first within its media.
        rerank: judge retrieval with items expanded or re-ranked, too.
        metric: cosine, euclidean or squared_euclidean distance.
        resamples: how many, for the intervals. 0 makes no intervals.
        level: of the intervals.
        seed: of the resampling.
        pairs: the pairs of --embeddings to compare. It is a table of first, second, match and maybe fold, or LFW's
            pairs.txt.
        names: N names, one a line, by which --pairs calls them. They are a .parquet's column image where not given.
        scores: a table of score (or distance) and match, maybe fold.
        output: folder of metrics.json, report and figures. It is runs/evaluate-NAME-K, or RUN/evaluations/NAME-K,
            where not given.
        json: print JSON.
    """

    run: Path | None = None
    data: str | None = None
    root: Path | None = None
    embeddings: Path | None = None
    labels: Path | None = None
    groups: str | None = None
    exclude: str | None = None
    against: Path | None = None
    threshold: Path | None = None
    templates: Path | None = None
    rerank: bool = False
    metric: Metric = "cosine"
    resamples: Count = 1000
    level: Rate = 0.95
    seed: Seed = 0
    pairs: Path | None = None
    names: Path | None = None
    scores: Path | None = None
    output: Path | None = None
    json: bool = False

    @model_validator(mode="after")
    def _enough_resamples(self) -> "EvaluateConfig":
        from triune.verification.intervals import check_resamples  # heavy, and not needed for --help

        if self.resamples:
            check_resamples(self.resamples, self.level)
        return self


def run(arguments: list[str]) -> int:
    """Judge a run again, a file of embeddings, or scored pairs; torchrun divides it."""
    asked = command("evaluate", EvaluateConfig, words=("run",), has_config=True).parse(arguments)
    asked = _with_own_columns(asked)
    kind = _what_is_evaluated(asked)
    from triune.parallel.group import is_first
    from triune.report.terminal import summary

    if kind in LISTS and not is_first():
        return 0  # a list is little work: the first process does it alone
    found = _judged(asked, kind)
    print(found.results.model_dump_json(indent=1) if asked.json else summary(found.results))
    if not asked.json:
        tell_cautions(found.results)
    return 0


ALL_PAIRS, LISTED_PAIRS, SCORED_PAIRS = "--embeddings and --labels", "--embeddings and --pairs", "--scores"
RUN = "a RUN"
LISTS = (LISTED_PAIRS, SCORED_PAIRS)
FITTING = {
    RUN: {"data", "root", "groups", "exclude", "against", "threshold", "rerank", "resamples", "level", "output"},
    ALL_PAIRS: {
        *("embeddings", "labels", "groups", "exclude", "against", "threshold", "templates", "rerank"),
        *("metric", "resamples", "level", "output"),
    },
    LISTED_PAIRS: {"embeddings", "pairs", "names", "templates", "metric", "output"},
    SCORED_PAIRS: {"scores", "output"},
}
"""Which options can be answered of what; ``--json`` and ``--seed`` always."""


def _with_own_columns(asked: EvaluateConfig) -> EvaluateConfig:
    """Labels and names from the Parquet file of the embeddings, where no others are named."""
    file = asked.embeddings
    if file is None or file.suffix != ".parquet":
        return asked
    if asked.pairs is not None:
        return asked if asked.names is not None else replace(asked, names=file)
    return asked if asked.labels is not None else replace(asked, labels=file)


def _what_is_evaluated(asked: EvaluateConfig) -> str:
    """A key of :data:`FITTING`.

    Raises:
        InputError: nothing or several things are named, or an option that cannot be answered of what is.
    """
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


def _judged(asked: EvaluateConfig, kind: str) -> "Judgement":
    """What was found; the first process writes it with its page and figures, all together, into a folder of its own."""
    from triune.files import filled_together
    from triune.parallel.group import done_by_first, is_first

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


def _where(asked: EvaluateConfig) -> tuple[Path, bool]:
    """The folder of what is found, and whether its name gets a number."""
    if asked.output is not None:
        return asked.output, False
    if asked.run is not None:
        if _is_exported(asked.run):
            return Path("runs") / f"evaluate-{asked.run.stem}", True
        if not (asked.run / "config.yaml").is_file():
            stored = asked.run / "config.yaml"
            raise InputError(f"{stored} does not exist: name a run folder that `triune train` wrote")
        return asked.run / "evaluations" / ("own-data" if asked.data is None else Path(asked.data).stem), True
    source = asked.embeddings or asked.scores
    assert source is not None
    return Path("runs") / f"evaluate-{source.stem}", True


def _judge_run(asked: EvaluateConfig, folder: Path) -> "Judgement":
    """Judge a run into a folder."""
    from triune.evaluation.judge import Resampling
    from triune.evaluation.judge_run import RunQuestions, evaluate_again
    from triune.parallel.group import sharing

    assert asked.run is not None
    questions = RunQuestions(
        data=asked.data,
        root=asked.root,
        conditions=() if asked.groups is None else tuple(asked.groups.split(",")),
        exclude=asked.exclude,
        against=asked.against,
        threshold=asked.threshold,
        resampling=Resampling(asked.resamples, asked.level, asked.seed),
        reranked=asked.rerank,
    )
    if _is_exported(asked.run):
        from triune.serving.exported.judged import evaluate_exported

        return evaluate_exported(asked.run, folder, questions, sharing())
    return evaluate_again(asked.run, folder, questions, sharing())


def _is_exported(run: Path) -> bool:
    from triune.serving.exported.card import SUFFIX

    return run.suffix.lower() == SUFFIX


def _judge_files(asked: EvaluateConfig, kind: str) -> "Judgement":
    """Judge files of embeddings or of scores."""
    from triune.evaluation import judge_files
    from triune.evaluation.freed_memory import return_large_arrays
    from triune.evaluation.judge import Resampling
    from triune.parallel.group import sharing

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
