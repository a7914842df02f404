"""What a run says of images of new classes, written: as text, as a table and as a page of images."""

import csv
from collections.abc import Sequence
from pathlib import Path

from triune.errors import InputError
from triune.files import on_one_line, written_whole
from triune.recognition.head_episodes import CHOSEN, HeadEpisodes, Share
from triune.report.formatting import round_percent
from triune.serving.answers import Unreadable
from triune.serving.few_shot import FewShot, NewClassAnswer
from triune.serving.sheets import Mark, SheetImage, SheetRow, write_sheet

UNKNOWN = "unknown"


def support_text(known: FewShot) -> list[str]:
    """What was learned from, how the heads did on the examples, and what "unknown" means, a sentence a line."""
    learned = known.learned
    lines = [f"{len(known.classes)} classes from {len(known.examples)} images; head {learned.head}"]
    if learned.trials:
        did = ", ".join(f"{each.head} {each.right}" for each in learned.trials)
        lines.append(f"each example left out and named by the others: {did} of {learned.trials[0].of} right")
    else:
        lines.append("no class has two examples: the head is not chosen, and probabilities are a guess")
    if learned.fpir is not None:
        share = None if learned.refused is None else round_percent(round(learned.refused, 3))
        refused = "" if share is None else f"; {share} of the examples would be unknown themselves"
        lines.append(
            f"unknown below a closeness of {learned.threshold:.3f}, for {round_percent(learned.fpir)} of other "
            f"classes' images to be named{refused}"
        )
        if learned.fpir < learned.least_fpir:
            few, way = (
                ("strangers", "more strangers with --strangers")
                if known.strangers
                else ("classes", "images of other classes with --strangers, or more classes")
            )
            lines.append(
                f"caution: so few {few} can tell no share below {round_percent(round(learned.least_fpir, 3))}: more "
                f"may be named; give {way}"
            )
    return lines


def unknown_text(known: FewShot, answers: Sequence[NewClassAnswer | Unreadable]) -> list[str]:
    """That nothing is unknown, where the threshold is one that so few classes or strangers cannot tell.

    Args:
        known: what named the images.
        answers: what it said.
    """
    learned = known.learned
    named = [each.label is not None for each in answers if isinstance(each, NewClassAnswer)]
    if not named or not all(named) or learned.fpir is None or learned.fpir >= learned.least_fpir:
        return []
    given = "strangers" if known.strangers else "classes"
    return [
        f"caution: nothing is unknown at this threshold: every image reaches {learned.threshold:.3f}, which so few "
        f"{given} say little of"
    ]


def answers_text(answers: Sequence[NewClassAnswer | Unreadable]) -> str:
    """A line an image, aligned."""
    rows = [("label", "probability", "closeness", "image", "most like")]
    for each in answers:
        if isinstance(each, Unreadable):
            rows.append(("-", "", "", each.name, each.reason))
        else:
            rows.append(
                (each.label or UNKNOWN, f"{each.probability:.3f}", f"{each.closeness:.3f}", each.name, each.example)
            )
    cells = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[-1]]).rstrip() for row in cells)


def write_answers(path: Path, known: FewShot, answers: Sequence[NewClassAnswer | Unreadable]) -> Path:
    """Write a table (.csv) or a page of images (.html), whole or not at all.

    Args:
        path: the file.
        known: what named the images.
        answers: what it said.

    Raises:
        InputError: ``path`` has another suffix.
    """
    if path.suffix.lower() == ".csv":
        with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "label", "likeliest", "probability", "closeness", "most_like"])
            for each in answers:
                if isinstance(each, NewClassAnswer):
                    cells = (each.likeliest, each.probability, each.closeness, each.example)
                    table.writerow([each.name, each.label or UNKNOWN, *cells])
        return path
    if path.suffix.lower() in (".html", ".htm"):
        about = [*support_text(known), *unknown_text(known, answers)]
        return write_sheet(path, "New classes", [_row(known, each) for each in answers], about=about)
    raise InputError(f"{path} is neither .csv nor .html: name such a file with --output")


def _row(known: FewShot, answer: NewClassAnswer | Unreadable) -> SheetRow:
    """An image, and an example of each of the classes that are most likely."""
    if isinstance(answer, Unreadable):
        return SheetRow(SheetImage(answer.name, "cannot be read", answer.name), [], answer.reason)
    caption = f"{answer.label} {answer.probability:.3f}" if answer.label else UNKNOWN
    first = {label: place for place, label in reversed(list(enumerate(known.labels)))}
    own = known.labels[known.examples.index(answer.example)]
    hits = [
        SheetImage(name, f"{label} {share:.3f}", name, box=box)
        for label, share in list(answer.probabilities.items())[:6]
        for name, box in [
            (answer.example, answer.example_box)
            if label == own
            else (known.examples[first[label]], known.box_of(first[label]))
        ]
    ]
    mark: Mark = "good" if answer.label else "bad"
    return SheetRow(SheetImage(answer.name, caption, answer.name, mark, answer.box), hits)


def episodes_text(found: HeadEpisodes) -> str:
    """What heads did in episodes, a line each with its interval."""
    lines = [
        f"{found.ways}-way {found.shots}-shot, {found.episodes} episodes of {found.queries} queries a class; intervals "
        f"of {round_percent(found.level)}"
    ]
    for name, share in found.accuracy.items():
        often = f"  chosen in {found.chosen[name]}" if name != CHOSEN else ""
        lines.append(f"  {name:<10} {_interval(share)}{often}")
    lines.append(f"the chosen head's mean probability is {found.expected:.3f}, its log loss {found.log_loss:.3f}")
    if found.fpir is not None:
        lines.append(f"of its own classes' images {_interval(found.refused)} are unknown")
        if found.named_strangers is not None:
            lines.append(
                f"of other classes' images {_interval(found.named_strangers)} are named, {round_percent(found.fpir)} "
                f"asked for"
            )
    return "\n".join(lines)


def _interval(share: Share) -> str:
    return f"{share.mean:.3f} [{share.low:.3f}, {share.high:.3f}]"
