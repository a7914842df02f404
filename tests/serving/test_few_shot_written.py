"""What a run says of new classes is the same as text, in the table and on the page."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from triune.errors import InputError
from triune.recognition.head_episodes import head_episodes
from triune.recognition.new_classes import learn_classes
from triune.serving.answers import Unreadable
from triune.serving.few_shot import FewShot, NewClassAnswer
from triune.serving.few_shot_written import (
    answers_text,
    episodes_text,
    support_text,
    unknown_text,
    write_answers,
)


@pytest.fixture
def known(tmp_path):
    g = np.random.default_rng(0)
    x = np.eye(4)[[0, 0, 0, 1, 1, 1]] + 0.05 * g.normal(size=(6, 4))
    labels = ["cup"] * 3 + ["dog"] * 3
    names = [str(tmp_path / f"{k}.png") for k in range(6)]
    for name in names:
        Image.new("RGB", (8, 8), "teal").save(name)
    return FewShot(None, learn_classes(x, labels), tuple(names), tuple(labels))


def answers(known):
    return [
        NewClassAnswer("a.png", "dog", {"dog": 0.75, "cup": 0.25}, 0.9, 0.5, known.examples[4]),
        NewClassAnswer("b\n.png", None, {"cup": 0.625, "dog": 0.375}, 0.1, 0.5, known.examples[0]),
        Unreadable("c.png", "it is cut short"),
    ]


def test_a_line_an_image_aligned(known):
    lines = answers_text(answers(known)).splitlines()
    assert [line.split()[0] for line in lines] == ["label", "dog", "unknown", "-"]
    column = lines[0].index("image")
    assert [line[column:].split()[0] for line in lines[1:]] == ["a.png", r"b\n.png", "c.png"]
    assert lines[1].endswith(known.examples[4])
    assert lines[3].endswith("it is cut short")


def test_a_table_and_a_page(known, tmp_path):
    write_answers(tmp_path / "found.csv", known, answers(known))
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["label"], row["likeliest"]) for row in rows] == [
        *(("a.png", "dog", "dog"), ("b\n.png", "unknown", "cup"))
    ]
    page = write_answers(tmp_path / "found.html", known, answers(known)).read_text()
    assert page.count('<figure class="query') == 3
    assert "dog 0.750" in page
    assert "cup 0.625" in page
    with pytest.raises(InputError, match=r"found\.txt is neither \.csv nor \.html"):
        write_answers(tmp_path / "found.txt", known, [])


def test_what_was_learned_and_how_surely_is_said(known):
    text = support_text(known)
    assert text[0] == f"2 classes from 6 images; head {known.learned.head}"
    assert text[1] == "each example left out and named by the others: prototype 6, nearest 6, ridge 6 of 6 right"
    assert text[2].startswith("unknown below a closeness of ")
    assert text[3].startswith("caution: so few classes can tell no share below 33.3%")
    alone = FewShot(None, learn_classes(np.eye(3), ["a", "b", "c"], fpir=None), ("x", "y", "z"), ("a", "b", "c"))
    assert support_text(alone)[1:] == [
        "no class has two examples: the head is not chosen, and probabilities are a guess"
    ]


def test_that_nothing_is_unknown_is_said_where_so_few_classes_set_the_threshold(known, tmp_path):
    every = [answers(known)[0], Unreadable("c.png", "it is cut short")]
    (line,) = unknown_text(known, every)
    assert line.startswith("caution: nothing is unknown at this threshold: every image reaches ")
    assert line in write_answers(tmp_path / "all.html", known, every).read_text()
    assert unknown_text(known, answers(known)) == []  # one of them is unknown
    assert unknown_text(known, every[1:]) == []
    told = replace(known, learned=replace(known.learned, fpir=0.5))
    assert unknown_text(told, every) == []


def test_given_strangers_are_not_asked_for_again_but_more_of_them(known):
    assert support_text(known)[3].endswith("give images of other classes with --strangers, or more classes")
    assert support_text(replace(known, strangers=2))[3].endswith("give more strangers with --strangers")


def test_episodes_are_a_line_a_head():
    g = np.random.default_rng(0)
    x = np.eye(8).repeat(12, axis=0) + 0.2 * g.normal(size=(96, 8))
    found = head_episodes(x, np.arange(8).repeat(12), ways=3, shots=2, queries=3, episodes=5)
    lines = episodes_text(found).splitlines()
    assert lines[0] == "3-way 2-shot, 5 episodes of 3 queries a class; intervals of 95%"
    assert [line.split()[0] for line in lines[1:5]] == ["prototype", "nearest", "ridge", "chosen"]
    assert "chosen in" in lines[1]
    assert lines[-1].startswith("of other classes' images ")
    assert lines[-1].endswith("10% asked for")
