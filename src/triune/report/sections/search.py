"""Recall@K and the other figures of retrieval, each ranking under its own model."""

from dataclasses import dataclass
from typing import NamedTuple

from triune.evaluation.results import Results, RetrievalResult, Unavailable
from triune.report.models import item_of
from triune.report.role_words import roles_in_words
from triune.report.sections.section import Section


class SearchRow(NamedTuple):
    """Figures of one ranking by one model.

    Args:
        name: the model.
        ranking: what was done to its ranking; ``None`` where nothing was.
        figures: of the ranking.
    """

    name: str
    ranking: str | None
    figures: RetrievalResult


@dataclass(frozen=True)
class SearchSection(Section):
    """What the section shows.

    Args:
        item: what one of the judged things is called.
        rows: the figures, the rankings of a model below the model itself.
        unavailable: why the judged model has none.
    """

    key = "search"
    title = "Search"

    item: str
    rows: list[SearchRow]
    unavailable: str | None

    @property
    def first(self) -> RetrievalResult:
        """Figures that all rows have in common: how many queries there were."""
        return self.rows[0].figures

    @property
    def roles(self) -> str:
        """Who asked and who answered, in words; empty where every item did both."""
        return roles_in_words(self.first)

    @property
    def depths(self) -> list[int]:
        """Every K of Recall@K."""
        return sorted({k for row in self.rows for k in row.figures.recall_at})

    @property
    def reranked(self) -> bool:
        """Whether there are other rankings of the same embeddings."""
        return any(row.ranking is not None for row in self.rows)


def search_section(results: Results) -> SearchSection | None:
    """The section, or ``None`` where retrieval was not judged."""
    rows, unavailable = [], None
    for model in results.models:
        if isinstance(model.retrieval, RetrievalResult):
            rows.append(SearchRow(model.name, None, model.retrieval))
        elif isinstance(model.retrieval, Unavailable) and model.role == "model":
            unavailable = model.retrieval.unavailable
        rows += [SearchRow(model.name, ranking, found) for ranking, found in model.rankings.items()]
    if not rows and unavailable is None:
        return None
    return SearchSection(item_of(results.data, "test"), rows, unavailable)
