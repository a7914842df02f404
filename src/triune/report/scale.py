"""The score of a pair as people see it: as a distance, or, of a list of scores, as it is."""

from typing import Final, NamedTuple

from triune.evaluation.results import ScoreKind

NAMES: Final[dict[ScoreKind, str]] = {
    "cosine": "cosine distance",
    "euclidean": "Euclidean distance",
    "squared_euclidean": "squared Euclidean distance",
    "distance": "distance",
    "score": "score",
}


class Scale(NamedTuple):
    """How scores of one kind are shown.

    Args:
        metric: what the scores are.
    """

    metric: ScoreKind

    @property
    def name(self) -> str:
        """What is shown."""
        return NAMES[self.metric]

    @property
    def closer(self) -> bool:
        """Whether smaller means more alike."""
        return self.metric != "score"

    def shown(self, score: float) -> float:
        """The figure people see: 1 − similarity for cosine, −score for other distances."""
        if self.metric == "cosine":
            return 1.0 - score
        return -score if self.closer else score
