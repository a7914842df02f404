"""From settings to a trained network in a run folder."""

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Final

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from torch import nn

from triune.data.batches import plan_of
from triune.data.calibration import check_promise, with_calibration
from triune.data.checks import examine
from triune.data.items import ItemTable
from triune.data.problems import DataError
from triune.data.reading import Reading
from triune.data.sources.named import Split, load_source
from triune.errors import InputError
from triune.model.adapters import merge_adapters
from triune.model.images import check_size
from triune.model.network import MultiTaskModel
from triune.model.objective import MultiTaskObjective
from triune.model.without_memory import without_memory
from triune.parallel.command import check_same
from triune.parallel.group import done_in_turn, read_by_all, sharing, told_by_first
from triune.run.card import ModelCard, Network
from triune.run.facts import TrainingFacts
from triune.run.folder import JUDGED, save_model, seal
from triune.run.loaders import ItemData
from triune.run.origin import images_of, read_origin
from triune.run.parser import one_line
from triune.run.places import MODEL
from triune.run.settings import TrainConfig
from triune.signals import Stopped, signal_of, stopped_by
from triune.training.averaging import WarmAverage
from triune.training.beginning import Beginning
from triune.training.budget import settled
from triune.training.callbacks import Clock, EpochLines, History
from triune.training.checkpoints import BEST, LAST, KeptCheckpoint, Resumable, WholeCheckpoints, best_checkpoint
from triune.training.choosing import check_margin_choice, monitored, unchoosable, unverifiable
from triune.training.event_log import EventLog
from triune.training.features import CachedFeatures, RowData, check_cachable
from triune.training.metric_loss import check_learnable, check_samples, metric_loss, over_processes
from triune.training.module import LoopSettings, TrainingModule, triplet_loss_of
from triune.training.plan import Estimate, plan
from triune.training.precision import warned
from triune.training.processes import Devices, OwnSignals, device_options, has_unused, with_joint_normalisation
from triune.training.resume import check_weights, checkpoint_to_resume, resumed_table, without_downloads
from triune.training.tuning import Freezing, check_chunk, check_steps, prepare_tuning, tuned

