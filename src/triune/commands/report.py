"""`triune report`: a run's page is written again."""

from pathlib import Path

from pydantic.dataclasses import dataclass

from triune.commands.common import command


@dataclass(frozen=True)
class ReportConfig:
    """Which run's report `triune report` writes.

    Args:
        run: a run folder.
    """

    run: Path


def run(arguments: list[str]) -> int:
    """Write a run's report again."""
    asked = command("report", ReportConfig, words=("run",)).parse(arguments)
    from triune.report.page import write_report

    print(write_report(asked.run))
    return 0
