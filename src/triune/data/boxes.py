"""The box of an item: the part of its image that is looked at, in pixels of the image as it is seen upright."""

from typing import Final, NamedTuple

import polars as pl

BOX_COLUMNS: Final = ("x_1", "y_1", "x_2", "y_2")
"""Left, top, right and bottom, as Open Metric Learning calls them; found by name, so their order does not matter."""


class Box(NamedTuple):
    """A part of an image: the columns from ``left`` to before ``right``, the rows from ``top`` to before ``bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Its height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in an array ``(H, W)``."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def boxes_of(frame: pl.DataFrame) -> list[Box | None]:
    """The box of each item; ``None`` where it has none, or the table none at all."""
    if not set(BOX_COLUMNS) <= set(frame.columns):
        return [None] * len(frame)
    return [None if row[0] is None else Box(*row) for row in frame.select(BOX_COLUMNS).iter_rows()]


def without_boxes(frame: pl.DataFrame) -> pl.DataFrame:
    """The items as whole images."""
    return frame.drop(BOX_COLUMNS, strict=False)


def with_box_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The items with the four columns, all null where the table has none."""
    lacking = [pl.lit(None, pl.Int64).alias(name) for name in BOX_COLUMNS if name not in frame.columns]
    return frame.with_columns(lacking)


def outside(box: Box, size: tuple[int, int]) -> tuple[str, str] | None:
    """The column in which a box leaves an image, and in which way; ``None`` where it lies within.

    Args:
        box: with its right edge beyond its left one, and its bottom beyond its top.
        size: height and width of the image.
    """
    for name, reached, most in (("x_2", box.right, size[1]), ("y_2", box.bottom, size[0])):
        if reached > most:
            return name, f"the box reaches to {reached}, but the image is {size[1]} x {size[0]} pixels"
    return None
