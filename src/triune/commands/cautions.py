"""What a report says below its first figures, on the terminal."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triune.evaluation.results import Results


def tell_cautions(results: "Results") -> None:
    """Say on standard error what the page says below its first figures."""
    from triune.report.sections.cautions import cautions

    for sentence in cautions(results):
        print(f"caution: {sentence}", file=sys.stderr)
