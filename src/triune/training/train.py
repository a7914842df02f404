"""From settings to a trained network in a run folder."""

import logging
import sys
import time
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from triune.data.calibration import check_promise, with_calibration
from triune.data.checks import examine
from triune.data.items import ItemTable
from triune.data.problems import DataError
from triune.data.reading import Reading
from triune.data.sources.named import load_source
from triune.errors import InputError
from triune.model.network import MultiTaskModel
from triune.model.objective import MultiTaskObjective
from triune.run.facts import TrainingFacts
from triune.run.folder import ModelCard, Network, new_run_folder, save_config, save_model
from triune.run.loaders import ItemData
from triune.run.parser import one_line
from triune.run.settings import TrainConfig
from triune.run.split import with_split_of, write_split
from triune.training.callbacks import EpochLines, History
from triune.training.checkpoints import BEST, LAST, WholeCheckpoints, read_checkpoint, resumable
from triune.training.metric_loss import metric_loss
from triune.training.module import LoopSettings, TrainingModule, triplet_loss_of
from triune.verification.all_pairs import why_not_verifiable


def fit(config: TrainConfig, data: ItemData, run: Path, criterion: nn.Module | None = None) -> TrainingFacts:
    """Train a network; the best one ends in the run folder's ``model.safetensors``.

    Args:
        config: the settings.
        data: the items, as loaders.
        run: the run folder.
        criterion: a metric loss called as ``criterion(embeddings, labels)``, in place of the one in the settings.

    Returns:
        Facts of the training for ``metrics.json``.
    """
    quiet_lightning()
    pl.seed_everything(config.seed, verbose=False)
    card = model_card(config, data)
    weights = config.model.weights
    model = MultiTaskModel(
        **card.model.model_dump(), pretrained=config.model.pretrained and weights is None, weights=weights
    )
    loop = LoopSettings(
        optimizer=config.optimizer,
        metric=config.metric,
        target_fpr=config.target_fpr,
        total_steps=len(data.train_dataloader()) * config.epochs,
        on_nonfinite=config.trainer.on_nonfinite,
        choose_margin=config.margin == "auto" and criterion is None,
        seed=config.seed,
    )
    module = TrainingModule(
        model.to(memory_format=torch.channels_last),
        objective(config, criterion or metric_loss(config, len(data.training_identities))),
        loop,
    )
    if loop.choose_margin:
        check_margin_choice(config, data)
    last = resumable(run / "checkpoints") if config.resume is not None else None
    if last is None and config.resume is not None and (run / "model.safetensors").exists():
        raise InputError(f"{run} was trained to its end, and its checkpoints are gone: there is nothing to resume")
    if config.resume is not None and last is None:
        print(f"{run} has no finished epoch yet: its training begins anew", file=sys.stderr, flush=True)
    try:
        trainer = build_trainer(config, run, monitored=monitored(data, config))
    except (MisconfigurationException, RuntimeError) as error:  # no such device here, or not so many
        settings = f"--trainer.accelerator {config.trainer.accelerator} --trainer.devices {config.trainer.devices}"
        raise InputError(f"{settings}: {one_line(str(error))}") from error
    # A run lies where it lies, and may be moved: --config with this file starts another one.
    save_config(run, replace(config, output=None, resume=None))
    write_split(run, data.table)
    started = time.monotonic()
    try:
        with redirect_stdout(sys.stderr):  # Lightning's progress bar writes to stdout, which is for results
            trainer.fit(module, data, ckpt_path=None if last is None else str(last), weights_only=True)
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt(str(run)) from stopped
    seconds = time.monotonic() - started
    best = read_checkpoint(best_checkpoint(run))
    prefix = "model."
    kept = {name.removeprefix(prefix): t for name, t in best["state_dict"].items() if name.startswith(prefix)}
    model.load_state_dict(kept)
    save_model(run / "model.safetensors", model, card)
    return TrainingFacts(
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        seconds=seconds,
        seed=config.seed,
        best_epoch=int(best["epoch"]) + 1,
        margin=getattr(triplet_loss_of(module.objective), "margin", None),
    )


def run_folder(config: TrainConfig) -> Path:
    """The folder that is asked for, or a new one called after the data.

    Raises:
        InputError: the folder asked for already holds a run.
    """
    if config.resume is not None:
        return config.resume
    output = config.output
    if output is None:
        return new_run_folder(Path(config.data).stem or "run")
    if (output / "config.yaml").exists():
        raise InputError(f"{output} already holds a run: continue it with --resume {output}, or choose another folder")
    output.mkdir(parents=True, exist_ok=True)
    return output


def load_items(config: TrainConfig) -> ItemTable:
    """Read the table and check all of it that the run uses; every problem is reported at once.

    Masks are looked at only where the segmentation term learns from them, identities with a single image only where
    the metric term needs pairs, and matching pairs are asked of val and test only where there is an embedding.
    A resumed run keeps the split that it was started with.

    Raises:
        DataError: the table has problems.
    """
    table = load_source(config.data, root=config.root, split=config.split, seed=config.seed, pairs=config.judges_pairs)
    if not table.problems:
        table = with_calibration(table, config.calibration, config.seed)
    for note in table.notes:
        print(note, file=sys.stderr)
    channels = config.model.mask_channels
    found = examine(
        replace(table, reading=Reading(mask_values=config.images.mask_values)),
        masks=config.learns_masks,
        mask_ids=None if channels == "auto" else max(channels, 2),  # one channel tells background and foreground
        identities=config.learns_embedding,
    )
    if found.problems:
        raise DataError(found.problems)
    for note in found.notes:
        print(note, file=sys.stderr)
    table = replace(table, reading=found.reading, notes=(*table.notes, *found.notes))
    table = table if config.resume is None else with_split_of(config.resume, table)
    if config.fpr_confidence is not None:
        check_promise(table, config.target_fpr, config.fpr_confidence)
    return table


