"""Results, items and a run folder to make pages of: scikit-learn's digits, embedded by a linear projection."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from report.parsed_page import Page
from triune.distances.metric import Metric
from triune.evaluation.results import (
    AppliedThreshold,
    ClassResult,
    Comparison,
    ConditionResult,
    ConditionsResult,
    Confusion,
    Curve,
    DataSummary,
    Difference,
    Estimate,
    FoldRates,
    FoldsResult,
    Histogram,
    Inequity,
    Interval,
    MaskResult,
    ModelResult,
    OperatingPoint,
    Rate,
    Results,
    RetrievalResult,
    SplitCounts,
    TrainingFacts,
    Uncertainty,
    VerificationResult,
)
from triune.report.contents import Contents
from triune.report.page import page
from triune.retrieval.metrics import retrieval_metrics
from triune.run.history import COLUMNS
from triune.verification.all_pairs import verify_embeddings
from triune.verification.roc import Verification

Array = np.ndarray[Any, Any]

EACH = 24
FPRS = (0.05, 0.01, 0.001)
UNCERTAINTY = Uncertainty(level=0.8, resamples=50, identities=12, seed=0)


def figures(verification: Verification) -> VerificationResult:
    """What the page needs of verified pairs."""
    fpr, tpr, threshold = (np.asarray(part, np.float64).tolist() for part in verification.roc())
    edges, matches, impostors = (part.tolist() for part in verification.histogram(20))
    return VerificationResult(
        matches=verification.matches,
        impostors=verification.impostors,
        auc=verification.auc,
        eer=verification.eer,
        points=[OperatingPoint(**verification.operating_point(fpr)._asdict()) for fpr in FPRS],
        roc=Curve(fpr=fpr, tpr=tpr, threshold=threshold),
        histogram=Histogram(edges=edges, matches=matches, impostors=impostors),
    )


def figures_of(embeddings: Array, labels: Array, metric: Metric = "cosine") -> VerificationResult:
    """The same of embeddings."""
    return figures(verify_embeddings(embeddings, labels, metric=metric))


def retrieval_of(embeddings: Array, labels: Array, metric: Metric = "cosine") -> RetrievalResult:
    """Retrieval figures of embeddings."""
    return RetrievalResult(**vars(retrieval_metrics(embeddings, labels, metric=metric)))


def confusion(verification: Verification, threshold: float) -> Confusion:
    """What a threshold does."""
    found = verification.confusion_at(threshold)
    rates = {name: getattr(found, name) for name in ("tpr", "fpr", "precision", "accuracy")}
    return Confusion(**found._asdict(), **rates)


@cache
def digits() -> tuple[Array, Array, Array]:
    """Pixels ``(144, 64)``, embeddings ``(144, 6)`` and labels of digits 4 to 9; the first half is validation."""
    found = load_digits()
    chosen = np.concatenate([np.flatnonzero(found.target == digit)[:EACH] for digit in range(4, 10)])
    trained = found.target < 7
    project = LinearDiscriminantAnalysis(n_components=6).fit(found.data[trained], found.target[trained])
    pixels = found.data[chosen]
    return pixels, project.transform(pixels).astype(np.float32), found.target[chosen].astype(str)


@cache
def run_results() -> Results:
    """Of a trained run: validation on digits 4 to 6, test on 7 to 9, pixels as the baseline, classes and masks."""
    pixels, embeddings, labels = digits()
    half = 3 * EACH
    parts = {"val": slice(0, half), "test": slice(half, None)}
    on = {split: verify_embeddings(embeddings[part], labels[part], metric="cosine") for split, part in parts.items()}
    threshold = on["val"].threshold_at_fpr(0.05)
    counted = SplitCounts(images=half, identities=3, classes=3)
    return Results(
        triune="0.0.test",
        name="digits",
        created="2026-01-02T03:04:05+00:00",
        data=DataSummary(
            source="digits",
            split="open-set",
            splits={"train": counted, "val": counted, "test": counted},
            classes=["4", "5", "6"],
        ),
        metric="cosine",
        models=[
            ModelResult(
                name="this model",
                role="model",
                verification={split: figures(found) for split, found in on.items()},
                retrieval=retrieval_of(embeddings[parts["test"]], labels[parts["test"]]),
            ),
            ModelResult(
                name="raw pixels",
                role="pixels",
                verification={split: figures_of(pixels[part], labels[part]) for split, part in parts.items()},
                retrieval=retrieval_of(pixels[parts["test"]], labels[parts["test"]]),
            ),
        ],
        threshold=AppliedThreshold(
            metric="cosine",
            target_fpr=0.05,
            threshold=threshold,
            distance=1 - threshold,
            fitted_on="validation pairs",
            on_fitted=confusion(on["val"], threshold),
            on_test=confusion(on["test"], threshold),
        ),
        classification=ClassResult(
            split="holdout",
            items=9,
            accuracy=7 / 9,
            classes=["4", "5", "6"],
            confusion=[[3, 0, 0], [1, 2, 0], [0, 1, 2]],
        ),
        segmentation=MaskResult(split="test", items=72, iou=0.9, dice=0.95, per_channel=[0.9]),
        training=TrainingFacts(epochs=2, steps=60, seconds=12.0, best_epoch=2, seed=0),
    )


@cache
def files_results() -> Results:
    """Of two files of embeddings, with intervals, conditions, a comparison, folds and other rankings; no splits."""
    _, embeddings, labels = digits()
    verification = verify_embeddings(embeddings, labels, metric="euclidean")
    found = figures(verification)
    points = [point.model_copy(update={"interval": Interval(low=0.612, high=0.734)}) for point in found.points]
    sure = {
        "points": points,
        "auc_interval": Interval(low=0.871, high=0.902),
        "eer_interval": Interval(low=0.101, high=0.203),
        "uncertainty": UNCERTAINTY,
    }
    retrieval = retrieval_of(embeddings, labels, "euclidean")
    difference = Difference(estimate=0.041, low=-0.012, high=0.093, p_value=0.0004)
    threshold = verification.threshold_at_fpr(0.05)
    return Results(
        triune="0.0.test",
        name="ours",
        created="2026-01-02T03:04:05+00:00",
        data=DataSummary(source="ours.npy", split="given"),
        metric="euclidean",
        models=[
            ModelResult(
                name="this model",
                role="model",
                verification={"test": found.model_copy(update=sure)},
                retrieval=retrieval,
                rankings={
                    "expanded": retrieval.model_copy(update={"mrr": 0.111}),
                    "re-ranked": retrieval.model_copy(update={"mrr": 0.222}),
                },
            ),
            ModelResult(
                name="theirs",
                role="against",
                verification={"test": found.model_copy(update=sure)},
                retrieval=retrieval.model_copy(update={"mrr": 0.333}),
            ),
        ],
        threshold=AppliedThreshold(
            metric="euclidean",
            target_fpr=0.05,
            threshold=threshold,
            distance=-threshold,
            fitted_on="validation pairs",
            on_test=confusion(verification, threshold),
        ),
        comparison=Comparison(
            against="theirs",
            uncertainty=UNCERTAINTY,
            auc=difference,
            eer=difference.model_copy(update={"estimate": -0.5, "p_value": 0.25}),
            tpr_at_fpr=dict.fromkeys(FPRS, difference),
        ),
        conditions=[
            ConditionsResult(
                column="camera",
                threshold=threshold,
                distance=-threshold,
                fitted_here=False,
                uncertainty=UNCERTAINTY,
                rows=[
                    ConditionResult(
                        condition=name,
                        items=1200,
                        identities=60,
                        matches=10,
                        impostors=4000,
                        tpr=Rate(estimate=0.91, low=0.85, high=0.97),
                        fpr=Rate(estimate=0.04, low=float("nan"), high=float("nan")),
                    )
                    for name in ("front", "back")
                ],
                inequity={
                    "fpr": Inequity(max_over_min=2.5, max_over_mean=1.5, worst="back"),
                    "fnr": Inequity(max_over_min=float("inf"), max_over_mean=1.5, worst="front"),
                },
            )
        ],
        folds=FoldsResult(
            names=["1", "2"],
            accuracy=Estimate(mean=0.95, standard_error=0.0123),
            accuracies=[0.94, 0.96],
            tpr_at_fpr={
                0.05: FoldRates(
                    tpr=Estimate(mean=0.9, standard_error=0.01),
                    fpr=Estimate(mean=0.049, standard_error=0.001),
                    reliable=True,
                ),
                0.001: FoldRates(
                    tpr=Estimate(mean=0.4, standard_error=0.1),
                    fpr=Estimate(mean=0.0005, standard_error=0.0002),
                    reliable=False,
                ),
            },
        ),
    )


def changed(results: Results, model: dict[str, Any] | None = None, figures: dict[str, Any] | None = None) -> Results:
    """The same results with other fields of the judged model, or of its judged figures."""
    first, *others = results.models
    if figures is not None:
        found = first.verification["test"].model_copy(update=figures)
        first = first.model_copy(update={"verification": {**first.verification, "test": found}})
    return results.model_copy(update={"models": [first.model_copy(update=model or {}), *others]})


def contents(results: Results, **parts: Any) -> Contents:
    """Results and, where given, other parts, as if read from a folder."""
    nothing: dict[str, Any] = {
        "items": None,
        "masks": [],
        "history": None,
        "settings": None,
        "has_model": False,
    }
    return Contents(folder=Path("runs/digits-1"), results=results, **{**nothing, **parts})


def shown(results: Results, **parts: Any) -> Page:
    """The page of these results."""
    return Page(page(contents(results, **parts)))


def history(steps: int = 60) -> polars.DataFrame:
    """Of two epochs; the loss on masks was never measured, validation at the end of each epoch."""
    at = np.arange(steps)
    last = (at + 1) % (steps // 2) == 0
    return polars.DataFrame(
        dict.fromkeys(COLUMNS)
        | {
            "epoch": at // (steps // 2),
            "step": at + 1,
            "lr": 0.001,
            "train_total": 2 / (at + 1),
            "train_classification": 1 / (at + 1),
            "train_segmentation": None,
            "train_triplet": 0.2,
            "train_active_share": 0.5,
            "train_positive_distance": 0.3,
            "train_negative_distance": 0.6,
            "train_collapse": 0.4,
            "val_tpr": [0.9 if end else None for end in last],
            "val_auc": [0.95 if end else None for end in last],
            "val_classification": None,
            "val_segmentation": None,
        },
        schema=COLUMNS,
        strict=False,
    )


def write_run(run: Path) -> Path:
    """A run folder with every part, its images beside it."""
    pixels, embeddings, labels = digits()
    (run / "masks").mkdir(parents=True)
    rows = []
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True), start=2):
        split, ink = "val" if row < 2 + 3 * EACH else "test", image.reshape(8, 8)
        paths = [run.parent / f"{kind}-{row}.png" for kind in ("image", "mask")]
        Image.fromarray((255 - ink * 15.9).astype(np.uint8)).resize((32, 32)).save(paths[0])
        mask = Image.fromarray((ink > 6).astype(np.uint8)).resize((32, 32), Image.Resampling.NEAREST)
        mask.save(paths[1])
        if split == "test" and row % 10 == 0:
            mask.save(run / "masks" / f"{row}.png")
        rows.append({"row": row, "image": str(paths[0]), "mask": str(paths[1]), "label": label, "split": split})
    polars.DataFrame(rows).select(
        "row",
        "image",
        "mask",
        "label",
        polars.col("label").alias("identity"),
        "split",
        polars.col("label").alias("predicted_label"),
        polars.Series("embedding", embeddings.tolist(), dtype=polars.List(polars.Float32)),
    ).write_parquet(run / "embeddings.parquet")
    history().write_csv(run / "history.csv")
    (run / "config.yaml").write_text("data: digits\nmargin: 0.2\n")
    (run / "model.safetensors").touch()
    run_results().write(run / "metrics.json")
    return run
