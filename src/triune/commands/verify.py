"""`triune verify`: whether two images show the same thing."""

import sys
from dataclasses import asdict
from pathlib import Path

from pydantic.dataclasses import dataclass

from triune.commands.common import command, print_json
from triune.ranges import Rate


@dataclass(frozen=True)
class VerifyConfig:
    """Which two images `triune verify` compares, and by which run.

    Args:
        run: a run folder.
        first: an image.
        second: another image.
        fpr: false-positive rate of the threshold. It is the run's own where not given.
        json: print JSON.
    """

    run: Path
    first: Path
    second: Path
    fpr: Rate | None = None
    json: bool = False


def run(arguments: list[str]) -> int:
    """Say whether two images show the same thing."""
    asked = command("verify", VerifyConfig, words=("run", "first", "second")).parse(arguments)
    from triune.report.threshold_words import for_new_identities
    from triune.serving.loaded import load

    verdict = load(asked.run).verify(asked.first, asked.second, fpr=asked.fpr)
    if asked.json:
        expected = None if verdict.expected is None else asdict(verdict.expected)
        print_json(verdict._asdict() | {"expected": expected})
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
