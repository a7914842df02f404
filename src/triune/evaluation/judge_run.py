"""A finished run judged on its held-out identities: metrics, thresholds, embeddings and sample masks as files."""

import os
import sys
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import polars
import torch
from torch.distributed import ProcessGroup

from triune.data.boxes import with_box_columns, without_boxes
from triune.data.checks import examine
from triune.data.dataset import ItemDataset
from triune.data.items import ItemTable
from triune.data.preprocessing import as_pair
from triune.data.problems import DataError, Problem
from triune.data.sources.named import listed_pairs, load_source
from triune.errors import InputError
from triune.evaluation import measures
from triune.evaluation.appearance import familiar_with
from triune.evaluation.baselines import backbone_embeddings, pixel_embeddings
from triune.evaluation.judge import Candidate, Judgement, Questions, Resampling, empty_results, judge
from triune.evaluation.judge_files import folds_of, read_threshold
from triune.evaluation.known_items import distractors, known_items, with_identity
from triune.evaluation.predict import Predictions, predict
from triune.evaluation.results import (
    JUDGED_SPLITS,
    NAMES,
    ClassResult,
    DataSummary,
    MaskResult,
    Results,
    Role,
    Split,
    SplitCounts,
    Unavailable,
)
from triune.evaluation.sample_masks import write_sample_masks
from triune.files import write_record
from triune.model.network import MultiTaskModel
from triune.parallel.group import is_first, rank_and_size, read_by_all
from triune.parallel.started import started_place
from triune.run.card import ModelCard
from triune.run.facts import TrainingFacts
from triune.run.familiar import write_familiar
from triune.run.folder import JUDGED, load_card, load_model, seal
from triune.run.judged_items import BOXES, COLUMNS, write_judged_items
from triune.run.loaders import ItemData
from triune.run.origin import located, source_of
from triune.run.parser import read_config
from triune.run.preprocessing import prepared_as
from triune.run.settings import TrainConfig
from triune.run.split import read_split, with_split_of
from triune.run.thresholds import StoredThresholds, read_thresholds
from triune.verification.decision import Threshold, without_promise

Array: TypeAlias = np.ndarray[Any, Any]

HELD_OUT: Final[tuple[Split, ...]] = ("val", "calibration", "test", "holdout")


@dataclass(frozen=True)
class RunQuestions:
    """What is asked of a run.

    Args:
        data: another table to judge it on, with the splits of its own; where not given, the run's own data and split.
        conditions: columns of the table (camera, breed) whose values are compared.
        exclude: the column that says where an item comes from (photo session, video, camera): pairs within one are no
            test, and are left out; of rankings, only a query's relevant items are.
        against: another run, judged on the same items and compared with.
        threshold: a ``thresholds.json`` to be applied in place of the run's own.
        resampling: how intervals are made.
        reranked: judge retrieval with expanded items and with k-reciprocal re-ranking as well.
        root: where the archives or folders of a named data set lie; where the run has it, unless given.
    """

    data: str | None = None
    conditions: tuple[str, ...] = ()
    exclude: str | None = None
    against: Path | None = None
    threshold: Path | None = None
    resampling: Resampling = field(default_factory=Resampling)
    reranked: bool = False
    root: Path | None = None


@dataclass(frozen=True)
class _Predicted:
    """The items of one split and what the network said of them."""

    dataset: ItemDataset
    predictions: Predictions


def evaluate_again(
    run: Path, output: Path, questions: RunQuestions = RunQuestions(), divide_over: ProcessGroup | None = None
) -> Judgement:
    """Judge a finished run once more, on its own data or on another table; nothing in the run changes.

    The threshold is the one that the run stored when it was trained, wherever it has one.

    Args:
        run: a run folder.
        output: the folder that is written to.
        questions: what is asked of it. A table without splits of its own is judged whole.
        divide_over: processes that share the work; each must call this with the same arguments, and all get the same.

    Raises:
        InputError: the run or the data cannot be read, or do not fit what is asked.
    """

    def read() -> tuple[TrainConfig, ItemData, TrainingFacts | None]:
        needed = ("data", "root") if questions.data is None else ("root",)
        stored = read_config(run / "config.yaml")
        config = stored if questions.root is None else replace(stored, root=questions.root.absolute())
        config = located(run, config, (*needed, "model.weights"))
        card = load_card(run)
        path = run / "metrics.json"
        training = Results.read(path).training if path.is_file() else None
        source = config.data if questions.data is None else questions.data
        items = load_source(
            source,
            root=config.root,
            split=config.split if questions.data is None else "given",
            seed=config.seed,
            pairs=config.judges_pairs,
        )
        items = replace(items, reading=card.reading, frame=items.frame if card.boxes else without_boxes(items.frame))
        items = with_split_of(run, items) if questions.data is None else checked(items, card)
        for note in items.notes if is_first() else ():
            print(note, file=sys.stderr)
        return replace(config, data=source), ItemData(items, config, card.classes, images=prepared_as(card)), training

    config, data, training = read_by_all(read, divide_over)
    return evaluate_run(run, config, data, questions, training, output, divide_over)


