"""Settings of published recipes: each file is sound, and what is said on the command line goes before it."""

import pytest

from triune.data.sources.named import SOURCES
from triune.errors import InputError
from triune.run.parser import TRAIN, parse_train, read_config
from triune.run.recipes import RECIPES, recipe_of
from triune.run.settings import TrainConfig, as_plain
from triune.run.yaml_file import read_settings


@pytest.mark.parametrize("data", RECIPES)
def test_every_recipe_is_of_a_data_set_that_there_is_and_cites_where_it_is_from(data):
    path = recipe_of(data)
    assert data in SOURCES
    assert path.is_file()
    text = read_settings(path).replace("\n# ", " ")
    assert text.startswith("# ")
    assert any(year in text for year in ("CVPR 2020", "CVPR Workshops"))
    assert "What differs from theirs" in text
    assert "data:" not in text
    config = parse_train(["--data", data])
    assert config == TRAIN.parse(["--config", str(path), f"--data={data}"])
    assert config.data == data
    assert config.model.backbone == "resnet50"
    assert config != TrainConfig(data=data)


def test_a_recipe_says_what_its_publication_says():
    birds = parse_train(["--data=cub200"])
    assert (birds.metric_loss, birds.batch_size, birds.epochs, birds.model.embedding_dim) == (
        "proxy-anchor",
        120,
        40,
        512,
    )
    assert (birds.optimizer.lr, birds.optimizer.proxy_lr, birds.optimizer.weight_decay) == (1e-4, 1e-2, 1e-4)
    products = parse_train(["--data=sop"])
    assert (products.batch_size, products.epochs, products.optimizer.lr) == (180, 60, 6e-4)
    people = parse_train(["--data=market1501"])
    assert (people.batch_size, people.samples_per_class, people.mining, people.margin) == (64, 4, "batch_hard", 0.3)
    assert people.images.size == (256, 128)
    assert (people.optimizer.lr, people.loss.label_smoothing, people.images.augment.erase) == (3.5e-4, 0.1, 0.5)


def test_flags_and_files_go_before_the_recipe_and_leave_the_rest_of_it(tmp_path):
    (tmp_path / "own.yaml").write_text("data: cub200\nepochs: 3\noptimizer: {lr: 0.5}\n")
    config = parse_train(["--config", str(tmp_path / "own.yaml"), "--batch_size", "8", "--model.embedding_dim=64"])
    assert (config.data, config.epochs, config.batch_size, config.model.embedding_dim) == ("cub200", 3, 8, 64)
    assert (config.optimizer.lr, config.optimizer.proxy_lr, config.metric_loss) == (0.5, 1e-2, "proxy-anchor")
    assert parse_train(["--data", "cub200", "--metric_loss", "triplet"]).metric_loss == "triplet"
    flag_wins = parse_train([f"--config={tmp_path / 'own.yaml'}", "--data", "digits"])
    assert flag_wins.metric_loss == TrainConfig().metric_loss


def test_other_data_have_none_and_stored_settings_are_taken_as_they_are(tmp_path):
    assert recipe_of("digits") is None
    assert recipe_of("cub200.csv") is None
    assert parse_train(["--data", "digits"]) == TrainConfig()
    (tmp_path / "config.yaml").write_text("data: cub200\nepochs: 2\n")
    assert read_config(tmp_path / "config.yaml") == TrainConfig(data="cub200", epochs=2)


def test_what_is_wrong_with_a_file_that_names_the_data_is_told_as_ever(tmp_path):
    with pytest.raises(InputError, match="--config needs a YAML file"):
        parse_train(["--config"])
    (tmp_path / "own.yaml").write_text("data: [cub200]\n")
    with pytest.raises(InputError, match="data"):
        parse_train(["--config", str(tmp_path / "own.yaml")])


def test_the_recipe_stands_in_the_printed_settings(capsys):
    with pytest.raises(SystemExit):
        parse_train(["--data", "market1501", "--print_config"])
    printed = capsys.readouterr().out
    assert "mining: batch_hard" in printed
    assert "label_smoothing: 0.1" in printed
    assert as_plain(parse_train(["--data", "market1501"]))["mining"] == "batch_hard"
