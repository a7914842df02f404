"""YAML of settings: plain values within limits; what stands for more than it says is refused before it is built."""

import time

import pytest

from triune.errors import InputError
from triune.run.yaml_file import (
    MOST_BYTES,
    MOST_NESTED,
    check_depth,
    check_names,
    check_value,
    check_yaml,
    read_settings,
)

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "epochs: 3\nmodel: {dropout: 0.1, decoder_channels: [8, 8]}\n",
        "a: {x: 1}\nb: {x: 1}\n",  # a name of two groups
        "a:\n- x: 1\n- x: 2\n",  # of two entries
        '{"a": [1, {"b": null}], "c": "*no alias"}',
        "--- \na: '!no tag'\n...\n",
        "[" * MOST_NESTED + "]" * MOST_NESTED,
    ],
)
def test_plain_yaml_has_nothing_wrong_with_it(text):
    check_yaml(text, "c.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs: 3\nseed: 1\nepochs: 4\n", "c.yaml, line 3: 'epochs' is there twice"),
        ("m:\n  a: 1\n  b: {c: 1, c: 1}\n", "c.yaml, line 3: 'c' is there twice"),
        ("a: &x 1\nb: *x\n", r"c.yaml, line 2: it refers to another value \(\*x\)"),
        (BOMB, "c.yaml, line 2"),
        ("a: &x {b: *x}\n", "c.yaml, line 1"),
        ("a: !!python/object/apply:os.mkdir [x]\n", "c.yaml, line 1: it asks for the type"),
        ("a: !!str 1\n", "c.yaml, line 1: it asks for the type"),
        ("a: 1\n---\na: 2\n", "c.yaml, line 2: a second document begins"),
        ("? [a]\n: 1\n", "c.yaml, line 1: a list or mapping stands for a name"),
        ("[" * (MOST_NESTED + 1) + "]" * (MOST_NESTED + 1), f"nested more than {MOST_NESTED} deep"),
        ("[" * 100_000, f"nested more than {MOST_NESTED} deep"),
        ("a:\n\t- b\n", "c.yaml, line 2: it is no YAML"),
        ("a: {b\n", "it is no YAML"),
    ],
)
def test_what_is_not_plain_is_named_by_its_line_and_at_once(text, says):
    started = time.monotonic()
    with pytest.raises(InputError, match=says) as refused:
        check_yaml(text, "c.yaml")
    assert time.monotonic() - started < 1
    assert "\n" not in str(refused.value)


def test_a_file_is_read_to_its_limit_and_no_further(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"#" * MOST_BYTES)
    assert len(read_settings(path)) == MOST_BYTES
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(InputError, match=r"c\.yaml is larger than 64 KiB"):
        read_settings(path)
    path.write_bytes(b"\xef\xbb\xbfepochs: 3\n")
    assert read_settings(path) == "epochs: 3\n"
    path.write_bytes(b"\xff\xfee")
    with pytest.raises(InputError, match=r"c\.yaml is not UTF-8 text"):
        read_settings(path)


KNOWN = ("epochs", "seed", "images.size", "images.augment.flip", "model.dropout", "metric_loss_options")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"epochs": 3},
        {"images": {"augment": {"flip": 1}}},
        {"metric_loss_options": {"any": {"name": 1}}},
        {"model": {}},
    ],
)
def test_names_of_settings_are_found_in_their_groups(values):
    check_names(values, KNOWN, "c.yaml")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"epoch": 3}, "c.yaml: there is no setting epoch, did you mean epochs?"),
        ({"model": {"droput": 1}}, "c.yaml: there is no setting model.droput, did you mean model.dropout?"),
        ({"model": {"size": 1}}, "c.yaml: there is no setting model.size, did you mean images.size?"),
        ({"images": {"augment": {"flop": 1}}}, "did you mean images.augment.flip?"),
        ({"zzz": 3}, "c.yaml: there is no setting zzz"),
        ({3: 3}, "there is no setting 3"),
        ({"model": 3}, "c.yaml: model is 3, but has settings of its own"),
        ({"images": {"augment": [1]}}, "c.yaml: images.augment is [1], but has settings of its own"),
        ({"epochs": ""}, "c.yaml: epochs is empty"),
        ({"epochs": "a\0"}, "zero byte"),
    ],
)
def test_a_name_that_there_is_none_of_is_told_with_the_nearest(values, says):
    with pytest.raises(InputError) as refused:
        check_names(values, KNOWN, "c.yaml")
    assert says in str(refused.value)


@pytest.mark.parametrize(("value", "says"), [("", "empty"), ("a\0b", "zero byte"), ("a\udcff", "no UTF-8")])
def test_a_value_that_nothing_can_be_called_by_is_refused(value, says):
    check_value("any text, [even] this: *", "--data")
    with pytest.raises(InputError, match=f"--data is .*{says}"):
        check_value(value, "--data")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 30_000, "- " * 30_000, "[&a [1], *a]"])
def test_the_value_of_a_flag_is_not_built_where_it_is_deep_or_refers_to_itself(text):
    for harmless in ("[1, [2]]", "*.csv", "*a", "!x", "{", "a: b: c", "\udcff", "\0", "[" * MOST_NESTED):
        check_depth(harmless, "--data")
    with pytest.raises(InputError, match="--data: its value"):
        check_depth(text, "--data")