def evaluate_run(
    run: Path,
    config: TrainConfig,
    data: ItemData,
    questions: RunQuestions = RunQuestions(),
    training: TrainingFacts | None = None,
    output: Path | None = None,
    divide_over: ProcessGroup | None = None,
    network: tuple[Any, ModelCard] | None = None,
) -> Judgement:
    """Judge the network in ``run`` on the table's held-out splits and write what was found.

    Writes ``metrics.json``, ``embeddings.parquet`` and a few predicted masks in ``masks/``; and ``thresholds.json`` and
    ``familiar.safetensors`` at the end of a training.

    Args:
        run: a run folder that holds ``model.safetensors``.
        config: the run's settings.
        data: the run's table and loaders.
        questions: what is asked of it; ``data`` says which table was read already.
        training: facts of the training for the report.
        output: the folder that is written to; at the end of a training, where it is not given, the run itself.
        divide_over: processes that share the images and the pairs; the first one writes.
        network: what answers as the run's network would, and its card; that of ``run`` where not given.

    Raises:
        InputError: the run cannot be read, or does not fit what is asked.
    """
    device = evaluation_device(config)
    model, card = read_by_all(lambda: load_model(run, device), divide_over) if network is None else network
    if network is None:
        check_settings(run, config, card)
    asked = Questions(
        resampling=questions.resampling,
        reranked=questions.reranked,
        threshold=read_by_all(
            lambda: _applied_threshold(run, questions, config, again=output is not None), divide_over
        ),
        fitted_here=questions.threshold is None and questions.data is None,
        target_fpr=config.target_fpr,
        fpr_confidence=config.fpr_confidence,
    )
    if questions.reranked and questions.exclude is not None:
        raise InputError("--rerank judges whole rankings: leave --exclude away")
    predicted = _predict(model, data, device, divide_over)
    asked_of = (data.table.source, questions.conditions, questions.exclude)
    items = {split: known_items(each.dataset, *asked_of) for split, each in predicted.items()}
    summary = empty_results(
        Path(os.path.abspath(run)).name,
        describe_data(data, trained_on(run, data) if network is None else frozenset()),
        config.metric,
    ).model_copy(
        update={
            "classification": judge_classes(predicted, card.classes),
            "segmentation": judge_masks(predicted),
            "training": training,
        }
    )
    candidates = _candidates(predicted, questions, config, data, device, divide_over)
    found = judge(candidates, items, asked, summary, divide_over)
    listed = listed_pairs(data.table.source, config.root)
    if listed is not None and candidates:
        images = predicted["test"].dataset.frame["image"].to_list()
        folds = folds_of(listed, images, candidates[0].embeddings["test"], config.metric)
        found = replace(found, results=found.results.model_copy(update={"folds": folds}))
    share, _ = rank_and_size(divide_over)
    if share == 0:
        folder = output or run
        if output is None:
            _write_thresholds(folder, found, config)
        write_embeddings(folder / "embeddings.parquet", predicted, card.classes)
        found.results.write(folder / "metrics.json")
        if "test" in predicted and predicted["test"].predictions.mask_confusion is not None:
            write_sample_masks(folder / "masks", model, predicted["test"].dataset, device)
        if output is None:
            familiar = familiar_with(model, data.dataset("val"), device) if data.count("val") else None
            if familiar is not None:
                write_familiar(run, familiar)
            seal(run, JUDGED)
    return found


def check_settings(run: Path, config: TrainConfig, card: ModelCard) -> None:
    """Raise an :class:`InputError` where the settings of a run are not those that its network was trained with.

    Args:
        run: the run folder.
        config: its settings.
        card: what its network says of itself.
    """
    told = {
        "metric": (config.metric, card.metric),
        "images.size": tuple(" x ".join(map(str, as_pair(size))) for size in (config.images.size, card.size)),
        "images.fit": (config.images.fit, card.fit),
        "images.channels": (config.images.channels, card.channels),
    }
    for name, (said, was) in told.items():
        if said != was:
            raise InputError(
                f"{run / 'config.yaml'}, field {name}: it says {said}, but the network was trained with {was}: the "
                "file was changed, or is of another run"
            )


