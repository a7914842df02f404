from pathlib import Path

import pytest
import yaml
from pydantic.dataclasses import dataclass

from triune.commands.evaluate import EvaluateConfig
from triune.commands.verify import VerifyConfig
from triune.errors import InputError
from triune.ranges import PositiveInt
from triune.run.parser import Command, parse_train, read_config
from triune.run.settings import TrainConfig, as_plain

EVALUATE = Command("triune evaluate", "Judge.", EvaluateConfig, words=("run",))
VERIFY = Command("triune verify", "Compare.", VerifyConfig, words=("run", "first", "second"), has_config=False)


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
    config = parse_train(["--output", "runs/x", "--model.decoder_channels", "[8,8,8,8,8]", "--margin", "0.5"])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(as_plain(config)))
    assert parse_train(["--config", str(file)]) == config


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--alpha", "much"], "alpha"),
        (["--mining", "softest"], "mining"),
        (["--model.size", "3"], "--model.size"),
        (
            ["--images.augment.crop", "7"],
            "--images.augment.crop is 7.0: it takes a number of more than 0 and at most 1",
        ),
        (["--margin", "-1"], "--margin is -1: it takes a number of at least 0, soft or auto"),
        (["--trainer.devices", "0"], "--trainer.devices is 0: it takes a whole number of at least 1 or auto"),
        (["--model.decoder_channels", "[8, 0]"], "--model.decoder_channels"),
        (["--beta", "-1", "--seed", "-1"], "--beta is -1.0: it takes a number of at least 0; --seed is -1"),
        (["--alpha", "0", "--beta", "0", "--gamma", "0"], "alpha, beta and gamma are all 0"),
        (["--metrics", "cosine"], "there is no setting --metrics, did you mean --metric?"),
        (["--epoch", "3"], "there is no setting --epoch, did you mean --epochs?"),
        (["--run", "runs/x"], "did you mean --output?"),
        (["items.csv"], "items.csv"),
        (["--data"], "--data"),
        (["--config", "no-such.yaml"], "no-such.yaml"),
        (["--resume", "no-such-run"], "no-such-run"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(flags, named):
    with pytest.raises(InputError) as caught:
        parse_train(flags)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def printed(capsys, command, *flags):
    with pytest.raises(SystemExit) as ended:
        command.parse(flags)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_value_out_of_range_in_a_file_is_named_as_its_flag(tmp_path):
    (tmp_path / "c.yaml").write_text("optimizer: {lr: -1}\n")
    with pytest.raises(InputError, match=r"--optimizer\.lr is -1"):
        parse_train(["--config", str(tmp_path / "c.yaml")])
    (tmp_path / "c.yaml").write_text("model: {size: 3}\n")
    with pytest.raises(InputError, match="size"):
        parse_train(["--config", str(tmp_path / "c.yaml")])


def test_settings_of_older_runs_are_read_and_what_they_called_run_is_output(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "data: items.csv\nrun: runs/items-1\nresume: null\nepochs: 3\noptimizer: {lr: 1e-3}\n"
    )
    config = read_config(tmp_path / "config.yaml")
    assert (config.data, config.output, config.epochs) == ("items.csv", Path("runs/items-1"), 3)
    assert parse_train(["--resume", str(tmp_path), "--epochs", "4"]).epochs == 4


def test_the_shown_settings_are_those_that_are_read(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(printed(capsys, Command("triune train", "", TrainConfig), "--print_config"))
    assert parse_train(["--config", str(tmp_path / "c.yaml")]) == TrainConfig()
    shown = printed(capsys, EVALUATE, "runs/a", "--level", "0.9", "--json", "--print_config")
    (tmp_path / "e.yaml").write_text(shown)
    expected = EvaluateConfig(run=Path("runs/a"), level=0.9, json=True)
    assert EVALUATE.parse(["--config", str(tmp_path / "e.yaml")]) == expected


def test_a_file_of_defaults_is_overridden_by_config_and_flags(tmp_path):
    (tmp_path / "defaults.yaml").write_text("epochs: 3\nseed: 3\nalpha: 3\n")
    (tmp_path / "c.yaml").write_text("seed: 4\nalpha: 4\n")
    command = Command("triune demo", "", TrainConfig, defaults=tmp_path / "defaults.yaml")
    config = parse_train(["--config", str(tmp_path / "c.yaml"), "--alpha", "5"], command)
    assert (config.epochs, config.seed, config.alpha) == (3, 4, 5.0)


def test_words_without_a_flag_come_in_their_order():
    assert VERIFY.parse(["r", "a.jpg", "--fpr", "0.01", "b.jpg"]) == VerifyConfig("r", "a.jpg", "b.jpg", fpr=0.01)
    assert EVALUATE.parse([]).run is None
    assert EVALUATE.parse(["r"]).run == Path("r")
    with pytest.raises(InputError, match="second"):
        VERIFY.parse(["r", "a.jpg"])


def test_a_yes_or_no_setting_alone_means_yes_and_takes_no_word_of_its_neighbours():
    assert EVALUATE.parse(["--json", "r"]) == EvaluateConfig(run=Path("r"), json=True)
    assert EVALUATE.parse(["--rerank", "--json", "false"]) == EvaluateConfig(rerank=True)
    assert parse_train(["--model.pretrained", "--epochs", "2"]).model.pretrained is True
    assert parse_train(["--model.pretrained", "no"]).model.pretrained is False


@pytest.mark.parametrize("command", [Command("triune train", "Train.", TrainConfig), EVALUATE, VERIFY])
def test_help_is_one_screen_with_every_short_flag_and_its_default(command, capsys):
    lines = printed(capsys, command, "--help").splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"usage: {command.name}")
    flags = [line.split()[0] for line in lines if line.startswith("  --")]
    if command.settings is TrainConfig:
        assert flags[:12] == [
            *("--data", "--epochs", "--steps", "--batch_size", "--alpha", "--beta", "--gamma"),
            *("--margin", "--mining", "--metric", "--seed", "--output"),
        ]
        assert "  --epochs auto            each shows every training image about once" in lines
        assert "--model.*" in lines[-1]
    assert not any("." in flag for flag in flags[:-1])


def test_all_help_names_every_setting_with_the_values_it_takes(capsys):
    text = printed(capsys, Command("triune train", "Train.", TrainConfig), "--help_all")

    def names(settings, above=""):
        for name, value in settings.items():
            if isinstance(value, dict) and value:
                yield from names(value, f"{above}{name}.")
            else:
                yield above + name

    for name in names(as_plain(TrainConfig())):
        assert f"\n  --{name}" in text, name
    assert "It takes a number of at least 0 and less than 1." in text
    assert "arcface" in text


def test_a_file_of_settings_is_named_with_what_is_wrong_in_it(tmp_path):
    path = tmp_path / "c.yaml"
    for content, says in (
        (b"epoch: 3\n", "did you mean epochs?"),
        (b"model: {size: 3}\n", "there is no setting model.size, did you mean images.size?"),
        (b"- 1\n", "holds no settings"),
        (b"epochs: 1\nepochs: 2\n", "twice"),
        (b"\xff", "not UTF-8"),
        (b"a: [" * 50, "nested"),
        (b"seed: " + b"9" * 5000, "digits"),
        (b"epochs: 2024-99-99\n", "month"),
    ):
        path.write_bytes(content)
        for command in (Command("triune train", "", TrainConfig), EVALUATE):
            with pytest.raises(InputError, match=r"c\.yaml") as refused:
                command.parse(["--config", str(path)])
            if command is not EVALUATE:
                assert says in str(refused.value)
            assert "\n" not in str(refused.value)
    path.write_bytes(b"")
    assert parse_train([f"--config={path}"]) == TrainConfig()


def test_a_run_s_settings_that_say_nothing_of_its_data_are_no_settings_of_a_run(tmp_path):
    path = tmp_path / "config.yaml"
    for content in ("", "{}", "epochs: 3\n"):
        path.write_text(content)
        for read in (lambda: read_config(path), lambda: parse_train(["--resume", str(tmp_path)])):
            with pytest.raises(InputError, match=r"config\.yaml does not say what the run was trained on"):
                read()
    path.write_text("data: a.csv\nbatch_size: 0\n")
    with pytest.raises(InputError, match=r"config\.yaml: --batch_size is 0"):
        read_config(path)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--data", ""], "--data is empty"),
        (["--output="], "--output is empty"),
        (["--data", "a\0b"], "--data is 'a"),
        (["--output", "\udcff"], "--output is"),
        (["--metric_loss_options", "[" * 30_000], "--metric_loss_options: its value is nested"),
        (["--epochs=" + "{a: " * 9_000], "--epochs: its value is nested"),
        (["--data", "- " * 30_000], "--data: its value is nested"),
        (["--trainer.deterministic", "perhaps"], "--trainer.deterministic is"),
    ],
)
def test_a_value_that_none_can_be_is_named_by_its_flag(flags, named):
    with pytest.raises(InputError) as refused:
        parse_train(flags)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_that_goes_on_stays_in_its_folder(tmp_path):
    (tmp_path / "config.yaml").write_text("data: digits\n")
    with pytest.raises(InputError, match="--output and --resume are both given"):
        parse_train(["--resume", str(tmp_path), "--output", "elsewhere"])


