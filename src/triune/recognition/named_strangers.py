"""From which score on somebody is named, and what that does to strangers: as it is told, without computing it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StrangersNamed:
    """What a threshold does to a set of strangers.

    Args:
        name: who they are.
        identities: how many.
        images: how many images of theirs.
        fpir: the share of their images that reaches the threshold, in the mean over identities.
        low: lower end of Wilson's interval for that rate among other strangers of the kind, counting identities.
        high: upper end.
        level: of the interval.
        extrapolated: whether they are too few to count such a rate, so that their own threshold follows from the tail
            of their scores.
    """

    name: str
    identities: int
    images: int
    fpir: float
    low: float
    high: float
    level: float
    extrapolated: bool


@dataclass(frozen=True)
class FpirThreshold:
    """Name the best identity when its score ≥ ``threshold``; else it is unknown.

    Args:
        threshold: a score in float64: the highest that any of the sets of strangers asks for.
        target_fpir: the rate that was asked for.
        promised_fpir: what the rate is at most, in the mean over such sets of strangers; ``None`` where nothing is
            promised. More than ``target_fpir``, by one identity's share.
        strangers: what it does to each set.
    """

    threshold: float
    target_fpir: float
    promised_fpir: float | None
    strangers: tuple[StrangersNamed, ...]

    @property
    def reason(self) -> str | None:
        """Why the rate is not to be leaned on; ``None`` where it is."""
        if not all(each.extrapolated for each in self.strangers):
            return None
        most = max(each.identities for each in self.strangers)
        return (
            f"{most} identities of strangers can count rates from {1 / most:.1%} on; the threshold for "
            f"{self.target_fpir:g} follows from the tail of their scores"
        )
