"""The first screen: what the numbers mean in words, compared with the baselines."""

from dataclasses import dataclass
from typing import NamedTuple

from triune.evaluation.results import ClassResult, MaskResult, OperatingPoint, Results, RetrievalResult, Uncertainty
from triune.report.formatting import number, percent
from triune.report.models import judged_model, judged_models


class Bar(NamedTuple):
    """One model's TPR at the budget of the headline."""

    name: str
    style: str
    tpr: float


class Card(NamedTuple):
    """A figure with its name and what it means in a few words."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Headline:
    """What the first screen shows.

    Args:
        point: the judged model at the most generous budget; ``None`` where its pairs were not judged.
        uncertainty: how the point's interval was made.
        bars: the same of every model.
        cards: other figures of the judged model.
    """

    point: OperatingPoint | None
    uncertainty: Uncertainty | None
    bars: list[Bar]
    cards: list[Card]


def headline(results: Results) -> Headline | None:
    """The headline, or ``None`` where no figure is known."""
    main, cards = judged_model(results), _cards(results)
    if main is None:
        return Headline(None, None, [], cards) if cards else None
    point = main.figures.points[0]
    bars = [
        Bar(judged.model.name, judged.style, judged.figures.at(point.target_fpr).tpr)
        for judged in judged_models(results)
    ]
    return Headline(point, main.figures.uncertainty, bars, cards)


def _cards(results: Results) -> list[Card]:
    cards = []
    main = judged_model(results)
    if main is not None:
        cards.append(Card("AUC", number(main.figures.auc), "a same pair is closer than a different pair this often"))
        cards.append(Card("EER", percent(main.figures.eer), "error where both kinds of mistake are equally frequent"))
    retrieval = results.models[0].retrieval if results.models else None
    if isinstance(retrieval, RetrievalResult) and 1 in retrieval.recall_at:
        cards.append(Card("Recall@1", percent(retrieval.recall_at[1]), "the most similar image is a right one"))
    if isinstance(results.segmentation, MaskResult):
        cards.append(Card("Mask IoU", number(results.segmentation.iou), "overlap of predicted and true masks"))
    if isinstance(results.classification, ClassResult):
        cards.append(Card("Class accuracy", percent(results.classification.accuracy), "images put in the right class"))
    return cards
