"""What every miner has in common: a module, whose indices are those of its function, and which feed every loss."""

import copy
import math
import pickle

import pytest
import torch
from pytorch_metric_learning import losses as peer
from torch import nn

from losses.pair_cases import batch
from triune import losses as ours
from triune.distances.embeddings import unit
from triune.losses.names import PAIR_LOSSES

MINERS = {
    "triplets": (lambda **k: ours.TripletMiner("hard", **k), lambda x, y, **k: ours.mine_triplets(x, y, "hard", **k)),
    "multi-similarity": (lambda **k: ours.MultiSimilarityMiner(0.2, **k), ours.multi_similarity_pairs),
    "distance-weighted": (lambda **k: ours.DistanceWeightedMiner(**k), ours.distance_weighted_triplets),
    "easy-hard": (lambda **k: ours.BatchEasyHardMiner(**k), ours.easy_hard_pairs),
    "pair margin": (lambda **k: ours.PairMarginMiner(0.5, 1.2, **k), ours.pair_margin_pairs),
}
SETTINGS = {"multi-similarity": {"epsilon": 0.2}, "pair margin": {"positive_margin": 0.5, "negative_margin": 1.2}}


def drawn(name):
    return {"generator": torch.Generator().manual_seed(3)} if name == "distance-weighted" else {}


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("normalize", [True, False])
def test_a_miner_is_a_module_with_the_indices_of_its_function(name, normalize):
    make, function = MINERS[name]
    (x, y), (r, other) = batch(1), batch(2, n=20)
    miner = make(normalize=normalize)
    assert isinstance(miner, nn.Module)
    assert not miner.state_dict()
    x, r = (x, r) if normalize else (1.3 * unit(x), 0.8 * unit(r))
    plain = (unit(x), unit(r)) if normalize else (x, r)
    alone = function(plain[0], y, **SETTINGS.get(name, {}), **drawn(name))
    beside = function(plain[0], y, reference=plain[1], reference_labels=other, **SETTINGS.get(name, {}), **drawn(name))
    for found, expected in (
        (miner(x, y, generator=torch.Generator().manual_seed(3)), alone),
        (miner(x, y, r, other, generator=torch.Generator().manual_seed(3)), beside),
    ):
        assert type(found) is type(expected)
        assert len(found[0])
        assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("name", MINERS)
def test_a_miner_can_be_copied_and_pickled_and_tells_its_settings(name):
    miner = MINERS[name][0]()
    (x, y), settings = batch(0), repr(miner)
    assert "normalize=True" in settings
    for again in (copy.deepcopy(miner), pickle.loads(pickle.dumps(miner)), miner.to(torch.float64).eval()):
        assert repr(again) == settings
        found, expected = (m(x, y, generator=torch.Generator().manual_seed(0)) for m in (again, miner))
        assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("name", MINERS)
def test_the_indices_feed_our_losses_and_those_of_the_peer_and_carry_no_gradient(name):
    x, y = batch(4)
    found = MINERS[name][0]()(x.requires_grad_(), y)
    assert not any(column.requires_grad for column in found)
    for kind in PAIR_LOSSES.values():
        assert torch.isfinite(kind()(x, y, found))
    ours_value = ours.TripletLoss(0.2)(x, y, found)
    assert ours_value.item() == pytest.approx(peer.TripletMarginLoss(0.2)(x, y, tuple(found)).item(), rel=1e-9)


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("labels", [[0] * 5, list(range(5)), [], [1]], ids=["one class", "singletons", "none", "one"])
def test_a_batch_without_some_kind_of_pair_gives_none_of_it(name, labels):
    x = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    found = MINERS[name][0]()(x, torch.tensor(labels).long())
    assert all(column.dtype == torch.int64 for column in found)
    matching = len(labels) == 5 and labels[0] == labels[1]
    if not matching:
        assert len(found[1]) == 0
    if len(found) == 3 or matching or len(labels) < 2:
        assert len(found[-1]) == 0


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_mined_in_float32(name, dtype):
    x, y = batch(5)
    half = x.to(dtype)
    found, expected = (
        MINERS[name][0]()(z, y, generator=torch.Generator().manual_seed(0)) for z in (half, half.float())
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("name", MINERS)
def test_a_row_that_is_not_finite_is_named(name):
    x, y = batch(2)
    x[3, 1] = math.nan
    with pytest.raises(ValueError, match="row 3"):
        MINERS[name][0]()(x, y)
