"""A small run, trained: every kind of file that a run has."""

from pathlib import Path

import numpy as np

from malformed.case import ITEMS, SMALL, SOUND, mask
from triune.checksums import SEALED
from triune.experiment import train_and_evaluate
from triune.report.page import write_report
from triune.run.parser import parse_train


def train_small(folder: Path) -> Path:
    """Train for an epoch on eighteen images and their masks.

    Returns:
        The run folder.
    """
    lines = [SOUND[0] + ",mask"]
    for place, row in enumerate(SOUND[1:]):
        (folder / f"{place}.png").write_bytes(ITEMS[f"{place}.png"])
        ids = [[(x + place) // 8 % 2 for x in range(16)]] * 16
        (folder / f"m{place}.png").write_bytes(mask(np.array(ids, dtype=np.uint8)))
        lines.append(f"{row},m{place}.png")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    run, _ = train_and_evaluate(
        parse_train(["--data", str(folder / "items.csv"), "--output", str(folder / "run"), *SMALL.split()])
    )
    write_report(run)
    # A run of an earlier version has no checksums: what reads its files finds the damage itself.
    (run / "checksums.json").unlink()
    settings = run / "config.yaml"
    settings.write_text(settings.read_text().replace(f"{SEALED}\n", ""))
    return run
