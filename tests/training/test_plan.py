"""What a training says before it begins: counts that are those of the table, the network and the loader."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from evaluation.conftest import untrained_run, write_items
from triune.plurals import plural
from triune.run.folder import load_model
from triune.training import plan as plans
from triune.training.plan import Estimate, in_words, plan


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.6, "60 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 hours")],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert in_words(seconds) == words


def test_the_lines_hold_the_numbers_of_the_table_the_network_and_the_loader(tmp_path):
    config, data = untrained_run(tmp_path / "run", write_items(tmp_path))
    model, _ = load_model(tmp_path / "run", "cpu")
    loader = data.train_dataloader()
    data_line, network, length, *more = plan(config, data, model, loader.batch_sampler)
    assert more == ["batches of 12 images, since there are no more"]
    for split, verb in (("train", "trains"), ("val", "validates"), ("test", "tests")):
        part = data.table.part(split)
        assert f"{verb} on {len(part)} images of {part['identity'].n_unique()} identities" in data_line
    weights = sum(p.numel() for p in model.parameters())
    assert f"{weights / 1e6:.1f} M parameters" in network
    assert "images of 48 x 48 pixels" in network
    assert f"embedding of {model.embedding_dim}" in network
    steps = len(loader)
    assert f"{config.whole_epochs} epochs of {plural(steps, 'step')} of" in length
    assert length.endswith(f"{config.whole_epochs * steps:,} steps")
    alone = replace(config, alpha=0.0, beta=0.0, loss=replace(config.loss, weighting="gradnorm"))
    said = "loss.weighting gradnorm weighs several tasks, and there is one: it changes nothing"
    assert plan(alone, data, model, loader.batch_sampler)[-1] == said
    assert said not in plan(replace(alone, alpha=1.0), data, model, loader.batch_sampler)
    for parameter in model.parameters():
        parameter.requires_grad = False
    assert ", of which 0 are trained" in plan(config, data, model, loader.batch_sampler)[1]


@pytest.mark.parametrize(
    ("seconds", "epoch", "total", "at", "said"),
    [
        (0.5, 50, 100, 21, "about 40 s to train at 0.50 s a step\n"),
        (6.0, 50, 100, 3, "about 10 min to train at 6.00 s a step\n"),
        (0.5, 3, 9, 3, "about 3 s to train at 0.50 s a step\n"),
        (0.5, 3, 3, 3, ""),
    ],
)
def test_the_time_is_told_once_after_some_steps_or_seconds_or_the_first_epoch(
    seconds, epoch, total, at, said, monkeypatch, capsys
):
    now, estimate = [7.0], Estimate()
    monkeypatch.setattr(plans.time, "monotonic", lambda: now[0])
    told = []
    for step in range(1, total + 1):
        now[0] += seconds
        trainer = SimpleNamespace(
            is_global_zero=True, is_last_batch=step % epoch == 0, estimated_stepping_batches=total, global_step=step
        )
        estimate.on_train_batch_end(trainer, None)
        told.append(capsys.readouterr().err)
    assert [place for place, line in enumerate(told, start=1) if line] == ([at] if said else [])
    assert told[at - 1] == said
