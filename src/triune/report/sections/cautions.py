"""What a reader should know before relying on the numbers."""

from typing import Final

from triune.evaluation.results import AppliedThreshold, Results, Role, Unavailable
from triune.plurals import plural
from triune.report.formatting import percent, round_percent
from triune.report.models import SPLITS, JudgedModel, judged_model, judged_models, these_pairs
from triune.report.threshold_words import for_new_identities
from triune.verification.intervals import FEWEST_IDENTITIES

FEW_IDENTITIES: Final = FEWEST_IDENTITIES

BASELINES: Final[tuple[Role, ...]] = ("pixels", "untrained", "pretrained")


def cautions(results: Results) -> list[str]:
    """Sentences, the most important first; none where there is nothing to say."""
    main = judged_model(results)
    found = _splits_not_verified(results)
    if main is not None:
        found += _intervals_of_few_identities(main) + _too_few_pairs(main) + _no_better_than_baselines(results, main)
    found += _threshold_drifts(results) + _threshold_may_drift(results)
    test = results.data.splits.get("test")
    if test is not None and 0 < test.identities < FEW_IDENTITIES:
        identities = plural(test.identities, "identity", "identities")
        found.append(f"Only {identities} in the test split: others may fare differently.")
    if results.data.split == "closed-set":
        found.append("Training saw the test identities: the figures do not hold for new ones.")
    elif main is not None:
        found += _known_identities(results, main)
    return found


def _known_identities(results: Results, main: JudgedModel) -> list[str]:
    """Where identities of the judged split were trained on, though the split does not say so."""
    counts = results.data.splits.get(main.split)
    if counts is None or not counts.trained:
        return []
    return [
        f"{counts.trained} of the {plural(counts.identities, 'identity', 'identities')} of the {SPLITS[main.split]} "
        "split were trained on: the figures do not hold for new ones."
    ]


def _splits_not_verified(results: Results) -> list[str]:
    return [
        f"The {SPLITS[split]} split cannot be verified: {figures.unavailable}."
        for model in results.models
        if model.role == "model"
        for split, figures in model.verification.items()
        if isinstance(figures, Unavailable)
    ]


def _intervals_of_few_identities(main: JudgedModel) -> list[str]:
    made = main.figures.uncertainty
    if made is None or made.reason is None:
        return []
    return [f"The intervals are not to be leaned on: {made.reason}."]


def _too_few_pairs(main: JudgedModel) -> list[str]:
    rates = [
        f"TPR at FPR {round_percent(point.target_fpr)}: {point.reason}"
        for point in main.figures.points
        if not point.reliable
    ]
    return [f"Too few pairs for {'; '.join(rates)}."] if rates else []


def _no_better_than_baselines(results: Results, main: JudgedModel) -> list[str]:
    own = main.figures.points[0]
    better = []
    for judged in judged_models(results):
        tpr = judged.figures.at(own.target_fpr).tpr
        if judged.model.role in BASELINES and tpr >= own.tpr:
            better.append(f"{judged.model.name} ({percent(tpr)})")
    if not better:
        return []
    return [
        f"At FPR {round_percent(own.target_fpr)} training gave nothing: this model recognises {percent(own.tpr)} of "
        f"the same pairs, no more than {' and '.join(better)}. Try more steps (--steps), published weights "
        "(--model.weights), or for aligned images, such as faces and characters, --model.pooling grid."
    ]


def _threshold_drifts(results: Results) -> list[str]:
    """Where the FPR on the judged pairs is below half of the budget or above one and a half times it.

    A promised threshold is stricter on purpose.
    """
    point = results.threshold
    if not isinstance(point, AppliedThreshold) or point.on_test is None:
        return []
    fpr, target = point.on_test.fpr, point.target_fpr
    # Also false where there is no different pair, and the FPR is NaN.
    if not ((fpr < target / 2 and point.confidence is None) or fpr > target * 1.5):
        return []
    way = "lets more through" if fpr > target else "is stricter"
    return [
        f"On {these_pairs(results.data)} the threshold {way}: it accepts "
        f"{percent(fpr)} of the different ones, not {round_percent(target)}. More identities to choose it on make it "
        "steadier."
    ]


def _threshold_may_drift(results: Results) -> list[str]:
    """Where new identities may well see twice the budget."""
    point = results.threshold
    if not isinstance(point, AppliedThreshold) or point.expected is None or point.expected.high <= 2 * point.target_fpr:
        return []
    words = for_new_identities(point.target_fpr, point.expected, point.confidence)
    return [f"The threshold for FPR {round_percent(point.target_fpr)} is {words}."]