DOUBLE: Final = "64-true"
"""The precision whose numbers are made by turning the network into it: Lightning's way takes no typed batches."""


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
    if criterion is None:
        check_samples(config)
    for warning in unverifiable(config, data):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    loader = data.train_dataloader()
    if criterion is None:
        check_learnable(config, len(data.training_identities), plan_of(loader.batch_sampler))
    if config.augment.flip == "auto" and not data.augment.flip:
        print("images without colours are not mirrored; --images.augment.flip 0.5 does", file=sys.stderr, flush=True)
    config = settled(config, data, len(loader))
    for warning in unchoosable(config, data):
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    card = read_by_all(lambda: model_card(config, data), sharing())
    config = replace(config, model=replace(config.model, embedding_stage=card.model.embedding_stage))
    _require_something_to_learn(config, data, card)
    loop = LoopSettings(
        optimizer=config.optimizer,
        metric=config.metric,
        target_fpr=config.target_fpr,
        total_steps=len(loader) * config.whole_epochs,
        on_nonfinite=config.trainer.on_nonfinite,
        choose_margin=config.margin == "auto" and criterion is None,
        seed=config.seed,
        freeze=config.model.freeze,
        conflicts_every=config.loss.conflicts_every,
    )
    check_steps(config.model.freeze, loop.total_steps, config.loss.memory and config.loss.memory_start)
    if loop.choose_margin:
        check_margin_choice(config, data)
    origin = read_origin(run) if config.resume is not None else None
    last = None
    if config.resume is not None:
        last = read_by_all(lambda: checkpoint_to_resume(config, run, origin), sharing())
    # What the first one fetches is there for the others.
    model = done_in_turn(lambda: build_model(config if last is None else without_downloads(config), card))
    if config.model.cache_features:
        check_cachable(model)
    check_chunk(model, config.optimizer.chunk)
    prepare_tuning(model, config.model)
    for line in tuned(model, config):
        print(line, file=sys.stderr, flush=True)
    module = TrainingModule(
        with_joint_normalisation(model, config).to(memory_format=torch.channels_last),
        objective(
            config,
            over_processes(criterion or metric_loss(config, len(data.training_identities))),
            card.model,
            identities=bool(data.training_identities),
        ),
        loop,
    )
    if config.trainer.precision == DOUBLE:
        module.double()
    if last is not None:
        check_weights(last, module)
    record = Beginning(run, config, data, origin)
    clock = Clock()
    checkpoints = WholeCheckpoints(record.origin.run, last)
    devices = device_options(config, has_unused=sharing() is not None and _has_unused(module, config, card))
    tuning, batches = tuning_callbacks(config, data), RowData(data) if config.model.cache_features else data
    callbacks = [clock, record, Estimate(), OwnSignals(), *tuning]
    trainer = build_trainer(config, run, monitored(config, data), callbacks, checkpoints, devices)
    for line in plan(config, data, model, plan_of(loader.batch_sampler)):
        print(line, file=sys.stderr, flush=True)
    on_processor = trainer.strategy.root_device.type == "cpu"
    costly = warned(model, (card.channels, *card.size), config.trainer.precision, on_processor)
    if costly is not None:
        print(f"warning: {costly}", file=sys.stderr, flush=True)
    if last is None:
        record.write()
    _train(trainer, module, batches, last)
    data.trainer = batches.trainer = None  # where Lightning leaves itself, and by it network and optimiser
    record.write()

    def keep_best() -> TrainingFacts:
        best = best_checkpoint(run / "checkpoints", record.origin.run).content
        prefix = "model."
        kept = {name.removeprefix(prefix): t for name, t in best["state_dict"].items() if name.startswith(prefix)}
        model.float().load_state_dict(kept)
        merge_adapters(model)
        save_model(run / MODEL, model, card)
        seal(run, [MODEL, "history.csv"], outdated=JUDGED)
        return TrainingFacts(
            epochs=trainer.current_epoch,
            steps=trainer.global_step,
            seconds=clock.seconds,
            seed=config.seed,
            best_epoch=int(best["epoch"]) + 1,
            margin=getattr(triplet_loss_of(module.objective), "margin", None),
        )

    return told_by_first(keep_best)


def _require_something_to_learn(config: TrainConfig, data: ItemData, card: ModelCard) -> None:
    """Refuse items that give none of the three terms anything.

    Raises:
        InputError: they have neither classes, masks nor identities that are learnt from.
    """
    if card.model.num_classes or card.model.mask_channels or (config.learns_embedding and data.training_identities):
        return
    weights = f"alpha {config.class_weight:g}, beta {config.beta:g} and gamma {config.gamma:g}"
    raise InputError(
        f"{config.data} has nothing to learn from: with {weights} the training images need two classes (label), masks "
        "(mask) or identities (identity)"
    )


def _has_unused(module: TrainingModule, config: TrainConfig, card: ModelCard) -> bool:
    """Whether there are weights that the loss never depends on: of the network, or of a metric loss of no weight."""
    size = card.size
    idle = not config.learns_embedding and any(True for _ in module.objective.triplet.parameters())
    return idle or has_unused(module.model, size, card.channels)


def _train(trainer: pl.Trainer, module: TrainingModule, data: pl.LightningDataModule, last: Resumable | None) -> None:
    """Let Lightning train; a signal comes out as the exception that it raised."""
    path = None if last is None else str(last.path)
    try:
        # Lightning's progress bar writes to stdout, which is for results.
        with redirect_stdout(sys.stderr):
            trainer.fit(module, data, ckpt_path=path, weights_only=True)
    # Lightning makes a SystemExit of a signal, or fails while it cleans up after it.
    except (SystemExit, Exception) as error:
        stopped = stopped_by(error)
        if stopped is None and not isinstance(error, SystemExit):
            raise
        raise Stopped(signal.SIGINT if stopped is None else signal_of(stopped)) from error


