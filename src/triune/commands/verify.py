"""`triune verify`: whether two images show the same thing, or each pair of many."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from triune.commands.common import command, print_json, progress, require_new, tell_left_out, tell_unfamiliar
from triune.errors import InputError
from triune.ranges import Rate

if TYPE_CHECKING:
    from triune.serving.loaded import LoadedRun
    from triune.serving.pictures import Picture
    from triune.serving.verdicts import Verdict

DIFFERENT = 3
"""The exit code for images that show different things, where it is asked for."""


@dataclass(frozen=True)
class VerifyConfig:
    """Which images `triune verify` compares, and by which run.

    Args:
        run: a run folder.
        first: an image, or several. They are a folder, a pattern or a table; each is compared with each of the second.
        second: another image, or several.
        pairs: a table of pairs with columns first and second. It takes the place of the two.
        fpr: false-positive rate of the threshold. It is the run's own where not given. Where none is stored for it,
            that of the largest rate below is taken.
        skip: leave out pairs with an image that cannot be read. The images are counted and the first is named.
        exit_status: exit with 3 where images are different. Of several pairs: where any is.
        csv: also write the verdicts into this file.
        html: also write a page of the pairs.
        json: print JSON. Of several pairs: a line each.
    """

    run: str
    first: str | None = None
    second: str | None = None
    pairs: Path | None = None
    fpr: Rate | None = None
    skip: bool = False
    exit_status: bool = False
    csv: Path | None = None
    html: Path | None = None
    json: bool = False

    @model_validator(mode="after")
    def _two_sides(self) -> "VerifyConfig":
        if (self.pairs is None) != (self.first is not None and self.second is not None) or (
            self.pairs is not None and self.first is not None
        ):
            raise ValueError("name a first and a second image, or a table of pairs with --pairs")
        return self


def run(arguments: list[str]) -> int:
    """Say whether two images show the same thing."""
    asked = command("verify", VerifyConfig, words=("run", "first", "second")).parse(arguments)
    from triune.run.places import model_file
    from triune.serving.answers import readable
    from triune.serving.exported.card import SUFFIX
    from triune.serving.loaded import PUBLIC, load

    if asked.html is not None and asked.html.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{asked.html} is no name of a page: let it end in .html")
    require_new(asked.csv, asked.html)
    if asked.run.startswith(PUBLIC):
        raise InputError(f"{asked.run} was never trained here, so it has no threshold: `triune train` fits one")
    if not asked.run.lower().endswith(SUFFIX):
        model_file(Path(asked.run))  # a run that is not there is told before its images are looked for
    pairs = _pairs(asked)
    loaded = load(asked.run)
    verdicts = loaded.compare_each(pairs, fpr=asked.fpr, skip=asked.skip, progress=progress("embedded"))
    single = len(pairs) == 1 and asked.pairs is None
    left_out: list[str] = []
    sound = readable(verdicts, left_out)
    found = list(_told(asked, sound, left_out, single=single))
    tell_left_out(list(dict.fromkeys(left_out)))
    _tell_cautions(found)
    if asked.html is not None:
        print(f"written {_write_page(asked.html, loaded, found)}", file=sys.stderr)
    return DIFFERENT if asked.exit_status and not all(each.same for each in found) else 0


def _pairs(asked: VerifyConfig) -> "Sequence[tuple[Picture, Picture]]":
    from triune.data.pair_lists import read_open_pairs
    from triune.serving.pictures import Picture, pictures

    if asked.pairs is not None:
        return [(Picture(one, one), Picture(other, other)) for one, other in read_open_pairs(asked.pairs)]
    assert asked.first is not None
    assert asked.second is not None
    sides = pictures(asked.first), pictures(asked.second)
    pairs = list(product(*sides))
    # An image that is on both sides is not compared with itself, unless that is all that was asked for.
    return [pair for pair in pairs if pair[0].source != pair[1].source or pair[0].box != pair[1].box] or pairs


def _told(
    asked: VerifyConfig, verdicts: "Iterable[Verdict]", left_out: list[str], *, single: bool
) -> "Iterator[Verdict]":
    """The verdicts, each printed and written as it comes; none at all is an error, and nothing is written."""
    from triune.files import on_one_line, written_whole

    with ExitStack() as opened:
        table: Any = None
        if asked.csv is not None:
            temporary = opened.enter_context(written_whole(asked.csv))
            table = csv.writer(opened.enter_context(temporary.open("w", newline="", encoding="utf-8")))
            table.writerow(["first", "second", "same", "distance", "threshold", "unfamiliar"])
        number = -1
        for number, each in enumerate(verdicts):
            if table is not None:
                unlike = ";".join(each.unfamiliar)
                table.writerow([each.first, each.second, each.same, each.distance, each.threshold, unlike])
            if asked.json:
                print_json(each.to_dict()) if single else print(json.dumps(each.to_dict()))
            elif single:
                _say(each)
            else:
                if number == 0:
                    print(_rule(each), file=sys.stderr)
                word = "same" if each.same else "different"
                print(f"{word:<9}  {each.distance:.4f}  {on_one_line(each.first)}  {on_one_line(each.second)}")
            yield each
        if number < 0:
            raise InputError(f"no pair could be compared; the first image that cannot be read is {left_out[0]}")


def _say(verdict: "Verdict") -> None:
    from triune.report.threshold_words import for_new_identities

    print(
        f"{'same' if verdict.same else 'different'}  {verdict.metric} distance {verdict.distance:.4f}, {_rule(verdict)}"
    )
    print(for_new_identities(verdict.target_fpr, verdict.expected, verdict.confidence))


def _rule(verdict: "Verdict") -> str:
    return (
        f"threshold {verdict.threshold:.4f} {'for' if verdict.confidence is None else 'promised for'} "
        f"FPR {verdict.target_fpr:.3%} ({verdict.validation_fpr:.3%} on the pairs it was fitted on)"
    )


def _tell_cautions(found: "Sequence[Verdict]") -> None:
    """On standard error: what the verdicts rest on, as far as it is less than it seems."""
    first = found[0]
    if first.asked_fpr is not None:
        print(
            f"no threshold is stored for FPR {first.asked_fpr:.3%}: "
            f"the one for {first.target_fpr:.3%} keeps it, and decided",
            file=sys.stderr,
        )
    if first.caution is not None:
        print(f"that rate is not to be leaned on: {first.caution}", file=sys.stderr)
    tell_unfamiliar(list(dict.fromkeys(name for each in found for name in each.unfamiliar)), "the verdict")


def _write_page(path: Path, loaded: "LoadedRun", found: "Sequence[Verdict]") -> Path:
    from triune.serving.sheets import SheetImage, SheetRow, write_sheet

    rows = []
    for each in found:
        word = "same" if each.same else "different"
        said = f"{word}, distance {each.distance:.4f}"
        note = "like nothing that the run was validated on: " + ", ".join(each.unfamiliar) if each.unfamiliar else ""
        second = SheetImage(each.second, said, each.second, "good" if each.same else "bad", each.boxes[1])
        first = SheetImage(each.first, Path(each.first).name, each.first, box=each.boxes[0])
        rows.append(SheetRow(first, [second], note))
    about = [f"{len(found)} pairs by {loaded.name}: {_rule(found[0])}", "Nearest pairs first"]
    order = sorted(range(len(found)), key=lambda k: found[k].distance)
    return write_sheet(path, "Same or different", [rows[k] for k in order], about=about)
