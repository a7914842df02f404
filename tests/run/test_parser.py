import pytest
import yaml

from triune.errors import InputError
from triune.run.parser import parse_train
from triune.run.settings import TrainConfig, as_plain


def test_no_flags_give_the_defaults():
    assert parse_train([]) == TrainConfig()


def test_short_and_dotted_flags_reach_their_settings():
    config = parse_train(
        ["--alpha", "2", "--margin", "soft", "--model.embedding_dim", "64", "--images.augment.flip", "0"]
    )
    assert (config.alpha, config.margin) == (2.0, "soft")
    assert config.model.embedding_dim == 64
    assert config.images.augment.flip == 0.0


def test_hyphens_are_underscores_in_the_names_of_flags_only():
    flags = ["--batch-size", "32", "--metric-loss=sup-con", "--model.embedding-dim=8", "--data", "my-items.csv"]
    config = parse_train(flags)
    assert (config.batch_size, config.metric_loss, config.model.embedding_dim) == (32, "sup-con", 8)
    assert config.data == "my-items.csv"


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 3\nseed: 7\nmodel:\n  backbone: resnet10t\n")
    config = parse_train(["--config", str(file), "--seed", "8"])
    assert (config.epochs, config.seed, config.model.backbone) == (3, 8, "resnet10t")
    assert config.model.embedding_dim == TrainConfig().model.embedding_dim


def test_written_settings_read_back_equal(tmp_path):
    config = parse_train(["--run", "runs/x", "--model.decoder_channels", "[8,8,8,8,8]", "--margin", "0.5"])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(as_plain(config)))
    assert parse_train(["--config", str(file)]) == config


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--alpha", "much"], "alpha"),
        (["--mining", "softest"], "mining"),
        (["--model.size", "3"], "--model.size"),
        (["--images.augment.crop", "7"], "augment.crop"),
        (["--config", "no-such.yaml"], "no-such.yaml"),
        (["--resume", "no-such-run"], "no-such-run"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(flags, named):
    with pytest.raises(InputError) as caught:
        parse_train(flags)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
