"""What flags say by themselves."""

import pytest

from triune.errors import InputError
from triune.run.given_flags import value_of
from triune.run.parser import parse_train


@pytest.mark.parametrize(
    ("arguments", "value"),
    [(["--a", "1"], "1"), (["--a=1=2"], "1=2"), (["--ab", "1"], None), (["--a"], None), ([], None)],
)
def test_a_flag_s_value_follows_it_or_stands_behind_its_sign(arguments, value):
    assert value_of("--a", arguments) == value


@pytest.mark.parametrize("flags", [["--steps", "9", "--epochs", "2"], ["--epochs=auto", "--steps=9"]])
def test_steps_and_epochs_at_once_are_refused_and_a_file_s_epochs_give_way(flags, tmp_path):
    with pytest.raises(InputError, match=r"--steps and --epochs are both given, and each says how long to train"):
        parse_train(flags)
    (tmp_path / "c.yaml").write_text("epochs: 3\n")
    assert parse_train(["--config", str(tmp_path / "c.yaml"), "--steps", "9"]).steps == 9


@pytest.mark.parametrize("flags", [["--margin", "0.5"], ["--mining=hard"], ["--margin", "auto"]])
def test_what_another_loss_would_not_look_at_is_refused(flags, tmp_path):
    with pytest.raises(InputError, match=rf"{flags[0][:8]} is for the triplet loss, not arcface: leave it away"):
        parse_train([*flags, "--metric_loss", "arcface"])
    parse_train(flags)
    (tmp_path / "c.yaml").write_text("margin: 0.5\nmining: hard\n")  # as a recipe has it
    assert parse_train(["--config", str(tmp_path / "c.yaml"), "--metric_loss", "arcface"]).margin == 0.5
