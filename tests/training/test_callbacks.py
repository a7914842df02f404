"""What training writes down: history.csv and a line an epoch, of a loop so small that every figure is known."""

import math

import lightning.pytorch as pl
import polars
import torch
from torch.utils.data import DataLoader

from triune.run.history import COLUMNS, read_history
from triune.training import callbacks
from triune.training.callbacks import Clock, EpochLines, History

STEPS = 3


class Counting(pl.LightningModule):
    """Logs the number of the step as a loss, and of the epoch as a validation figure."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        step = float(self.global_step + 1)
        self.log_dict({"train_total": step, "train_active_share": math.nan, "unknown": 7.0}, batch_size=1)
        return (self.weight * step).sum()

    def validation_step(self, batch, index):
        self.log("val_tpr", (self.current_epoch + 1) / 4, batch_size=1)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def run(*callbacks, epochs=2, checks=0, validate=True, **options):
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=list(callbacks), accelerator="cpu", num_sanity_val_steps=checks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    loaders = [DataLoader(torch.zeros(STEPS, 1))] * (2 if validate else 1)
    trainer.fit(Counting(), *loaders)
    return trainer


def test_history_has_a_row_a_step_and_validations_in_the_row_of_the_step_before(tmp_path):
    run(History(tmp_path / "history.csv"))
    read = read_history(tmp_path / "history.csv")
    assert read["epoch"].to_list() == [0] * STEPS + [1] * STEPS
    assert read["step"].to_list() == read["train_total"].to_list() == list(range(1, 2 * STEPS + 1))
    assert read["val_tpr"].to_list() == [None, None, 0.25, None, None, 0.5]
    assert read["train_active_share"].null_count() == len(read)  # NaN
    # The rate of the next step: the schedule has moved on.
    assert read["lr"].to_list() == [0.5 ** (step + 2) for step in range(2 * STEPS)]
    assert read.columns == list(COLUMNS)


def test_history_is_there_after_every_validation_and_also_without_any(tmp_path):
    path = tmp_path / "history.csv"
    lengths = []

    class Look(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            lengths.append(len(read_history(path)) if path.exists() else 0)

    run(History(path), Look())
    assert lengths == [0, STEPS]
    path.unlink()
    run(History(path), validate=False)
    assert len(read_history(path)) == 2 * STEPS


def test_a_resumed_history_goes_on_after_the_rows_of_the_checkpoint(tmp_path):
    first = History(tmp_path / "first.csv")
    run(first, epochs=1)
    second = History(tmp_path / "second.csv")
    second.load_state_dict(first.state_dict())
    run(second, epochs=1)
    assert read_history(tmp_path / "second.csv")["step"].to_list() == [1, 2, 3] * 2
    assert len(first.state_dict()["rows"]) == STEPS  # the rows of one are not those of the other
    assert polars.read_csv(tmp_path / "first.csv").height == STEPS


def test_lightnings_trial_of_the_validation_leaves_the_last_figures_of_a_resumed_run(tmp_path):
    history = History(tmp_path / "history.csv")
    history.load_state_dict({"rows": [{"epoch": 0, "step": 1, "lr": 0.5, "val_tpr": 0.875}]})
    run(history, epochs=1, checks=1)
    assert read_history(tmp_path / "history.csv")["val_tpr"].to_list() == [0.875, None, None, 0.25]


def test_each_epoch_is_told_in_one_line_of_the_figures_that_there_are(capsys):
    run(EpochLines(), epochs=2)
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("epoch")]
    assert [line.rpartition("  ")[0] for line in lines] == [
        "epoch 1/2  loss 3.000  val TPR 0.250",
        "epoch 2/2  loss 6.000  val TPR 0.500",
    ]
    assert all(0 <= float(line.split()[-2]) < 60 for line in lines)
    assert "epoch" not in told.out


def test_only_the_first_process_writes_and_tells(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pl.Trainer, "is_global_zero", False)
    run(History(tmp_path / "history.csv"), EpochLines(), epochs=1)
    assert not (tmp_path / "history.csv").exists()
    assert "epoch 1" not in capsys.readouterr().err


def test_the_clock_goes_on_where_a_checkpoint_stopped_it(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    first, second = Clock(), Clock()
    first.on_fit_start(None, None)
    now[0] += 7
    stored = first.state_dict()
    now[0] += 50  # stopped, and later
    second.load_state_dict(stored)
    second.on_fit_start(None, None)
    now[0] += 3
    assert (first.seconds, second.seconds) == (60, 10)