def build_model(config: TrainConfig, card: ModelCard) -> MultiTaskModel:
    """The network of a card, with the weights that it begins with."""
    weights = config.model.weights
    pretrained = config.model.pretrained and weights is None
    model = MultiTaskModel(
        **card.model.model_dump(), pretrained=pretrained, weights=weights, drop_path=config.model.drop_path
    )
    note = check_size(model, card.model.backbone, card.size)
    if note is not None:
        print(note, file=sys.stderr, flush=True)
    return model


def tuning_callbacks(config: TrainConfig, data: ItemData) -> list[Callback]:
    """What keeps a backbone frozen, and its features at hand."""
    found: list[Callback] = []
    if config.model.freeze or config.model.adapter_rank:
        found.append(Freezing(config.model.freeze, adapted=config.model.adapter_rank > 0))
    if config.model.cache_features:
        found.append(CachedFeatures(data))
    return found


def load_items(config: TrainConfig) -> ItemTable:
    """Read the table and check all of it that the run uses; every problem is reported at once.

    Masks are looked at only where the segmentation term learns from them, identities with a single image only where
    batches are to hold pairs, and matching pairs are asked of val and test only where there is an embedding.
    A resumed run keeps the split that it was started with, and how its pixels are read: nothing is chosen anew.

    Raises:
        DataError: the table has problems.
    """
    origin = None if config.resume is None else read_origin(config.resume)
    split: Split = config.split if origin is None else "given"
    table = load_source(
        config.data,
        root=config.root,
        split=split,
        seed=config.seed,
        pairs=config.judges_pairs,
        holdout="auto" if config.alpha == "auto" else "always" if config.alpha > 0 else "never",
    )
    if not table.problems:
        if origin is None:
            table = with_calibration(table, config.calibration, config.seed)
        if config.resume is not None:
            table = resumed_table(config, config.resume, table)
    said = table.notes if origin is None else tuple(origin.notes)
    asked = Reading(mask_values=config.images.mask_values or table.reading.mask_values)
    settled = asked if origin is None else Reading(origin.image_bits, origin.mask_values)
    channels = config.model.mask_channels
    found = examine(
        replace(table, reading=settled),
        masks=config.learns_masks,
        mask_ids=None if channels == "auto" else max(channels, 2),  # one channel tells background and foreground
        identities=config.learns_embedding and config.samples_per_class != 1,
        choose=origin is None,
    )
    for note in table.notes:
        print(note, file=sys.stderr)
    if found.problems:
        raise DataError(found.problems)
    for note in found.notes:
        print(note, file=sys.stderr)
    if origin is None:
        said, settled = (*said, *found.notes), found.reading
    table = replace(table, reading=settled, notes=said)
    if config.fpr_confidence is not None:
        check_promise(table, config.target_fpr, config.fpr_confidence)
    return table


def training_data(config: TrainConfig, run: Path) -> ItemData:
    """The checked items of a run that begins or goes on; one that goes on keeps its split and its codes.

    Raises:
        DataError: the table has problems.
        InputError: the data of a run that goes on have changed.
    """
    table = load_items(config)
    origin = None if config.resume is None else read_origin(run)
    if config.resume is None:
        return ItemData(table, config, class_names(table))
    images = images_of(config, origin)
    if origin is None:
        return ItemData(table, config, class_names(table), images=images)
    return ItemData(table, config, origin.classes, origin.identities, images)


