"""From the settings of a run to its metric term, and runs that learn with one."""

from pathlib import Path

import pytest
import torch

from training.test_train import TINY, train_only, write_items
from triune.cli import main
from triune.errors import InputError
from triune.evaluation.results import Results
from triune.losses.memory import CrossBatchMemory
from triune.losses.proxies import ArcFaceLoss
from triune.losses.softmax import SupConLoss
from triune.losses.triplet import TripletLoss
from triune.losses.weighted import CircleLoss
from triune.run.loaders import ItemData
from triune.run.parser import parse_train
from triune.run.settings import TrainConfig
from triune.training.metric_loss import FIRST_MARGIN, check_learnable, check_samples, metric_loss
from triune.training.train import class_names, load_items, training_data


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("items"))


def criterion(*flags):
    return metric_loss(parse_train(["--data", "x.csv", *flags]), identities=5)


def test_the_triplet_loss_is_the_default_with_the_settings_of_the_run():
    made = criterion("--margin", "0.3", "--mining", "hard", "--loss.reduction", "sum")
    assert isinstance(made, TripletLoss)
    assert (made.margin, made.mining, made.reduction, made.metric) == (0.3, "hard", "sum", "cosine")


def test_a_proxy_loss_has_a_proxy_for_each_training_identity_as_long_as_an_embedding():
    assert criterion("--metric_loss", "arcface", "--model.embedding_dim", "24").proxies.shape == (5, 24)


def test_auto_begins_with_a_margin_of_its_own():
    assert criterion("--margin", "auto").margin == FIRST_MARGIN


def test_a_memory_wraps_losses_with_a_reference_set_and_no_other():
    made = criterion("--loss.memory", "100", "--loss.memory_start", "5", "--margin", "0.4")
    assert isinstance(made, CrossBatchMemory)
    assert (made.size, made.start, made.criterion.margin) == (100, 5, 0.4)
    made = criterion("--loss.memory", "100", "--metric_loss", "circle")
    assert isinstance(made, CrossBatchMemory)
    assert isinstance(made.criterion.criterion, CircleLoss)
    with pytest.raises(InputError, match="not arcface"):
        criterion("--loss.memory", "100", "--metric_loss", "arcface")


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
    assert Results.read(run / "metrics.json").models[0].verification["test"].auc >= 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    learnt = [key for key in checkpoint["state_dict"] if key.startswith("objective.triplet.")]
    assert bool(learnt) == (name != "sup-con")
    if learnt:
        rates = [group["initial_lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]
        assert rates == [1e-3, 1e-3, 1e-2]
    assert train_only(["--resume", str(run), "--epochs", "3"]).epochs == 3  # takes the proxies along


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


def test_a_single_image_of_an_identity_is_for_losses_that_need_no_pair():
    one = ["--data", "x.csv", "--samples_per_class", "1"]
    for name in ("arcface", "proxy-anchor", "pml:ArcFaceLoss"):
        check_samples(parse_train([*one, "--metric_loss", name]))
    check_samples(parse_train([*one, "--gamma", "0"]))
    for name in ("triplet", "nt-xent"):
        with pytest.raises(InputError, match=f"--samples_per_class is 1, and metric_loss {name} learns from pairs"):
            check_samples(parse_train([*one, "--metric_loss", name]))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--batch_size 2", r"--batch_size 2 has room for one identity of 2 images.*give --batch_size 4 or more"),
        ("--batch_size 4 --samples_per_class 4", r"--batch_size 4 has room for one identity of 4 images"),
        ("--batch_size 2 --gamma 0", None),
        ("--batch_size 2 --loss.memory 64", None),
        ("--batch_size 2 --metric_loss arcface", None),
        ("--batch_size 4", None),
    ],
)
def test_a_batch_without_a_second_identity_is_refused_where_the_loss_needs_one(table, flags, said):
    config = parse_train(["--data", str(table), *flags.split()])
    data = training_data(config, Path())
    batches = data.train_dataloader().batch_sampler
    if said is None:
        check_learnable(config, len(data.training_identities), batches)
        return
    with pytest.raises(InputError, match=said):
        check_learnable(config, len(data.training_identities), batches)


def test_a_single_identity_is_refused_in_words():
    with pytest.raises(InputError, match=r"split train: there is 1 identity, so there is no other to tell it from"):
        check_learnable(TrainConfig(), 1, None)
    check_learnable(TrainConfig(gamma=0), 1, None)
    check_learnable(TrainConfig(), 0, None)  # no identity at all: classes and masks are learnt
