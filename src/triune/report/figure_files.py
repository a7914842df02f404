"""The figures of an evaluation as files for papers and slides: each as PNG and as PDF."""

from pathlib import Path
from typing import Any

import numpy as np

from triune.evaluation.judge_files import Judgement
from triune.evaluation.measures import HISTOGRAM_BINS
from triune.files import written_whole
from triune.plots import plot_cmc, plot_det, plot_embedding_map, plot_roc, plot_score_histograms
from triune.report.embedding_map import embedding_map

KINDS = {".png": {"dpi": 200}, ".pdf": {}}


def write_figures(folder: Path, found: Judgement, seed: int = 0) -> list[Path]:
    """Draw ROC, DET, score histograms, CMC and embedding map, as far as there is something to draw.

    Args:
        folder: where ``roc.png``, ``roc.pdf`` and so on are written.
        found: what was judged.
        seed: of the map.

    Returns:
        The PNG files.
    """
    curves = {("ours" if name == "trained" else name): each for name, each in found.verifications.items()}
    drawn: dict[str, Any] = {
        "roc": plot_roc(curves if len(curves) > 1 else curves["ours"]),
        "det": plot_det(curves if len(curves) > 1 else curves["ours"]),
        "scores": plot_score_histograms(
            *curves["ours"].histogram(HISTOGRAM_BINS),
            threshold=found.threshold if np.isfinite(found.threshold) else None,
        ),
    }
    if "trained" in found.cmc:
        drawn["cmc"] = plot_cmc(found.cmc["trained"])
    if found.items is not None:
        embeddings, labels = found.items
        drawn["map"] = plot_embedding_map(embedding_map(embeddings, seed), labels)
    for name, ax in drawn.items():
        for kind, options in KINDS.items():
            with written_whole(folder / f"{name}{kind}") as temporary:
                ax.figure.savefig(temporary, bbox_inches="tight", **options)
    return [folder / f"{name}.png" for name in drawn]
