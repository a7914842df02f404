"""`triune fewshot`: images of classes that were never trained on are named after a few examples of each."""

import sys
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from triune.commands.common import command, loaded, print_json, progress, require_new, tell_left_out
from triune.errors import InputError
from triune.ranges import AtLeastTwo, Count, PositiveInt, Rate, Seed


@dataclass(frozen=True)
class FewshotConfig:
    """Which new classes `triune fewshot` learns, and which images it names.

    Args:
        run: a run folder, or timm:NAME.
        support: the examples, a folder with a folder for each class, or a table with a column label.
        query: files, folders, patterns or tables of images to name.
        head: what names, prototype, nearest, ridge or logistic. It is chosen of the first three by leaving each
            example out, where not given.
        fpir: the share of images of other classes that may be named.
        unknown: whether images may be unknown at all.
        strangers: files, folders, patterns or tables of images of none of the classes, to tell unknown images by.
        episodes: in place of --query, so many episodes are drawn from the support, and the heads are measured.
        ways: classes an episode.
        shots: examples of each class of an episode.
        queries: images of each class of an episode to be named.
        weights: of timm:NAME, a local file of its weights.
        skip: leave out images that cannot be read. They are counted and the first is named.
        batch_size: images a step.
        output: also write a table (.csv) or a page of the images (.html).
        seed: of the episodes.
        json: print JSON.
    """

    run: str
    support: Path
    query: tuple[str, ...] = ()
    head: Literal["prototype", "nearest", "ridge", "logistic"] | None = None
    fpir: Rate = 0.1
    unknown: bool = True
    strangers: tuple[str, ...] = ()
    episodes: Count = 0
    ways: AtLeastTwo = 5
    shots: PositiveInt = 5
    queries: PositiveInt = 5
    weights: Path | None = None
    skip: bool = False
    batch_size: PositiveInt = 64
    output: Path | None = None
    seed: Seed = 0
    json: bool = False


def run(arguments: list[str]) -> int:
    """Name images of new classes after a few examples of each."""
    asked = command("fewshot", FewshotConfig, words=("run",)).parse(arguments)
    if bool(asked.query) == bool(asked.episodes):
        raise InputError("give images to name with --query, or a number of --episodes to measure")
    if asked.output is not None and asked.output.suffix.lower() not in (".csv", ".html", ".htm"):
        raise InputError(f"{asked.output} is neither .csv nor .html: name such a file with --output")
    require_new(asked.output)
    return _measure(asked) if asked.episodes else _name(asked)


def _name(asked: FewshotConfig) -> int:
    from triune.serving.answers import Unreadable
    from triune.serving.few_shot import few_shot
    from triune.serving.few_shot_written import answers_text, support_text, unknown_text, write_answers

    known = few_shot(
        loaded(asked.run, asked.weights),
        asked.support,
        head=asked.head,
        fpir=asked.fpir if asked.unknown else None,
        strangers=list(asked.strangers) or None,
        skip=asked.skip,
        batch_size=asked.batch_size,
        progress=progress("examples"),
    )
    print("\n".join(support_text(known)), file=sys.stderr)
    answers = known.classify(
        list(asked.query), skip=asked.skip, batch_size=asked.batch_size, progress=progress("embedded")
    )
    left_out = [str(each) for each in answers if isinstance(each, Unreadable)]
    for line in unknown_text(known, answers):
        print(line, file=sys.stderr)
    tell_left_out([*known.left_out, *left_out])
    if asked.output is not None:
        print(f"written {write_answers(asked.output, known, answers)}", file=sys.stderr)
    if asked.json:
        print_json(
            [
                {"name": each.name, "error": each.reason} if isinstance(each, Unreadable) else each.to_dict()
                for each in answers
            ]
        )
    else:
        print(answers_text(answers))
    return 0


def _measure(asked: FewshotConfig) -> int:
    from triune.recognition.head_episodes import head_episodes
    from triune.recognition.new_classes import CHOSEN_AMONG
    from triune.serving.few_shot import embedded_support
    from triune.serving.few_shot_written import episodes_text

    network = loaded(asked.run, asked.weights)
    examples = embedded_support(network, asked.support, asked.skip, asked.batch_size, progress("embedded"))
    tell_left_out(examples.left_out)
    try:
        found = head_episodes(
            examples.rows,
            examples.labels,
            ways=asked.ways,
            shots=asked.shots,
            queries=asked.queries,
            episodes=asked.episodes,
            heads=CHOSEN_AMONG if asked.head is None else (asked.head,),
            fpir=asked.fpir if asked.unknown else None,
            metric=network.metric,
            seed=asked.seed,
        )
    except ValueError as error:
        raise InputError(f"{asked.support}: {error}") from error
    if asked.json:
        print_json({name: _plain(value) for name, value in found._asdict().items()})
    else:
        print(episodes_text(found))
    return 0


def _plain(value: object) -> object:
    """Named tuples as dictionaries."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value._asdict() if hasattr(value, "_asdict") else value
