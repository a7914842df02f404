"""What a threshold is worth to new identities, in one sentence: terminal, page and `triune verify` say the same."""

from triune.report.formatting import percent, plural, round_percent
from triune.verification.new_identities import METHOD, ExpectedFPR


def for_new_identities(target_fpr: float, expected: ExpectedFPR | None, confidence: float | None) -> str:
    """Whether the budget is promised to new identities, and what else they can expect.

    Args:
        target_fpr: the budget of the threshold.
        expected: the false-positive rate to be expected; ``None`` where it is not known.
        confidence: of the promise; ``None`` where there is none.
    """
    budget = round_percent(target_fpr)
    if confidence is not None:
        by = "" if expected is None else f", from {plural(expected.identities, 'identity', 'identities')}"
        return (
            f"promised with {round_percent(confidence)} confidence{by}: at most {budget} of the pairs of two new "
            "identities are accepted, if these come from the same population"
        )
    if expected is None:
        return f"no promise for new identities: they may see more than {budget}"
    few = f"fitted on {plural(expected.identities, 'identity', 'identities')}"
    if (expected.low, expected.high) == (0, 1):
        return f"no promise for new identities: {few}, too few to say what others will see"
    return (
        f"no promise for new identities: {few}, others may see {percent(expected.low)} to {percent(expected.high)} "
        f"({round_percent(expected.level)} interval, {METHOD})"
    )