def shared_data(config: TrainConfig, run: Path) -> ItemData:
    """:func:`training_data` in every process: the first one reads, and fetches, before the others do.

    Raises:
        InputError: one cannot read them, or they are not the same in all processes.
    """
    data = done_in_turn(lambda: training_data(config, run))
    if sharing() is not None:
        rows = np.frombuffer(data.table.frame.write_csv().encode(), dtype=np.uint8)
        check_same({f"the data {config.data}": rows}, sharing())
    return data


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
    stage = settings.embedding_stage
    network = Network(
        backbone=settings.backbone,
        num_classes=len(data.classes) if len(data.classes) > 1 and config.class_weight > 0 else 0,
        mask_channels=channels if has_masks and config.beta > 0 else 0,
        embedding_dim=settings.embedding_dim,
        in_channels=config.images.channels,
        decoder=settings.decoder,
        decoder_channels=settings.decoder_channels,
        embedding_stage=-1 if stage == "auto" else stage,
        pooling=settings.pooling,
        mask_pooling=settings.mask_pooling,
        dropout=settings.dropout,
    )
    if stage == "auto":
        with without_memory():
            suited = MultiTaskModel(**network.model_dump(), pretrained=False).suited_stage(data.images.size)
        network = network.model_copy(update={"embedding_stage": suited})
    return ModelCard(
        model=network,
        classes=data.classes,
        **data.images.model_dump(),
        channels=config.images.channels,
        metric=config.metric,
        image_bits=data.table.reading.bits,
        mask_values=data.table.reading.mask_values,
    )


def mask_channels(data: ItemData) -> int:
    """1 where the training masks hold ids 0 and 1 only, else as many channels as the largest id asks for."""
    largest = data.dataset("train").largest_mask_id()
    return 1 if largest <= 1 else largest + 1


def objective(
    config: TrainConfig, criterion: nn.Module, network: Network, *, identities: bool = True
) -> MultiTaskObjective:
    """The run's loss; a task that has no head, or no item to learn from, has no weight: no weighting counts it.

    Args:
        config: the settings.
        criterion: the metric term.
        network: which heads there are.
        identities: whether there are any to train on.
    """
    return MultiTaskObjective(
        alpha=config.class_weight if network.num_classes else 0.0,
        beta=config.beta if network.mask_channels else 0.0,
        gamma=config.gamma if network.embedding_dim and identities else 0.0,
        triplet=criterion,
        weighting=config.loss.weighting,
        dice=config.loss.dice,
        label_smoothing=config.loss.label_smoothing,
    )


def build_trainer(
    config: TrainConfig,
    run: Path,
    monitored: str | None,
    callbacks: Sequence[Callback],
    checkpoint_files: WholeCheckpoints,
    devices: Devices = ({"devices": 1}, ()),
) -> pl.Trainer:
    """The Lightning trainer of a run.

    Args:
        config: the settings.
        run: the run folder.
        monitored: the validation figure that chooses the best checkpoint; ``None`` keeps the last only.
        callbacks: more of them, called first.
        checkpoint_files: how checkpoints are written and read.
        devices: what Lightning is told of them, and the plugins for that.

    Raises:
        InputError: this machine has no such device.
    """
    mode = "max" if monitored == "val_tpr" else "min"
    checkpoints = run / "checkpoints"
    callbacks = [*callbacks, History(run / "history.csv"), EpochLines()]
    if monitored is not None:
        callbacks.append(
            KeptCheckpoint(
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
        callbacks.append(WarmAverage(config.optimizer.average))
    callbacks.append(
        # After the best one, whose record it holds: what it resumes must compare with the best so far.
        KeptCheckpoint(
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
    device, (options, plugins) = config.trainer, devices
    try:
        return pl.Trainer(
            max_epochs=config.whole_epochs,
            accelerator=device.accelerator,
            precision="32-true" if device.precision == DOUBLE else device.precision,
            gradient_clip_val=config.optimizer.clip or None,
            deterministic=device.deterministic,
            check_val_every_n_epoch=device.validate_every,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[checkpoint_files, *plugins],
            logger=EventLog(run, name="tensorboard", version=""),
            enable_progress_bar=interactive,
            enable_model_summary=False,
            log_every_n_steps=10,
            use_distributed_sampler=False,
            **options,
        )
    except (MisconfigurationException, RuntimeError) as error:  # no such device here
        asked = f"--trainer.accelerator {device.accelerator} --trainer.devices {device.devices}"
        raise InputError(f"{asked}: {one_line(str(error))}") from error


def quiet_lightning() -> None:
    """Keep Lightning's hints about hardware and loaders off the terminal; our own lines say what matters."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
