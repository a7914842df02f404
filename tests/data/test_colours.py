"""Grey pictures are told from coloured ones, however they are stored."""

import numpy as np
import pytest
from PIL import Image

from triune.data.colours import without_colours


def picture(mode, colours=False, seed=0):
    g = np.random.default_rng(seed)
    grey = np.kron(g.integers(0, 255, (8, 8), dtype=np.uint8), np.ones((8, 8), np.uint8))
    rgb = np.stack([grey] * 3, axis=-1)
    if colours:
        rgb[:, :32, 0] = 255 - rgb[:, :32, 0]
    return Image.fromarray(rgb).convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", ".png"), ("L", ".jpg"), ("RGB", ".png"), ("RGB", ".jpg"), ("RGBA", ".png"), ("1", ".png")],
)
def test_a_grey_picture_has_none(tmp_path, mode, suffix):
    picture(mode).save(tmp_path / f"x{suffix}")
    assert without_colours(str(tmp_path / f"x{suffix}"))


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", ".png"), ("RGB", ".jpg"), ("RGBA", ".png"), ("P", ".png")])
def test_a_coloured_one_has_some(tmp_path, mode, suffix):
    picture(mode, colours=True).save(tmp_path / f"x{suffix}")
    assert not without_colours(str(tmp_path / f"x{suffix}"))


def test_sixteen_bits_are_read_as_deep_as_they_are(tmp_path):
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "x.png")
    assert without_colours(str(tmp_path / "x.png"), 12)
