"""The models of a judgement as the page shows them, and what it calls the things that were judged."""

from typing import Final, NamedTuple

from triune.evaluation.results import DataSummary, ModelResult, Results, Role, Split, VerificationResult

STYLES: Final[dict[Role, str]] = {"model": "s0", "pixels": "s1", "untrained": "s2", "pretrained": "s2", "against": "s3"}
"""Colour and dash of a model's line and bar: CSS classes."""

SPLITS: Final[dict[Split, str]] = {
    "train": "training",
    "val": "validation",
    "calibration": "calibration",
    "test": "test",
    "holdout": "holdout",
}
"""How splits are called in a sentence."""


class JudgedModel(NamedTuple):
    """A model with figures of its pairs.

    Args:
        model: what was found of it.
        split: the split that the figures are of.
        figures: of the pairs of that split.
    """

    model: ModelResult
    split: Split
    figures: VerificationResult

    @property
    def style(self) -> str:
        """The CSS class of its lines and bars."""
        return STYLES[self.model.role]


def judged_models(results: Results) -> list[JudgedModel]:
    """The models whose pairs were judged, the judged one first."""
    found = [JudgedModel(model, *judged) for model in results.models if (judged := model.judged()) is not None]
    return sorted(found, key=lambda judged: judged.model.role != "model")


def judged_model(results: Results) -> JudgedModel | None:
    """The model that the page is about, where its pairs were judged."""
    return next((judged for judged in judged_models(results) if judged.model.role == "model"), None)


def pairs_of(data: DataSummary, split: Split) -> str:
    """What the pairs of a split are called: ``test pairs``, or ``pairs`` where what was judged has no splits."""
    return f"{SPLITS[split]} pairs" if data.splits else "pairs"


def item_of(data: DataSummary, split: Split) -> str:
    """What one of the judged things is called: ``test image``, or ``item`` where only its embedding was at hand."""
    return f"{SPLITS[split]} image" if data.splits else "item"


def these_pairs(data: DataSummary) -> str:
    """How a sentence points to the pairs judged: ``test pairs``, or ``these pairs`` where there are no splits."""
    return "test pairs" if data.splits else "these pairs"
