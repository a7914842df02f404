"""A finished run judged on its held-out identities: metrics, thresholds, embeddings and sample masks as files."""

import datetime
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars
import torch
from PIL import Image
from torch.distributed import ProcessGroup
from torch.nn.functional import interpolate

from triune._version import __version__
from triune.data.dataset import ItemDataset
from triune.data.sources.named import load_source
from triune.data.transform import normalise
from triune.evaluation import measures
from triune.evaluation.baselines import backbone_embeddings, pixel_embeddings
from triune.evaluation.predict import Predictions, predict, predicted_masks
from triune.files import write_json, written_whole
from triune.model.network import MultiTaskModel
from triune.parallel.command import read_by_all
from triune.parallel.divide import rank_and_size
from triune.run.folder import load_model, read_json
from triune.run.loaders import ItemData
from triune.run.parser import read_config
from triune.run.settings import Metric, TrainConfig

Array = np.ndarray[Any, Any]


SAMPLE_MASKS = 12


class Judged(NamedTuple):
    """One split's items and what the network said of them."""

    dataset: ItemDataset
    predictions: Predictions

    def with_identity(self, embeddings: Array) -> tuple[Array, Array]:
        """The embeddings of the items that have an identity, and those identities."""
        identities = self.dataset.identity_codes.numpy()
        return embeddings[identities >= 0], identities[identities >= 0]


def evaluate_run(
    run: Path,
    config: TrainConfig,
    data: ItemData,
    training: dict[str, Any] | None = None,
    divide_over: ProcessGroup | None = None,
) -> dict[str, Any]:
    """Judge the network in ``run`` on the table's held-out splits and write what was found into the folder.

    Writes ``metrics.json``, ``thresholds.json``, ``embeddings.parquet`` and a few predicted masks in ``masks/``.

    Args:
        run: a run folder that holds ``model.safetensors``.
        config: the run's settings.
        data: the run's table and loaders.
        training: facts of the training (epochs, steps, seconds, seed) for the report.
        divide_over: processes that share the images and the pairs; the first one writes.

    Returns:
        What was written to ``metrics.json``.
    """
    device = evaluation_device(config)
    share, _ = rank_and_size(divide_over)
    model, card = load_model(run, device)
    judged = {
        split: Judged(
            data.dataset(split), predict(model, data.loader(split, divide_over), device, divide_over=divide_over)
        )
        for split in ("val", "test", "holdout")
        if data.count(split)
    }
    metrics: dict[str, Any] = {
        "triune": __version__,
        "name": run.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": describe_data(data),
        "metric": config.metric,
        "verification": {},
        "retrieval": {},
        "operating_point": None,
        "classification": judge_classes(judged, card.classes),
        "segmentation": judge_masks(judged),
        "training": training,
    }
    for name, (metric, embeddings) in embeddings_by_source(judged, config, data, device, divide_over).items():
        known = {split: judged[split].with_identity(rows) for split, rows in embeddings.items()}
        metrics["verification"][name] = {
            split: measures.verification_summary(*known[split], metric, divide_over)
            for split in ("val", "test")
            if split in known
        }
        if "test" in known:
            metrics["retrieval"][name] = measures.retrieval_summary(*known["test"], metric, divide_over)
        if name == "trained":
            metrics["operating_point"] = measures.fitted_threshold(
                known.get("val"), known.get("test"), config.metric, config.target_fpr, divide_over
            )
    if share != 0:
        return metrics
    if metrics["operating_point"] is not None:
        write_json(run / "thresholds.json", metrics["operating_point"])
    write_embeddings(run / "embeddings.parquet", judged, card.classes)
    if "test" in judged and judged["test"].predictions.mask_confusion is not None:
        write_sample_masks(run / "masks", model, judged["test"].dataset, device)
    write_json(run / "metrics.json", metrics)
    return metrics


def evaluate_again(run: Path, table: str | None = None, divide_over: ProcessGroup | None = None) -> dict[str, Any]:
    """Judge a finished run once more, on its own data or on another table; processes may share the work."""

    def read() -> tuple[TrainConfig, ItemData, dict[str, Any]]:
        config = read_config(run / "config.yaml")
        if table is not None:
            config = replace(config, data=table, split="auto")
        _, card = load_model(run)
        earlier = read_json(run / "metrics.json") if (run / "metrics.json").is_file() else {}
        items = load_source(
            config.data, root=config.root, split=config.split, seed=config.seed, pairs=config.judges_pairs
        )
        return config, ItemData(items, config, card.classes), earlier

    config, data, earlier = read_by_all(read, divide_over)
    return evaluate_run(run, config, data, earlier.get("training"), divide_over)