@dataclass(frozen=True)
class Several:
    """Settings that take several values, or none.

    Args:
        gallery: where.
        images: of what.
        like: some.
        paths: of files.
        k: how many.
        json: print JSON.
    """

    gallery: str
    images: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    k: PositiveInt = 3
    json: bool = False


SEVERAL = Command("triune find", "Find.", Several, words=("gallery", "images"), has_config=False)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("G", Several("G")),
        ("G a b --k 4", Several("G", ("a", "b"), k=4)),
        ("--json G a", Several("G", ("a",), json=True)),
        ("--k 4 G --json a b", Several("G", ("a", "b"), k=4, json=True)),
        ("G --like a 1e5 null --k 4", Several("G", like=("a", "1e5", "null"), k=4)),
        ("G --like=a --like b --json", Several("G", like=("a", "b"), json=True)),
        ('G --like ["a","b"]', Several("G", like=("a", "b"))),
        ("G --like ü'x [x].jpg -y", Several("G", like=("ü'x", "[x].jpg", "-y"))),
        ("G --like a --paths b c", Several("G", like=("a",), paths=(Path("b"), Path("c")))),
        ("G a --like", Several("G", ("a",))),
    ],
)
def test_a_setting_of_several_texts_takes_all_up_to_the_next_flag(given, asked):
    assert SEVERAL.parse(given.split()) == asked


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("--k 4", "gallery"),
        ("G --k", "--k: expected one argument"),
        ("G a --frob b --like c", "there is no setting --frob"),
    ],
)
def test_what_is_wrong_beside_several_texts_is_still_named(given, named):
    with pytest.raises(InputError, match=named):
        SEVERAL.parse(given.split())


