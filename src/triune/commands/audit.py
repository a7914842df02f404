"""`triune audit`: mistakes in data are looked for: likely wrong labels, pictures that occur twice, outliers."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from triune.commands.common import command, loaded, print_json, progress, require_new, tell_left_out
from triune.errors import InputError
from triune.ranges import Count, PositiveInt, Rate, Seed
from triune.run.settings import Metric

if TYPE_CHECKING:
    from triune.serving.audit.sources import AuditItems


@dataclass(frozen=True)
class AuditConfig:
    """What `triune audit` looks at, and where it writes what it finds.

    Args:
        run: a run folder, or timm:NAME with --data.
        data: a table, a folder of images by class, or the name of a data set. Of a RUN it is the run's own where not
            given, training images too.
        embeddings: in place of a RUN, embeddings from any model (.npy, or what triune embed writes).
        labels: of --embeddings, their labels (.npy, or one a line).
        images: of --embeddings, a table with a column image for each row. It may have label, identity and split.
        column: which labels of a table are looked at, identity or label.
        least: the probability from which on a label is called likely wrong.
        weights: of timm:NAME, a local file of its weights.
        metric: of --embeddings, cosine, euclidean or squared_euclidean distance.
        skip: leave out images that cannot be read. They are counted and the first is named.
        batch_size: images a step.
        show: how many findings of each kind are printed. The files hold all.
        output: folder of audit.json, audit.csv and audit.html. It is RUN/evaluations/audit-K, or runs/audit-NAME-K,
            where not given.
        seed: of what is drawn.
        json: print JSON.
    """

    run: str | None = None
    data: str | None = None
    embeddings: Path | None = None
    labels: Path | None = None
    images: Path | None = None
    column: Literal["identity", "label"] = "identity"
    least: Rate = 0.5
    weights: Path | None = None
    metric: Metric = "cosine"
    skip: bool = False
    batch_size: PositiveInt = 64
    show: Count = 10
    output: Path | None = None
    seed: Seed = 0
    json: bool = False


OF_RUN = {"data", "weights", "skip", "batch_size"}
OF_FILES = {"labels", "images", "metric"}


def run(arguments: list[str]) -> int:
    """Look for mistakes in data: likely wrong labels, pictures that occur twice, outliers."""
    asked = command("audit", AuditConfig, words=("run",)).parse(arguments)
    _check(asked)
    require_new(asked.output)
    from triune.files import filled_together
    from triune.serving.audit.look import audit
    from triune.serving.audit.written import audit_text, write_audit

    items = _items(asked)
    tell_left_out(list(items.left_out))
    print(f"comparing {len(items.names):,} items with each other", file=sys.stderr)
    found = audit(items, least=asked.least, seed=asked.seed)
    folder, numbered = _where(asked)
    with filled_together(folder, numbered=numbered) as (temporary, move_into_place):
        files = write_audit(temporary, found, images=items.has_images)
        place = move_into_place()
    if asked.json:
        print_json(found.model_dump())
    else:
        print(audit_text(found, asked.show))
    for caution in found.cautions:
        print(f"caution: {caution}", file=sys.stderr)
    print(f"written {place / files[-1].name}", file=sys.stderr)
    return 0


def _check(asked: AuditConfig) -> None:
    """Refuse what does not go together."""
    if (asked.run is not None) + (asked.embeddings is not None) != 1:
        raise InputError("name one thing to audit: a RUN, or --embeddings with --labels")
    fitting, other = (OF_RUN, "a RUN") if asked.run is not None else (OF_FILES, "--embeddings")
    given = {each.name for each in fields(asked) if getattr(asked, each.name) != each.default}
    wrong = sorted(given & (OF_RUN | OF_FILES) - fitting)
    if wrong:
        raise InputError(f"--{wrong[0]} says nothing of {other}: leave it away")


def _items(asked: AuditConfig) -> "AuditItems":
    from triune.serving.audit.sources import items_of_files, items_of_run

    if asked.run is None:
        assert asked.embeddings is not None
        return items_of_files(asked.embeddings, asked.labels, asked.images, column=asked.column, metric=asked.metric)
    return items_of_run(
        loaded(asked.run, asked.weights),
        asked.data,
        column=asked.column,
        skip=asked.skip,
        batch_size=asked.batch_size,
        progress=progress("embedded"),
    )


def _where(asked: AuditConfig) -> tuple[Path, bool]:
    """The folder of what is found, and whether its name gets a number."""
    if asked.output is not None:
        return asked.output, False
    if asked.run is not None and (Path(asked.run) / "config.yaml").is_file():
        return Path(asked.run) / "evaluations" / "audit", True
    source = asked.embeddings or asked.data or asked.run
    return Path("runs") / f"audit-{Path(str(source)).stem}", True
