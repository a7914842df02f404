"""Images of many requests in one batch: who waits for whom, what is bounded, whose trouble a failure is."""

import threading
from dataclasses import replace

import pytest

from triune.errors import InputError
from triune.serving.answers import ImagePrediction
from triune.serving.networks import EMBEDDING, EVERYTHING
from triune.serving.pictures import Picture
from triune.web.batches import Batches, QueueFull

LONG = 60.0
"""Seconds: a test that waited so long would fail by its own patience."""


class StandIn:
    """A run that says which batches it was given; it begins when it is let."""

    def __init__(self, let=True):
        self.seen, self.begun, self.may = [], threading.Event(), threading.Event()
        if let:
            self.may.set()

    def answer(self, images, read, heads):
        self.begun.set()
        assert self.may.wait(LONG)
        names = [each.name for each in images]
        self.seen.append((names, heads))
        if "bad" in names:
            raise InputError("bad is bad")
        return [ImagePrediction(name, (1, 1)) for name in names]


def sent(batches, *names, heads=EMBEDDING, taken_on=False):
    if not taken_on:
        batches.take_on(len(names))
    return batches.submit([Picture(name, b"") for name in names], [None] * len(names), heads)


@pytest.fixture
def made():
    several = []

    def make(run, batch=4, waiting=8, gather=LONG, told=None, at_once=1):
        several.append((run, Batches(run, batch, waiting, gather, told=told, at_once=at_once)))
        return several[-1][1]

    yield make
    for run, batches in several:
        run.may.set()
        batches.close()


def names_of(future):
    return [each.name for each in future.result(LONG / 2)]


def test_an_image_that_comes_alone_does_not_wait_for_others(made):
    batches = made(StandIn())
    assert names_of(sent(batches, "a")) == ["a"]


def test_those_that_come_while_the_network_is_busy_are_one_batch(made):
    run = StandIn(let=False)
    batches = made(run)
    first = sent(batches, "a")
    assert run.begun.wait(LONG)
    others = [sent(batches, "b"), sent(batches, "c", "d")]
    run.may.set()
    assert [names_of(each) for each in (first, *others)] == [["a"], ["b"], ["c", "d"]]
    assert [names for names, _ in run.seen] == [["a"], ["b", "c", "d"]]


def test_a_batch_waits_for_images_that_are_being_decoded(made):
    run = StandIn()
    batches = made(run)
    batches.take_on(2)
    first = sent(batches, "a", taken_on=True)
    second = sent(batches, "b", taken_on=True)
    assert (names_of(first), names_of(second)) == (["a"], ["b"])
    assert [names for names, _ in run.seen] == [["a", "b"]]


def test_it_waits_no_longer_than_it_was_told(made):
    batches = made(StandIn(), gather=0.001)
    batches.take_on(1)  # whose decoding never ends
    assert names_of(sent(batches, "a")) == ["a"]


def test_what_does_not_fit_a_batch_is_the_next_one_and_a_large_request_is_one_of_its_own(made):
    run = StandIn(let=False)
    batches = made(run, batch=3, waiting=99)
    answers = [sent(batches, "a")]
    assert run.begun.wait(LONG)
    answers += [sent(batches, "b", "c"), sent(batches, "d", "e"), sent(batches, *"fghij")]
    run.may.set()
    assert [names_of(each) for each in answers] == [["a"], ["b", "c"], ["d", "e"], list("fghij")]
    assert [names for names, _ in run.seen] == [["a"], ["b", "c"], ["d", "e"], list("fghij")]


def test_other_answers_are_another_batch(made):
    run = StandIn(let=False)
    batches = made(run)
    first = sent(batches, "a")
    assert run.begun.wait(LONG)
    others = [sent(batches, "b", heads=EVERYTHING), sent(batches, "c"), sent(batches, "d", heads=EVERYTHING)]
    run.may.set()
    assert [names_of(each) for each in (first, *others)] == [["a"], ["b"], ["c"], ["d"]]
    assert sorted((tuple(names), heads.masks) for names, heads in run.seen[1:]) == [(("b", "d"), True), (("c",), False)]


def test_more_than_may_wait_are_refused_until_others_are_answered(made):
    run = StandIn(let=False)
    batches = made(run, waiting=3)
    first = sent(batches, "a", "b")
    with pytest.raises(QueueFull):
        batches.take_on(2)
    batches.take_on(1)
    batches.give_up(1)
    assert batches.waiting == 2
    run.may.set()
    names_of(first)
    batches.take_on(3)
    batches.give_up(3)
    assert batches.waiting == 0


def test_one_request_with_more_images_than_may_wait_is_taken_on_where_nobody_waits(made):
    batches = made(StandIn(), waiting=2)
    assert names_of(sent(batches, "a", "b", "c")) == ["a", "b", "c"]


def test_an_image_that_cannot_be_answered_is_nobody_elses_trouble(made):
    run = StandIn(let=False)
    batches = made(run)
    first = sent(batches, "a")
    assert run.begun.wait(LONG)
    bad, good = sent(batches, "bad"), sent(batches, "good")
    run.may.set()
    assert names_of(first) == ["a"]
    assert names_of(good) == ["good"]
    with pytest.raises(InputError, match="bad is bad"):
        bad.result(LONG)
    assert batches.waiting == 0
    assert batches.alive


def test_who_went_away_is_not_answered(made):
    run = StandIn(let=False)
    batches = made(run)
    first = sent(batches, "a")
    assert run.begun.wait(LONG)
    gone, last = sent(batches, "b"), sent(batches, "c")
    assert gone.cancel()
    run.may.set()
    assert (names_of(first), names_of(last)) == (["a"], ["c"])
    assert [names for names, _ in run.seen] == [["a"], ["c"]]
    assert batches.waiting == 0


class Meeting(StandIn):
    """A run that answers a batch only while another is being answered, too."""

    def __init__(self):
        super().__init__()
        self.both = threading.Barrier(2)

    def answer(self, images, read, heads):
        self.both.wait(LONG)
        return super().answer(images, read, heads)


def test_two_batches_are_computed_at_the_same_time(made):
    batches = made(Meeting(), batch=1, at_once=2)
    answers = [sent(batches, name) for name in "abcd"]
    assert [names_of(each) for each in answers] == [["a"], ["b"], ["c"], ["d"]]
    assert batches.alive


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_waits_is_answered_before_the_end(at_once):
    run = StandIn(let=False)
    batches = Batches(run, 1, 8, 0.0, at_once=at_once)
    answers = [sent(batches, name) for name in "abc"]
    threading.Timer(0.05, run.may.set).start()
    batches.close()
    assert [names_of(each) for each in answers] == [["a"], ["b"], ["c"]]
    assert not batches.alive


def test_batches_are_counted(made):
    told = []
    batches = made(StandIn(), told=lambda images, seconds: told.append((images, seconds >= 0)))
    names_of(sent(batches, "a", "b"))
    names_of(sent(batches, "c"))
    assert told == [(2, True), (1, True)]


def test_heads_are_told_apart_by_what_they_ask():
    assert replace(EMBEDDING) == EMBEDDING != EVERYTHING