def _predict(
    model: MultiTaskModel, data: ItemData, device: torch.device, divide_over: ProcessGroup | None
) -> dict[Split, _Predicted]:
    """What a network says of the held-out splits."""
    return {
        split: _Predicted(
            data.dataset(split), predict(model, data.loader(split, divide_over), device, divide_over=divide_over)
        )
        for split in HELD_OUT
        if data.count(split)
    }


def _candidates(
    predicted: Mapping[Split, _Predicted],
    questions: RunQuestions,
    config: TrainConfig,
    data: ItemData,
    device: torch.device,
    divide_over: ProcessGroup | None,
) -> list[Candidate]:
    """The run's model, the model that it is compared with, and the two baselines, where there is an embedding."""
    trained = _embeddings(predicted)
    if not trained:
        return []
    nobody = _embeddings(predicted, distractors)
    candidates = [Candidate(NAMES["model"], "model", config.metric, trained, "the run's embeddings", nobody)]
    if questions.against is not None:
        candidates.append(_other_run(questions.against, data, device, divide_over))
    judged = [split for split in trained if split in JUDGED_SPLITS]
    pixels = {s: pixel_embeddings(predicted[s].dataset, divide_over) for s in judged}
    candidates.append(_baseline("pixels", pixels, predicted))
    settings = config.model
    torch.manual_seed(config.seed)
    start = MultiTaskModel(
        settings.backbone,
        num_classes=0,
        mask_channels=0,
        embedding_dim=settings.embedding_dim,
        pretrained=settings.pretrained,
        weights=settings.weights,
        in_channels=config.images.channels,
    ).to(device)
    rows = {s: backbone_embeddings(start, data.loader(s, divide_over), device, divide_over) for s in judged}
    pretrained = settings.pretrained or settings.weights is not None
    candidates.append(_baseline("pretrained" if pretrained else "untrained", rows, predicted))
    return candidates


def _baseline(role: Role, rows: Mapping[Split, Array], predicted: Mapping[Split, _Predicted]) -> Candidate:
    known, nobody = (
        {split: chosen(each, predicted[split].dataset) for split, each in rows.items()}
        for chosen in (with_identity, distractors)
    )
    return Candidate(NAMES[role], role, "cosine", known, f"embeddings of the baseline {NAMES[role]}", nobody)


def _other_run(run: Path, data: ItemData, device: torch.device, divide_over: ProcessGroup | None) -> Candidate:
    """Another run's embeddings of the same items."""
    model, card = read_by_all(lambda: load_model(run, device), divide_over)
    predicted = _predict(model, _as_read_by(card, data), device, divide_over)
    rows, nobody = _embeddings(predicted), _embeddings(predicted, distractors)
    if not rows:
        raise InputError(f"{run} has no embedding head: there is nothing to compare with")
    name = f"{run.name} (other)" if run.name in NAMES.values() else run.name
    return Candidate(name, "against", card.metric, rows, str(run), nobody)


def _as_read_by(card: ModelCard, data: ItemData) -> ItemData:
    """The same items in the size and the channels that another network takes."""
    config = replace(data.config, images=replace(data.config.images, channels=card.channels))
    return ItemData(replace(data.table, reading=card.reading), config, data.classes, images=prepared_as(card))


def _embeddings(
    predicted: Mapping[Split, _Predicted], chosen: Callable[[Array, ItemDataset], Array] = with_identity
) -> dict[Split, Array]:
    """The embeddings of some of the judged splits' items: as a rule, of those that have an identity."""
    return {
        split: chosen(each.predictions.embeddings, each.dataset)
        for split, each in predicted.items()
        if split != "holdout" and each.predictions.embeddings is not None
    }


def judge_classes(predicted: Mapping[Split, _Predicted], classes: list[str]) -> ClassResult | Unavailable | None:
    """Class accuracy on the test split; where none of its classes was trained, on the images kept from training."""
    for split in HEADS_JUDGED:
        found = predicted[split].predictions.classes if split in predicted else None
        if found is None:
            continue
        truth = predicted[split].dataset.class_codes.numpy()
        if (truth >= 0).any():
            labels = predicted[split].dataset.frame["label"].to_list()
            return measures.class_result(truth, found, classes, split, labels)
    if any(each.predictions.classes is not None for each in predicted.values()):
        return Unavailable(unavailable="no held-out image belongs to a class that was trained")
    return None


def judge_masks(predicted: Mapping[Split, _Predicted]) -> MaskResult | None:
    """Mask overlap on the test split, or on another where test items have no masks."""
    for split in HEADS_JUDGED:
        confusion = predicted[split].predictions.mask_confusion if split in predicted else None
        if confusion is not None:
            return measures.mask_result(confusion, predicted[split].predictions.masked, split)
    return None


