"""What a training says before it begins: counts that are those of the table, the network and the loader."""

from dataclasses import replace

import pytest

from evaluation.conftest import untrained_run, write_items
from triune.plurals import plural
from triune.run.folder import load_model
from triune.training.plan import in_words, plan


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