def class_names(table: ItemTable) -> list[str]:
    """The classes that training items have, sorted: the outputs of the classification head."""
    training = table.frame.filter(table.frame["split"] == "train")
    names: list[str] = training["label"].drop_nulls().unique().sort().to_list()
    return names


def model_card(config: TrainConfig, data: ItemData) -> ModelCard:
    """The network that the settings and the data ask for.

    A head without data to learn from, or whose weight is 0, is left out. The embedding stays even with weight 0:
    verification is measured on it.
    """
    settings = config.model
    has_masks = data.table.frame["mask"].null_count() < len(data.table.frame)
    channels = mask_channels(data) if settings.mask_channels == "auto" else settings.mask_channels
    return ModelCard(
        model=Network(
            backbone=settings.backbone,
            num_classes=len(data.classes) if len(data.classes) > 1 and config.alpha > 0 else 0,
            mask_channels=channels if has_masks and config.beta > 0 else 0,
            embedding_dim=settings.embedding_dim,
            in_channels=config.images.channels,
            decoder=settings.decoder,
            decoder_channels=settings.decoder_channels,
            embedding_stage=settings.embedding_stage,
            pooling=settings.pooling,
            mask_pooling=settings.mask_pooling,
            dropout=settings.dropout,
        ),
        classes=data.classes,
        size=config.images.size,
        channels=config.images.channels,
        metric=config.metric,
        image_bits=data.table.reading.bits,
        mask_values=data.table.reading.mask_values,
    )


def mask_channels(data: ItemData) -> int:
    """1 where the training masks hold ids 0 and 1 only, else as many channels as the largest id asks for."""
    largest = data.dataset("train").largest_mask_id()
    return 1 if largest <= 1 else largest + 1


def check_margin_choice(config: TrainConfig, data: ItemData) -> None:
    """Raise an :class:`InputError` where ``--margin auto`` has nothing to choose by."""
    if config.metric_loss != "triplet":
        raise InputError(
            f"margin auto is for the triplet loss, not {config.metric_loss}: set it in metric_loss_options"
        )
    if monitored(data, config) != "val_tpr":
        raise InputError("margin auto needs validation images of two identities or more: give a number, such as 0.2")


def objective(config: TrainConfig, criterion: nn.Module) -> MultiTaskObjective:
    """The run's loss with the metric term ``criterion``."""
    return MultiTaskObjective(
        alpha=config.alpha,
        beta=config.beta,
        gamma=config.gamma,
        triplet=criterion,
        weighting=config.loss.weighting,
        dice=config.loss.dice,
        label_smoothing=config.loss.label_smoothing,
    )


def build_trainer(config: TrainConfig, run: Path, *, monitored: str | None) -> pl.Trainer:
    """The Lightning trainer of a run.

    Args:
        config: the settings.
        run: the run folder.
        monitored: the validation figure that chooses the best checkpoint; ``None`` keeps the last only.
    """
    mode = "max" if monitored == "val_tpr" else "min"
    checkpoints = run / "checkpoints"
    callbacks: list[Callback] = [
        History(run / "history.csv"),
        EpochLines(),
    ]
    if monitored is not None:
        callbacks.append(
            ModelCheckpoint(
                checkpoints,
                filename=Path(BEST).stem,
                # The latest validation whose TPR is as good as the best: its step is the largest that was chosen.
                monitor="chosen_step" if monitored == "val_tpr" else monitored,
                mode=mode,
                # Whole, since a checkpoint of weights alone would hold the last weights, not their running average.
                save_weights_only=False,
                enable_version_counter=False,
            )
        )
        if config.trainer.patience > 0:
            callbacks.append(EarlyStopping(monitored, mode=mode, patience=config.trainer.patience))
    if config.optimizer.average > 0:
        callbacks.append(EMAWeightAveraging(decay=config.optimizer.average))
    callbacks.append(
        # After the best one, whose record it holds: what it resumes must compare with the best so far.
        ModelCheckpoint(
            checkpoints,
            filename=Path(LAST).stem,
            save_top_k=1,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
    )
    interactive = sys.stderr.isatty()
    if interactive:
        callbacks.append(TQDMProgressBar(refresh_rate=1))
    return pl.Trainer(
        max_epochs=config.epochs,
        accelerator=config.trainer.accelerator,
        devices=config.trainer.devices,
        precision=config.trainer.precision,
        gradient_clip_val=config.optimizer.clip or None,
        deterministic=config.trainer.deterministic,
        check_val_every_n_epoch=config.trainer.validate_every,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=TensorBoardLogger(run, name="tensorboard", version=""),
        enable_progress_bar=interactive,
        enable_model_summary=False,
        log_every_n_steps=10,
        use_distributed_sampler=False,
    )


def monitored(data: ItemData, config: TrainConfig) -> str | None:
    """The figure the best checkpoint is chosen by: validation TPR@FPR where it can be measured."""
    items = data.table.frame.filter(data.table.frame["split"] == "val")
    if len(items) == 0:
        return None
    if config.model.embedding_dim > 0 and why_not_verifiable(items["identity"].drop_nulls().to_numpy()) is None:
        return "val_tpr"
    return "val_classification" if config.alpha > 0 and len(data.classes) > 1 else "val_segmentation"


def best_checkpoint(run: Path) -> Path:
    """The best checkpoint of a run, or the last where none was chosen."""
    folder = run / "checkpoints"
    return folder / BEST if (folder / BEST).is_file() else folder / LAST


def quiet_lightning() -> None:
    """Keep Lightning's hints about hardware and loaders off the terminal; our own lines say what matters."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
