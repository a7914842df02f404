"""The metric term by name: ours and the peer's, with what they learn, and what is said of a wrong one."""

import json

import pytest
import torch
from pytorch_metric_learning import losses as peer

from training.test_train import TINY, write_items
from triune.cli import main
from triune.errors import InputError
from triune.losses.memory import CrossBatchMemory
from triune.losses.names import PAIR_LOSSES, PROXY_LOSSES, ArcFaceLoss
from triune.losses.softmax import SupConLoss
from triune.losses.triplet import TripletLoss
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.training.metric_loss import metric_loss
from triune.training.train import class_names, load_items


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


def criterion(*flags):
    return metric_loss(parse_train(["--data", "x.csv", *flags]), identities=5)


def test_the_triplet_loss_is_the_default_with_the_settings_of_the_run():
    made = criterion("--margin", "0.3", "--mining", "hard", "--loss.reduction", "sum")
    assert isinstance(made, TripletLoss)
    assert (made.margin, made.mining, made.reduction, made.metric) == (0.3, "hard", "sum", "cosine")


@pytest.mark.parametrize("name", [*PAIR_LOSSES, *PROXY_LOSSES])
def test_every_name_makes_its_loss(name):
    made = criterion("--metric_loss", name)
    made = made.criterion if name in PAIR_LOSSES else made  # of the joined batch of all processes
    assert type(made) is {**PAIR_LOSSES, **PROXY_LOSSES}[name]
    if name in PROXY_LOSSES:
        assert made.proxies.shape[0] == 5
        assert made.proxies.shape[-1] == 128


def test_a_memory_wraps_the_triplet_loss_and_no_other():
    made = criterion("--loss.memory", "100", "--loss.memory_start", "5", "--margin", "0.4")
    assert isinstance(made, CrossBatchMemory)
    assert (made.size, made.start, made.criterion.margin) == (100, 5, 0.4)
    with pytest.raises(InputError, match="not circle"):
        criterion("--loss.memory", "100", "--metric_loss", "circle")


def test_options_and_dashes_are_taken():
    made = criterion("--metric-loss=sup-con", "--metric_loss_options.temperature", "0.2").criterion
    assert isinstance(made, SupConLoss)
    assert made.temperature == 0.2
    made = criterion("--metric-loss", "arcface", "--metric-loss-options", '{"margin": 0.4, "scale": 30}')
    assert isinstance(made, ArcFaceLoss)
    assert made.settings == {"margin": 0.4, "scale": 30}
    assert criterion("--metric_loss", "margin").criterion.beta.ndim == 0
    made = criterion("--metric_loss", "margin", "--metric_loss_options.num_classes", "auto")
    assert len(made.criterion.beta) == 5


@pytest.mark.parametrize("name", ["TripletMarginLoss", "ArcFaceLoss", "SubCenterArcFaceLoss", "SoftTripleLoss"])
def test_any_loss_of_the_peer_is_made_with_the_sizes_it_needs(name):
    made = criterion("--metric_loss", f"pml:{name}")
    assert isinstance(made, getattr(peer, name))
    x = torch.nn.functional.normalize(torch.randn(8, 128, requires_grad=True))
    assert torch.isfinite(made(x, torch.arange(8) % 4))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metric_loss", "arcfase"], "known are triplet, contrastive"),
        (["--metric_loss", "pml:NoSuchLoss"], "no loss 'NoSuchLoss'"),
        (["--metric_loss", "pml:functools"], "no loss 'functools'"),
        (["--metric_loss", "circle", "--metric_loss_options.nope", "1"], "its options are margin, gamma, normalize"),
        (["--metric_loss", "arcface", "--images.collages", "4"], "collages"),
    ],
)
def test_what_cannot_be_made_says_why(flags, words):
    with pytest.raises(InputError, match=words):
        criterion(*flags)


@pytest.mark.parametrize("name", ["arcface", "sup-con", "pml:ProxyAnchorLoss"])
def test_a_run_learns_with_it(table, tmp_path, name):
    run = tmp_path / "run"
    flags = ["--data", str(table), "--output", str(run), "--epochs", "2", "--metric-loss", name]
    assert main(["train", *flags, *TINY]) == 0
    assert json.loads((run / "metrics.json").read_text())["verification"]["trained"]["test"]["auc"] >= 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    learnt = [key for key in checkpoint["state_dict"] if key.startswith("objective.triplet.")]
    assert bool(learnt) == (name != "sup-con")
    if learnt:
        rates = [group["initial_lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]
        assert rates == [1e-3, 1e-3, 1e-2]
    # Resuming takes the proxies along.
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 0


def test_training_identities_are_numbered_first(table):
    config = parse_train(["--data", str(table)])
    items = load_items(config)
    data = ItemData(items, config, class_names(items))
    codes = data.dataset("train").identity_codes
    assert sorted(codes.unique().tolist()) == list(range(len(data.training_identities)))
    assert len(set(data.identities)) == len(data.identities) == 8


def test_an_unknown_name_ends_with_code_2(table, capsys):
    assert main(["train", "--data", str(table), "--metric_loss", "arcfase", *TINY]) == 2
    assert "there is no metric_loss 'arcfase'" in capsys.readouterr().err
