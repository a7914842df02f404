"""What a threshold is worth to new identities, in one sentence: terminal, page and `triune verify` say the same."""

from triune.plurals import plural
from triune.report.formatting import percent, round_percent
from triune.verification.decision import METHOD, ExpectedFPR


def for_new_identities(target_fpr: float, expected: ExpectedFPR | None, confidence: float | None) -> str:
    """Whether the budget is promised to new identities, and what else they can expect.

    Args:
        target_fpr: the budget of the threshold.
        expected: the false-positive rate to be expected; ``None`` where it is not known.
        confidence: of the promise; ``None`` where there is none.
    """
    budget = round_percent(target_fpr)
    if expected is None:
        if confidence is not None:
            return f"promised with {round_percent(confidence)} confidence: {_at_most(budget)}"
        return f"no promise for new identities: their false-positive rate may be above {budget}"
    few = f"fitted on {plural(expected.identities, 'identity', 'identities')}"
    likely = f"{percent(expected.low)} to {percent(expected.high)} ({round_percent(expected.level)} interval, {METHOD})"
    if confidence is not None:
        return f"promised with {round_percent(confidence)} confidence, {few}: {_at_most(budget)}; expected are {likely}"
    if (expected.low, expected.high) == (0, 1):
        return f"no promise for new identities: {few}, too few to say anything of others"
    return f"no promise for new identities: {few}, the false-positive rate among others may be {likely}"


def _at_most(budget: str) -> str:
    return f"at most {budget} of the pairs of two new identities of the same population are accepted"
