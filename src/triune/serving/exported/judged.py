"""An exported file judged on a table, as a run is: by ONNX Runtime's answers, with the thresholds that it carries."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from triune.data.boxes import without_boxes
from triune.data.normalising import denormalise
from triune.data.sources.named import load_source
from triune.errors import InputError
from triune.evaluation.judge import Judgement
from triune.evaluation.judge_run import RunQuestions, checked, evaluate_run
from triune.files import write_record
from triune.model.network import Prediction
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.run.preprocessing import prepared_as
from triune.run.settings import TrainConfig
from triune.serving.exported.card import EMBEDDING, MASK_LOGITS, PROBABILITIES, ExportCard
from triune.serving.exported.network import ExportedNetwork, load_exported


class AnsweredByFile(nn.Module):
    """An exported file where a network is expected that takes normalised images.

    Args:
        network: the file in use.
    """

    def __init__(self, network: ExportedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Prediction:
        """All heads of ``images (B, C, H, W)``, whose bytes are found again."""
        card = self.network.exported.card
        pixels = denormalise(images.cpu(), card.mean, card.std).permute(0, 2, 3, 1).contiguous().numpy()
        wanted = [each.name for each in self.network.session.get_outputs() if each.name in _HEADS]
        found: dict[str, Any] = {
            name: torch.from_numpy(each) for name, each in self.network.run(pixels, wanted).items()
        }
        shares = found.get(PROBABILITIES)
        logits = None if shares is None else shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
        return Prediction(logits, found.get(MASK_LOGITS), found.get(EMBEDDING))


_HEADS = (EMBEDDING, PROBABILITIES, MASK_LOGITS)


def evaluate_exported(
    path: Path, output: Path, questions: RunQuestions, divide_over: ProcessGroup | None = None
) -> Judgement:
    """Judge an exported file on a table; the threshold is the one that it carries.

    Args:
        path: the file.
        output: the folder that is written to.
        questions: what is asked of it, on which table.
        divide_over: processes that share the work.

    Raises:
        InputError: the file or the data cannot be read, or no data are named.
    """
    if questions.data is None:
        raise InputError(f"{path} holds no data: name a table to judge it on with --data")
    network = load_exported(path, "cpu")
    card, config = network.exported.card, settings_of(network.exported, questions.data)
    config = config if questions.root is None else replace(config, root=questions.root.absolute())
    items = load_source(questions.data, root=config.root, split="given", seed=config.seed, pairs=config.judges_pairs)
    items = replace(items, reading=card.reading, frame=items.frame if card.boxes else without_boxes(items.frame))
    data = ItemData(checked(items, card), config, list(card.classes), images=prepared_as(card))
    answering = AnsweredByFile(network)
    with tempfile.TemporaryDirectory(prefix="triune-thresholds-") as folder:
        stored = network.exported.thresholds
        if questions.threshold is None and stored is not None and stored.thresholds:
            questions = replace(questions, threshold=Path(folder, "thresholds.json"))
            write_record(Path(folder, "thresholds.json"), stored)
        return evaluate_run(path, config, data, questions, None, output, divide_over, network=(answering, card))


def settings_of(exported: ExportCard, data: str) -> TrainConfig:
    """The settings of a training that would have given a file, as far as they matter when it is judged.

    Args:
        exported: what the file says of itself.
        data: the table.
    """
    card = exported.card
    height, width = card.size
    flags = {
        "--data": data,
        "--metric": card.metric,
        "--images.size": f"[{height},{width}]",
        "--images.fit": card.fit,
        "--images.channels": str(card.channels),
        "--model.backbone": card.model.backbone,
        "--model.pretrained": "false",
        "--model.embedding_dim": str(exported.dim),
        "--model.mask_channels": str(card.model.mask_channels if exported.masks else 0),
        "--trainer.accelerator": "cpu",
    }
    if exported.thresholds is not None:
        flags["--target_fpr"] = str(exported.thresholds.target_fpr)
    return parse_train([word for both in flags.items() for word in both])
