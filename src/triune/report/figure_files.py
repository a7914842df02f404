"""The figures of a judgement as files for papers and slides: each as PNG and as PDF."""

from pathlib import Path
from typing import Any

import numpy as np

from triune.evaluation.judge import Judgement
from triune.evaluation.results import AppliedThreshold, RetrievalResult, VerificationResult
from triune.files import written_whole
from triune.plots import plot_cmc, plot_det, plot_embedding_map, plot_roc, plot_score_histograms
from triune.report.embedding_map import embedding_map
from triune.verification.roc import FPRS

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
    drawn: dict[str, Any] = {}
    if found.curves:
        curves = found.curves if len(found.curves) > 1 else next(iter(found.curves.values()))
        drawn |= {"roc": plot_roc(curves), "det": plot_det(curves)}
    for model in found.results.models[:1]:
        judged = model.judged()
        if judged is not None and judged[1].histogram is not None:
            bins = judged[1].histogram
            edges, same, different = (np.asarray(each) for each in (bins.edges, bins.matches, bins.impostors))
            score = _marked(found, judged[1])
            drawn["scores"] = plot_score_histograms(edges, same, different, threshold=score)
        if isinstance(model.retrieval, RetrievalResult) and model.retrieval.cmc:
            drawn["cmc"] = plot_cmc(model.retrieval.cmc)
    if found.items is not None:
        embeddings, labels = found.items
        drawn["map"] = plot_embedding_map(embedding_map(embeddings, seed), labels)
    for name, ax in drawn.items():
        for kind, options in KINDS.items():
            with written_whole(folder / f"{name}{kind}") as temporary:
                ax.figure.savefig(temporary, bbox_inches="tight", **options)
    return [folder / f"{name}.png" for name in drawn]


def _marked(found: Judgement, figures: VerificationResult) -> float:
    """The score from which pairs are accepted: the threshold that is applied, or the most generous budget's here."""
    applied = found.results.threshold
    return applied.threshold if isinstance(applied, AppliedThreshold) else figures.at(FPRS[0]).threshold