def test_help_says_which_settings_take_several_texts(capsys):
    with pytest.raises(SystemExit):
        SEVERAL.parse(["--help"])
    told = capsys.readouterr().out
    assert "usage: triune find GALLERY [IMAGES …] [--SETTING" in told
    assert "--like TEXT …" in told
    assert "--paths PATH …" in told


@pytest.mark.parametrize("value", ["1" * 5000, "-" + "1" * 5000, "{epochs: " + "7" * 5000 + "}"])
@pytest.mark.parametrize("flag", ["--model", "--epochs", "--metric_loss_options"])
def test_a_number_of_thousands_of_digits_is_one_line(flag, value):
    with pytest.raises(InputError, match="digits") as refused:
        parse_train([f"{flag}={value}"])
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        (["--images.size", "64"], 64),
        (["--images.size=64"], 64),
        (["--images.size", "256", "128"], (256, 128)),
        (["--images.size=256", "128"], (256, 128)),
        (["--images.size", "[256,128]"], (256, 128)),
        (["--images.size", "256", "128", "--epochs", "3"], (256, 128)),
        (["--epochs", "3", "--images.size", "256", "128", "--seed=4"], (256, 128)),
    ],
)
def test_a_size_is_one_number_or_two(flags, size, tmp_path):
    assert parse_train(flags).images.size == size
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(as_plain(parse_train(flags))))
    assert parse_train(["--config", str(tmp_path / "c.yaml")]).images.size == size


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["0"], "0"),
        (["64", "0"], r"\S+"),
        (["64", "96", "3"], r"\[64, 96, 3\]"),
        (["[64]"], r"\[64\]"),
        (["64x96"], "64x96"),
        (["64", "-1"], r"\S+"),
        (["64.5", "64"], r"64\.5"),
        (["[]"], r"\[\]"),
    ],
)
def test_another_size_is_one_line_that_says_what_it_takes(values, shown):
    with pytest.raises(
        InputError, match=f"--images.size is {shown}: it takes a whole number of .* 8192 or two of them"
    ):
        parse_train(["--images.size", *values])


def test_a_fit_that_there_is_none_of_is_told_with_those_that_there_are():
    with pytest.raises(InputError, match=r"--images\.fit is stretch: it takes squash, pad or crop"):
        parse_train(["--images.fit", "stretch"])
