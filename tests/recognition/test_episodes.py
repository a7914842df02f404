"""Episodes hold distinct items of distinct classes, and every item as often as any other."""

import math

import numpy as np

from triune.recognition.episodes import draw_episodes


def test_an_episode_has_distinct_rows_of_distinct_ascending_classes_large_enough():
    labels = np.repeat([5, 3, 9, 1, 7], [10, 4, 6, 5, 30])[np.random.default_rng(0).permutation(55)]
    support, query = draw_episodes(labels, ways=3, shots=2, queries=3, episodes=300)
    assert support.shape == (300, 3, 2)
    assert query.shape == (300, 3, 3)
    rows = np.concatenate([support, query], axis=2)
    classes = labels[rows]
    assert (classes == classes[:, :, :1]).all()
    assert (np.diff(classes[:, :, 0], axis=1) > 0).all()
    assert set(classes.ravel().tolist()) == {1, 5, 7, 9}  # 3 has four items, five are needed
    assert all(len(set(episode.ravel().tolist())) == 15 for episode in rows)


def test_every_class_and_item_is_drawn_equally_often_in_either_role():
    labels = np.repeat(np.arange(5), 6)
    support, query = draw_episodes(labels, ways=2, shots=1, queries=3, episodes=20_000)
    for rows, share in ((support, 2 * 1 / 30), (query, 2 * 3 / 30)):
        counts = np.bincount(rows.ravel(), minlength=30)
        expected = 20_000 * share
        assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_labels_of_any_kind_are_drawn_from_alike():
    numbers = np.repeat([3, 1, 2], 5)
    task = {"ways": 2, "shots": 2, "queries": 2, "episodes": 50, "seed": 1}
    by_number, by_word = (draw_episodes(each, **task) for each in (numbers, [f"class {each}" for each in numbers]))
    assert np.array_equal(by_number.support, by_word.support)
    assert np.array_equal(by_number.query, by_word.query)