def embeddings_by_source(
    judged: dict[str, Judged],
    config: TrainConfig,
    data: ItemData,
    device: torch.device,
    divide_over: ProcessGroup | None = None,
) -> dict[str, tuple[Metric, dict[str, Array]]]:
    """The trained embedding and the two baselines: name → (metric, split → ``(N, D)``)."""
    sources: dict[str, tuple[Metric, dict[str, Array]]] = {}
    trained = {s: j.predictions.embeddings for s, j in judged.items() if j.predictions.embeddings is not None}
    if not trained:
        return sources
    sources["trained"] = (config.metric, trained)
    splits: list[str] = [split for split in ("val", "test") if split in judged]
    sources["pixels"] = ("cosine", {s: pixel_embeddings(data.dataset(s), divide_over) for s in splits})
    settings = config.model
    pretrained = settings.pretrained or settings.weights is not None
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
    name = "pretrained" if pretrained else "untrained"
    rows = {s: backbone_embeddings(start, data.loader(s, divide_over), device, divide_over) for s in splits}
    sources[name] = ("cosine", rows)
    return sources


def judge_classes(judged: dict[str, Judged], classes: list[str]) -> dict[str, Any] | None:
    """Class accuracy on the test split; where none of its classes was trained, on the images kept from training."""
    for split in ("test", "holdout", "val"):
        predicted = judged[split].predictions.classes if split in judged else None
        if predicted is None:
            continue
        truth = judged[split].dataset.class_codes.numpy()
        if (truth >= 0).any():
            return measures.class_measures(truth, predicted, classes, split)
    if any(j.predictions.classes is not None for j in judged.values()):
        return {"unavailable": "no held-out image belongs to a class that was trained"}
    return None


def judge_masks(judged: dict[str, Judged]) -> dict[str, Any] | None:
    """Mask overlap on the test split, or on another where test items have no masks."""
    for split in ("test", "holdout", "val"):
        confusion = judged[split].predictions.mask_confusion if split in judged else None
        if confusion is not None:
            return measures.mask_measures(confusion, judged[split].predictions.masked, split)
    return None


def describe_data(data: ItemData) -> dict[str, Any]:
    """How many images, identities and classes each split has."""
    frame = data.table.frame
    splits = {}
    for split in ("train", "val", "test", "holdout"):
        part = frame.filter(polars.col("split") == split)
        if len(part):
            counts = {name: part[column].drop_nulls().n_unique() for name, column in COUNTED.items()}
            splits[split] = {"images": len(part), **counts}
    return {
        "source": str(data.table.source),
        "split": data.table.split_kind,
        "splits": splits,
        "classes": data.classes,
    }


COUNTED = {"identities": "identity", "classes": "label"}


def write_embeddings(path: Path, judged: dict[str, Judged], classes: list[str]) -> None:
    """All held-out items with their embedding and predicted class, as Parquet."""
    parts = []
    for split, (dataset, predictions) in judged.items():
        if predictions.embeddings is None:
            continue
        names = [None] * len(dataset) if predictions.classes is None else [classes[i] for i in predictions.classes]
        part = dataset.frame.select("row", "image", "mask", "label", "identity").with_columns(
            polars.lit(split).alias("split"),
            polars.Series("predicted_label", names, dtype=polars.String),
            polars.Series("embedding", predictions.embeddings.tolist(), dtype=polars.List(polars.Float32)),
        )
        parts.append(part)
    if parts:
        with written_whole(path) as temporary:
            polars.concat(parts, how="vertical_relaxed").write_parquet(temporary)


@torch.inference_mode()
def write_sample_masks(folder: Path, model: MultiTaskModel, dataset: ItemDataset, device: torch.device) -> None:
    """Predicted masks of test items spread over the split, as ``ROW.png`` of mask ids in the image's own size."""
    masked = np.flatnonzero(dataset.frame["mask"].is_not_null().to_numpy())
    for index in masked[np.linspace(0, len(masked) - 1, min(SAMPLE_MASKS, len(masked))).astype(int)]:
        row = dataset.frame.row(int(index), named=True)
        with Image.open(row["image"]) as file:
            width, height = file.size
        logits = model(normalise(dataset.stored(int(index))[0])[None].to(device)).mask_logits
        sized = interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=False)
        ids = predicted_masks(sized)[0].to(torch.uint8).cpu().numpy()
        with written_whole(folder / f"{row['row']}.png") as temporary:
            Image.fromarray(ids).save(temporary)


def evaluation_device(config: TrainConfig) -> torch.device:
    """Where a run is evaluated: on the GPU unless the run was told to use the processor."""
    if not torch.cuda.is_available() or config.trainer.accelerator == "cpu":
        return torch.device("cpu")
    # torchrun numbers the processes of a host.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
