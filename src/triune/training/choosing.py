"""What chooses the network that is kept, and what validation and test cannot tell: said before the training."""

from triune.errors import InputError
from triune.run.loaders import ItemData
from triune.run.settings import TrainConfig
from triune.verification.all_pairs import why_not_verifiable


def monitored(config: TrainConfig, data: ItemData) -> str | None:
    """The figure the best checkpoint is chosen by: validation TPR@FPR where it can be measured.

    Otherwise it is the validation loss of the classes, or of the masks, that are learnt; ``None`` where no validation
    item has either: a loss over nothing is 0 from the first epoch on.
    """
    items = data.table.part("val")
    if config.model.embedding_dim > 0 and why_not_verifiable(items["identity"].drop_nulls().to_numpy()) is None:
        return "val_tpr"
    if config.class_weight > 0 and len(data.classes) > 1 and items["label"].is_in(data.classes).any():
        return "val_classification"
    return "val_segmentation" if config.learns_masks and items["mask"].is_not_null().any() else None


def unchoosable(config: TrainConfig, data: ItemData) -> list[str]:
    """That the last network will be kept, where there are validation images and none of them tells which is best."""
    if not data.count("val") or monitored(config, data) is not None:
        return []
    unused = ", and --trainer.patience has nothing to wait for" * (config.trainer.patience > 0)
    return [f"split val: nothing tells by it which epoch is the best; the last one is kept{unused}"]


def unverifiable(config: TrainConfig, data: ItemData) -> list[str]:
    """What cannot be judged after the training, said before it: splits without matching or non-matching pairs."""
    if not config.judges_pairs:
        return []
    fitted_on = "calibration" if data.count("calibration") else "val"
    lost = {fitted_on: "no threshold can be set", "test": "no verification can be measured"}
    said = []
    for split, what in lost.items():
        reason = why_not_verifiable(data.table.part(split)["identity"].drop_nulls().to_numpy())
        if reason is not None:
            said.append(f"split {split}: {reason}; {what}")
    return said


def check_margin_choice(config: TrainConfig, data: ItemData) -> None:
    """Raise an :class:`InputError` where ``--margin auto`` has nothing to choose by."""
    if config.metric_loss != "triplet":
        raise InputError(
            f"margin auto is for the triplet loss, not {config.metric_loss}: set it in metric_loss_options"
        )
    if monitored(config, data) != "val_tpr":
        raise InputError("margin auto needs validation images of two identities or more: give a number, such as 0.2")
