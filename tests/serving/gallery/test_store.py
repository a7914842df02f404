"""What every store can do, in the order of one life: see also the tests of each."""

import numpy as np
import polars as pl

from triune.serving.gallery.store import Batch, Snapshot


def test_a_snapshot_and_a_batch_are_compared_by_identity_since_they_hold_arrays():
    empty = np.empty((0, 3), np.float32)
    assert Snapshot(1, pl.DataFrame()) != Snapshot(1, pl.DataFrame())
    assert Batch(pl.DataFrame(), empty, []) != Batch(pl.DataFrame(), empty, [])
