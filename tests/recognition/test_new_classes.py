"""New classes: named rightly, with probabilities that mean what they say, and unknown where they are strange."""

import numpy as np
import pytest
import torch

from examples import sample
from triune.recognition.new_classes import fit_temperature, learn_classes


def drawn(ways, shots, queries, *, noise=0.5, strangers=0, seed=0):
    """Examples, queries with their classes, and queries of other classes."""
    x, y = sample(ways + strangers, shots + queries, dims=16, noise=noise, seed=seed)
    place = np.tile(np.arange(shots + queries), ways + strangers)
    own = y < ways
    support = own & (place < shots)
    asked = own & (place >= shots)
    return x[support], y[support], x[asked], y[asked], x[~own & (place >= shots)]


@pytest.mark.parametrize("head", [None, "prototype", "nearest", "ridge", "logistic"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_every_head_names_what_is_easy(head, metric):
    x, y, asked, truth, _ = drawn(4, 5, 5, noise=0.3)
    learned = learn_classes(x, [f"c{label}" for label in y], head=head, metric=metric)
    said = learned.name(asked)
    assert [learned.classes[k] for k in said.probabilities.argmax(axis=1)] == [f"c{label}" for label in truth]
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1)
    assert (y[said.example] == truth).all()
    assert learned.calibrated
    assert head in (None, learned.head)


def test_the_head_is_the_one_that_names_most_examples_when_they_are_left_out():
    g = np.random.default_rng(0)
    # Two classes of two clumps each, across: their means say nothing, their neighbours everything.
    clumps = np.array([[1, 0, 0.2], [-1, 0, 0.2], [0, 1, 0.2], [0, -1, 0.2]])
    x = clumps.repeat(5, axis=0) + 0.05 * g.normal(size=(20, 3))
    learned = learn_classes(x, [0] * 10 + [1] * 10)
    assert learned.head == "nearest"
    right = {trial.head: trial.right for trial in learned.trials}
    assert right["nearest"] == 20 > right["prototype"]
    assert learned.trial.head == "nearest"
    assert all(trial.of == 20 for trial in learned.trials)


def test_probabilities_say_how_often_they_are_right():
    expected, actual = [], []
    for seed in range(30):
        x, y, asked, truth, _ = drawn(5, 5, 10, noise=1.2, seed=seed)
        said = learn_classes(x, y).name(asked)
        expected.append(said.probabilities.max(axis=1).mean())
        actual.append((said.probabilities.argmax(axis=1) == truth).mean())
    assert 0.5 < np.mean(actual) < 0.95
    assert np.mean(expected) == pytest.approx(np.mean(actual), abs=0.08)


def test_few_examples_all_named_rightly_promise_no_certainty():
    x, y, asked, _, _ = drawn(3, 3, 5, noise=0.02)
    said = learn_classes(x, y).name(asked)
    assert said.probabilities.max() < 0.99
    temperature, loss = fit_temperature(np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([0, 1]))
    assert 1 / (1 + np.exp(-9 / temperature)) == pytest.approx(3 / 4, abs=0.01)
    assert loss == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=1e-3)


@pytest.mark.parametrize(("fpir", "ways"), [(0.1, 20), (0.2, 20), (0.2, 12)])
def test_so_many_strangers_are_named_as_were_asked_for(fpir, ways):
    named = []
    for seed in range(25):
        x, y, _, _, strangers = drawn(ways, 4, 4, noise=0.9, strangers=10, seed=seed)
        named.append(learn_classes(x, y, fpir=fpir).name(strangers).known.mean())
    assert np.mean(named) == pytest.approx(fpir, abs=0.06)


def test_given_strangers_keep_the_share_with_any_number_of_classes():
    named = []
    for seed in range(40):
        x, y, _, _, strangers = drawn(3, 4, 4, noise=0.9, strangers=60, seed=seed)
        learned = learn_classes(x, y, fpir=0.1, strangers=strangers[:120])
        named.append(learned.name(strangers[120:]).known.mean())
        assert learned.least_fpir == pytest.approx(1 / 121)
    assert np.mean(named) == pytest.approx(0.1, abs=0.03)


def test_too_few_classes_to_tell_a_share_are_as_strict_as_they_can_be():
    x, y, asked, _, _ = drawn(3, 4, 4, noise=0.9)
    learned = learn_classes(x, y, fpir=0.1)
    assert learned.least_fpir == 0.25
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    between = [float(a @ b) for a, i in zip(unit, y) for b, j in zip(unit, y) if i != j]
    assert learned.threshold == pytest.approx(max(between), abs=1e-6)
    assert learned.threshold > max(between) - 1e-6
    everything = learn_classes(x, y, fpir=None)
    assert everything.threshold == -np.inf
    assert everything.name(asked).known.all()


def test_a_class_of_one_example_and_classes_of_one_example_each():
    x, y, asked, truth, _ = drawn(3, 3, 5, noise=0.2)
    kept = np.array([0, 1, 2, 3, 6, 7, 8])
    learned = learn_classes(x[kept], y[kept])
    assert learned.trials[0].of == 6
    assert (learned.name(asked).probabilities.argmax(axis=1) == truth).all()
    alone = learn_classes(x[[0, 3, 6]], y[[0, 3, 6]])
    assert (alone.head, alone.trials, alone.calibrated, alone.refused) == ("prototype", (), False, None)
    said = alone.name(asked)
    assert (said.probabilities.argmax(axis=1) == truth).all()
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1)


def test_embeddings_and_labels_of_any_kind_say_the_same():
    x, y, asked, _, _ = drawn(3, 4, 4)
    one = learn_classes(x, y).name(asked)
    other = learn_classes(torch.from_numpy(x), torch.from_numpy(y)).name(torch.from_numpy(asked))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    half = learn_classes(x.astype(np.float16), y).name(asked.astype(np.float16))
    np.testing.assert_allclose(half.probabilities, one.probabilities, atol=0.02)


@pytest.mark.parametrize(
    ("x", "y", "options", "said"),
    [
        (np.eye(3), [0, 0, 0], {}, "of 1 class: at least two"),
        (np.empty((0, 3)), [], {}, "of 0 classes"),
        (np.eye(3), [0, 1], {}, "labels has 2 entries but embeddings has 3 rows"),
        (np.eye(3), ["a", "", "b"], {}, "row 1"),
        (np.array([[np.inf, 1], [0, 1]]), [0, 1], {}, "infinity"),
        (np.eye(3), [0, 1, 1], {"head": "forest"}, "head is 'forest'"),
        (np.eye(3), [0, 1, 1], {"fpir": 1.0}, r"fpir is 1\.0"),
    ],
)
def test_what_cannot_be_learned_is_said(x, y, options, said):
    with pytest.raises(ValueError, match=said):
        learn_classes(x, y, **options)


def test_embeddings_of_another_length_are_refused():
    learned = learn_classes(np.eye(3), [0, 1, 1])
    with pytest.raises(ValueError, match="embeddings have 4 dimensions but the examples 3"):
        learned.name(np.ones((2, 4)))
