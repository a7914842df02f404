"""What a run knows the look of: nearest distances against brute force, what counts as far, and the file."""

import numpy as np
import pytest

from triune.errors import InputError
from triune.run.familiar import NAME, familiar_of, nearest_distances, read_familiar, unfamiliar, write_familiar


def cloud(seed, count, centre=0.0, width=6):
    return (centre + np.random.default_rng(seed).normal(size=(count, width))).astype(np.float32)


def test_the_nearest_distance_is_that_of_the_nearest_row_of_another_identity(monkeypatch):
    rows, y = cloud(0, 50), np.repeat(np.arange(10), 5).astype(str)
    gaps = np.linalg.norm(rows[:, None].astype(float) - rows, axis=2)
    for block in (1, 200, 1 << 22):
        monkeypatch.setattr("triune.run.familiar.BLOCK", block)
        np.testing.assert_allclose(nearest_distances(rows[:7] + 1, rows), np.linalg.norm(
            (rows[:7, None] + 1).astype(float) - rows, axis=2).min(1), atol=1e-5)  # fmt: skip
        others = np.where(y[:, None] == y, np.inf, gaps)
        np.testing.assert_allclose(nearest_distances(rows, rows, y), others.min(1), atol=1e-5)


def test_new_images_of_the_same_kind_are_familiar_and_those_far_in_one_part_alone_are_not():
    known = familiar_of((cloud(0, 400), cloud(1, 400)), np.repeat(np.arange(40), 10))
    here, there = cloud(2, 1000), cloud(3, 1000, centre=5.0)
    assert unfamiliar(known, (here, cloud(4, 1000))).mean() < 0.03
    assert unfamiliar(known, (there, cloud(4, 1000))).mean() > 0.97
    assert unfamiliar(known, (here, there)).mean() > 0.97


def test_the_scale_of_a_feature_does_not_matter():
    plain = familiar_of((cloud(0, 200),), np.arange(200))
    scaled = familiar_of((cloud(0, 200) * [1, 1, 1000, 1, 1, 1e-3] + [7, 0, 0, 0, 0, 0],), np.arange(200))
    assert scaled[0].limit == pytest.approx(plain[0].limit, rel=1e-3)


def test_the_limit_is_told_from_other_identities_since_new_images_show_new_ones():
    rows = cloud(0, 60)
    twins = np.concatenate([rows, rows])  # each image has a copy of its own identity at distance 0
    known = familiar_of((twins,), np.tile(np.arange(60), 2))
    assert known[0].limit == pytest.approx(familiar_of((rows,), np.arange(60))[0].limit, rel=1e-5)


def test_an_image_whose_features_are_no_numbers_is_unfamiliar():
    known = familiar_of((cloud(0, 50),), np.arange(50))
    odd = cloud(1, 3)
    odd[1, 2] = np.nan
    assert unfamiliar(known, (odd,)).tolist()[1]


def test_one_identity_tells_nothing():
    assert familiar_of((cloud(0, 9),), np.zeros(9)) is None


def test_what_is_written_is_read_back_and_decides_alike(tmp_path):
    assert read_familiar(tmp_path) is None
    known = familiar_of((cloud(0, 100), cloud(1, 100, width=3)), np.arange(100))
    write_familiar(tmp_path, known)
    read = read_familiar(tmp_path)
    asked = cloud(2, 500, centre=1.2), cloud(3, 500, width=3)
    both = unfamiliar(known, asked), unfamiliar(read, asked)
    assert 0.02 < both[0].mean() < 0.98
    assert (both[0] != both[1]).mean() < 0.01  # the rows are kept with eleven bits


@pytest.mark.parametrize("damage", ["cut", "text", "parts", "nan"])
def test_a_damaged_file_is_named(tmp_path, damage):
    known = familiar_of((cloud(0, 20),), np.arange(20))
    if damage == "nan":
        known[0].mean[0] = np.nan
    write_familiar(tmp_path, known)
    path = tmp_path / NAME
    content = path.read_bytes()
    changed = {"cut": content[:-9], "text": b"text", "parts": content.replace(b'"parts":"1"', b'"parts":"2"')}
    path.write_bytes(changed.get(damage, content))
    with pytest.raises(InputError, match="is damaged or another file"):
        read_familiar(tmp_path)
