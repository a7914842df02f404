"""Every pair lies in one tile, with its score and its kind; each tile is visited by one process."""

import itertools

import numpy as np
import pytest
import torch

import triune
from examples import score, tiles_of
from triune.pairs import tiles
from triune.pairs.prepared import prepare
from triune.pairs.tiles import pair_tiles


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "ROWS", 7)
    monkeypatch.setattr(tiles, "COLUMNS", 11)


def example(n=40, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, 4)).astype(np.float32), g.integers(0, 6, n), g.integers(0, 3, n)


def kinds_of(pairs):
    """(row, column) of the embeddings as they were given, to (score, kind), of every pair found in a tile."""
    found = {}

    def look(tile, _):
        for kind, mask in (("match", pairs.matching(tile)), ("impostor", pairs.impostors(tile))):
            for i, j in mask.nonzero().tolist():
                key = (int(pairs.orders[0][tile.row + i]), int(pairs.orders[1][tile.column + j]))
                key = tuple(sorted(key)) if pairs.one_set else key
                assert key not in found
                found[key] = (float(tile.scores[i, j]), kind)

    pairs.visit(pairs.holds_pairs, look, lambda: None)
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("exclude", ["pairs", "matches"])
@pytest.mark.parametrize("gallery", [False, True])
def test_every_pair_is_in_one_tile_with_its_score_and_kind(metric, exclude, gallery):
    x, y, groups = example()
    options = {"metric": metric, "groups": groups, "exclude": exclude}
    others, other_labels, other_groups = (x, y, groups)
    wanted = list(itertools.combinations(range(40), 2))
    if gallery:
        others, other_labels, other_groups = example(23, seed=1)
        options |= {"gallery": others, "gallery_labels": other_labels, "gallery_groups": other_groups}
        wanted = list(itertools.product(range(40), range(23)))
    pairs = tiles_of(x, y, **options)
    assert pairs.total == len(wanted)
    assert pairs.one_set is not gallery
    found = kinds_of(pairs)
    for i, j in wanted:
        same, together = y[i] == other_labels[j], groups[i] == other_groups[j]
        if together and (same or exclude == "pairs"):
            assert (i, j) not in found
            continue
        value, kind = found.pop((i, j))
        assert kind == ("match" if same else "impostor")
        assert value == pytest.approx(score(x[i], others[j], metric), rel=1e-5, abs=1e-6)
    assert not found


def test_a_set_against_itself_has_every_pair_twice_and_every_row_with_itself():
    x, y, _ = example()
    prepared = prepare(x, y)
    pairs = pair_tiles(prepared, prepared)
    assert pairs.total == 40 * 40
    found = kinds_of(pairs)
    assert len(found) == 40 * 40
    assert all(found[i, i][1] == "match" and found[i, i][0] == pytest.approx(1) for i in range(40))
    assert pairs.x.data_ptr() == pairs.y.data_ptr()
    one = triune.verify_embeddings(prepared, gallery=prepared)
    assert (one.matches, one.impostors) == ((y[:, None] == y).sum(), (y[:, None] != y).sum())


def test_tiles_are_shared_out_among_processes_each_to_one(monkeypatch):
    x, y, _ = example()
    pairs = tiles_of(x, y)
    everything = [(row, column) for row in range(0, 40, 7) for column in range(0, 40, 11)]
    owners = []
    for rank in range(3):
        monkeypatch.setattr(tiles, "rank_and_size", lambda group, rank=rank: (rank, 3))
        owners += [place for place in everything if pairs.own_tile(*place)]
    assert sorted(owners) == everything


def test_tiles_without_impostors_are_left_out():
    x = np.eye(22, 4, dtype=np.float32)
    pairs = tiles_of(x, np.repeat([0, 1], 11))
    assert not pairs.holds_impostors(0, 0)  # both of one identity
    assert pairs.holds_impostors(0, 11)
    assert not pairs.holds_impostors(14, 0)  # below the diagonal


def test_what_cannot_be_excluded_is_refused():
    x, y, _ = example()
    with pytest.raises(ValueError, match="exclude is 'everything'"):
        tiles_of(x, y, exclude="everything")
    with pytest.raises(ValueError, match="cannot be equal"):
        tiles_of(x, y, gallery=torch.ones(2, 4), gallery_labels=["a", "b"])