HEADS_JUDGED: Final[tuple[Split, ...]] = ("test", "holdout", "val")


def trained_on(run: Path, data: ItemData) -> set[str]:
    """The identities that a run was trained on, as it stored them; those of the table's split where it stored none."""
    stored = read_split(run)
    if stored is None:
        return set(data.training_identities)
    return set(stored.filter(polars.col("split") == "train")["identity"].drop_nulls())


def describe_data(data: ItemData, trained: Set[str] = frozenset()) -> DataSummary:
    """How many images, identities and classes each split has.

    Args:
        data: the table.
        trained: the identities that were trained on.
    """
    splits: dict[Split, SplitCounts] = {}
    for split in ALL_SPLITS:
        part = data.table.part(split)
        if len(part):
            identities, classes = (part[name].drop_nulls().n_unique() for name in ("identity", "label"))
            nameless = part["identity"].null_count() if identities else 0
            known = len(trained & set(part["identity"].drop_nulls()))
            splits[split] = SplitCounts(
                images=len(part), identities=identities, classes=classes, nameless=nameless, trained=known
            )
    return DataSummary(
        source=source_of(data.table),
        split=data.table.split_kind,
        splits=splits,
        classes=list(data.classes),
        notes=list(data.table.notes),
        mask_values=None if (values := data.table.reading.mask_values) is None else list(values),
    )


ALL_SPLITS: Final[tuple[Split, ...]] = ("train", *HELD_OUT)


def _write_thresholds(run: Path, found: Judgement, config: TrainConfig) -> None:
    """The thresholds that were fitted, or why there are none."""
    threshold = found.results.threshold
    if found.fitted or isinstance(threshold, Unavailable):
        stored = StoredThresholds(
            metric=config.metric,
            target_fpr=config.target_fpr,
            thresholds=list(found.fitted),
            unavailable=threshold.unavailable if isinstance(threshold, Unavailable) else None,
        )
        write_record(run / "thresholds.json", stored)


def _applied_threshold(run: Path, questions: RunQuestions, config: TrainConfig, again: bool) -> Threshold | None:
    """The threshold that is asked for, or the run's own where it is judged again; ``None`` to fit one."""
    if questions.threshold is not None:
        return without_promise(read_threshold(questions.threshold, config.metric))
    path = run / "thresholds.json"
    if not (again and path.is_file()):
        return None
    stored = read_thresholds(path)
    if stored.metric != config.metric:
        raise InputError(f"{path} is for the metric {stored.metric}, but {run} was trained with {config.metric}")
    return None if stored.unavailable is not None else stored.own(str(path))


def checked(items: ItemTable, card: ModelCard) -> ItemTable:
    """A table that a run is judged on, where every file of it can be read and something is there to be judged.

    Raises:
        DataError: every problem of the table.
    """
    channels = card.model.mask_channels
    problems = examine(items, masks=channels > 0, mask_ids=max(channels, 2), identities=False, choose=False).problems
    if not items.frame["split"].is_in(list(HELD_OUT)).any():
        remedy = "mark the rows to be judged as test, or leave the column away"
        problems = [*problems, Problem(items.source, None, "split", "every row is in train: nothing is judged", remedy)]
    if problems:
        raise DataError(problems)
    return items


def write_embeddings(path: Path, predicted: Mapping[Split, _Predicted], classes: list[str]) -> None:
    """Write all held-out items with their embedding and predicted class; no file where there is no embedding head.

    Args:
        path: the Parquet file.
        predicted: by split, its items and what the network said of them.
        classes: the names of the classification head's outputs, in their order.
    """
    parts = []
    for split, each in predicted.items():
        dataset, said = each.dataset, each.predictions
        if said.embeddings is None:
            continue
        names = [None] * len(dataset) if said.classes is None else [classes[i] for i in said.classes]
        part = with_box_columns(dataset.frame).with_columns(
            polars.lit(split).alias("split"),
            polars.Series("predicted_label", names, dtype=polars.String),
            polars.Series("embedding", said.embeddings.tolist(), dtype=polars.List(polars.Float32)),
        )
        part = part.select(*COLUMNS, *BOXES)
        parts.append(part)
    if parts:
        write_judged_items(path, polars.concat(parts, how="vertical_relaxed"))


def evaluation_device(config: TrainConfig) -> torch.device:
    """Where a run is evaluated: on the GPU unless the run was told to use the processor."""
    if not torch.cuda.is_available() or config.trainer.accelerator == "cpu":
        return torch.device("cpu")
    # Whoever started the processes of a host numbered them.
    place = started_place()
    return torch.device("cuda", (0 if place is None else place.local_rank) % torch.cuda.device_count())
