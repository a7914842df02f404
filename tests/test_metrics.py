"""The Metric classes give the figures of the functions, over batches, processes, resets and copies."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from forked import run_forked
from triune.metrics import RetrievalMetric, VerificationMetric
from triune.pairs import tiles
from triune.pairs.tiles import PairTiles
from triune.retrieval.metrics import retrieval_metrics
from triune.verification.all_pairs import verify_embeddings


def items(count=48, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 6, (count,), generator=g)
    centres = torch.randn(6, 8, generator=torch.Generator().manual_seed(99))
    return centres[labels] + torch.randn(count, 8, generator=g), labels


def fed(metric, x, labels, size=10):
    for start in range(0, len(x), size):
        metric.update(x[start : start + size], labels[start : start + size])
    return metric


def expected(x, labels, metric="cosine"):
    v, r = verify_embeddings(x, labels, metric=metric), retrieval_metrics(x, labels, ks=(1, 3), metric=metric)
    return {
        "auc": v.auc,
        "eer": v.eer,
        "tpr_at_fpr_0.05": v.tpr_at_fpr(0.05),
        "tpr_at_fpr_0.001": v.tpr_at_fpr(0.001),
    }, {
        "recall_at_1": r.recall_at[1],
        "recall_at_3": r.recall_at[3],
        "precision_at_1": r.precision_at[1],
        "precision_at_3": r.precision_at[3],
        "r_precision": r.r_precision,
        "map_at_r": r.map_at_r,
        "mrr": r.mrr,
    }


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
def test_batches_give_the_figures_of_the_whole(metric):
    x, labels = items()
    verification, retrieval = expected(x, labels, metric)
    ours = fed(VerificationMetric(metric, fprs=(0.05, 0.001)), x, labels).compute()
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(verification, abs=1e-6)
    ours = fed(RetrievalMetric(ks=(1, 3), metric=metric), x, labels).compute()
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(retrieval, abs=1e-6)
    assert all(value.ndim == 0 and value.dtype == torch.float32 for value in ours.values())


def test_a_prefix_is_put_before_every_name():
    x, labels = items()
    assert set(fed(VerificationMetric(prefix="val/"), x, labels).compute()) == {
        "val/auc", "val/eer", "val/tpr_at_fpr_0.05",
    }  # fmt: skip


def test_arrays_lists_and_half_precision_are_taken():
    x, labels = items()
    metric = VerificationMetric()
    metric.update(x[:20].numpy(), labels[:20].tolist())
    metric.update(x[20:].double(), labels[20:].numpy().astype(np.uint8))
    assert metric.compute()["auc"].item() == pytest.approx(verify_embeddings(x, labels).auc, abs=1e-6)
    half = fed(VerificationMetric(), x.bfloat16(), labels)
    assert half.compute()["auc"].item() == pytest.approx(verify_embeddings(x.bfloat16(), labels).auc, abs=1e-6)


def test_a_reset_forgets_and_forward_only_keeps():
    x, labels = items()
    metric = fed(VerificationMetric(), *items(seed=5))
    metric.compute()
    metric.reset()
    assert metric(x[:1], labels[:1]) is None  # no figures of a batch that has no pair
    metric(x[1:], labels[1:])
    assert metric.compute()["auc"].item() == pytest.approx(verify_embeddings(x, labels).auc, abs=1e-6)


def test_no_graph_is_kept():
    x, labels = items()
    metric = VerificationMetric()
    metric.update(x.requires_grad_(), labels)
    assert not metric.embeddings[0].requires_grad


def test_pickles_copies_and_state_dicts_carry_on():
    x, labels = items()
    half = fed(RetrievalMetric(ks=(1,)), x[:20], labels[:20])
    half.persistent(True)
    loaded = RetrievalMetric(ks=(1,))
    loaded.load_state_dict(half.state_dict())
    want = expected(x, labels)[1]["recall_at_1"]
    for metric in (pickle.loads(pickle.dumps(half)), copy.deepcopy(half), half.clone(), loaded):
        fed(metric, x[20:], labels[20:])
        assert metric.compute()["recall_at_1"].item() == pytest.approx(want, abs=1e-6)
    assert not VerificationMetric().state_dict()  # a checkpoint holds no embeddings unless it is asked to


def test_a_collection_holds_both():
    x, labels = items()
    both = MetricCollection([VerificationMetric(), RetrievalMetric(ks=(1,))])
    both.update(x, labels)
    figures = both.compute()
    assert figures["auc"].item() == pytest.approx(expected(x, labels)[0]["auc"], abs=1e-6)
    assert figures["recall_at_1"].item() == pytest.approx(expected(x, labels)[1]["recall_at_1"], abs=1e-6)


@pytest.mark.parametrize("kind", [VerificationMetric, RetrievalMetric])
def test_nothing_gathered_is_an_error(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics' own, on compute before update
        with pytest.raises(ValueError, match="has seen no embeddings: call update"):
            kind().compute()


def test_what_is_not_defined_is_nan_with_a_warning():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for kind, labels in ((VerificationMetric, [0, 1, 2]), (RetrievalMetric, [0, 1, 2])):
        with pytest.warns(UserWarning, match="no two of 3 items are of the same identity"):
            figures = fed(kind(), x, labels).compute()
        assert figures
        assert all(math.isnan(value) for value in figures.values())
    with pytest.warns(UserWarning, match="no two of 3 items are of different identities"):
        assert math.isnan(fed(VerificationMetric(), x, [7, 7, 7]).compute()["auc"])
    assert fed(RetrievalMetric(), x, [7, 7, 7]).compute()["recall_at_1"] == 1.0


def test_wrong_input_is_named():
    x, labels = items()
    metric = fed(VerificationMetric(), x, labels)
    with pytest.raises(ValueError, match="labels are strings"):
        metric.update(x[:2], ["a", "b"])
    with pytest.raises(ValueError, match="labels has 3 entries but embeddings has 2 rows"):
        metric.update(x[:2], [0, 1, 2])
    with pytest.raises(ValueError, match="embeddings are 5 wide, but those before were 8"):
        metric.update(x[:2, :5], [0, 1])
    with pytest.raises(ValueError, match=r"fprs holds 1\.5"):
        VerificationMetric(fprs=(1.5,))
    with pytest.raises(ValueError, match="ranks start at 1"):
        RetrievalMetric(ks=(0,))
    with pytest.raises(ValueError, match="known are"):
        VerificationMetric("manhattan")
    metric.update(x[:1] * math.nan, labels[:1])
    with pytest.raises(ValueError, match="row 48"):
        metric.compute()


@pytest.mark.filterwarnings("ignore")
def test_a_lightning_loop_logs_the_figures(tmp_path):
    import lightning as L  # here, so that the processes below need not load it

    class Loop(L.LightningModule):
        """A loop that knows nothing of this project but the metric."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 8)
            self.metric = VerificationMetric(prefix="val_")
            self.seen = []

        def training_step(self, batch, _):
            return self.layer(batch[0]).square().mean()

        def validation_step(self, batch, _):
            self.metric.update(self.layer(batch[0]), batch[1])

        def on_validation_epoch_end(self):
            self.log_dict(self.metric.compute())
            self.metric.reset()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    x, labels = items()
    loop, loader = Loop(), DataLoader(TensorDataset(x, labels), batch_size=16)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(loop, loader, loader)
    with torch.no_grad():
        want = verify_embeddings(loop.layer(x), labels).auc
    assert trainer.callback_metrics["val_auc"].item() == pytest.approx(want, abs=1e-6)


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    x, labels = items()
    share = slice(0, 31) if rank == 0 else slice(31, 48)  # unlike shares, in unlike batches
    tiles.ROWS, tiles.COLUMNS = 16, 16
    figures, own = {}, [0, 0]
    own_tile = PairTiles.own_tile

    def counted(self, row, column):
        mine = own_tile(self, row, column)
        own[mine] += 1
        return mine

    PairTiles.own_tile = counted
    for metric in (VerificationMetric(fprs=(0.05, 0.001)), RetrievalMetric(ks=(1, 3))):
        fed(metric, x[share], labels[share], size=7)
        figures |= {name: value.item() for name, value in metric.compute().items()}
        assert sum(map(len, metric.labels)) == len(x[share])  # afterwards each holds its own again
    assert 0.3 < own[True] / sum(own) < 0.7  # the pairs are shared
    torch.save(figures, folder / f"{rank}.pt")
    dist.barrier()  # a process that leaves while another still talks to it can abort that one
    dist.destroy_process_group()


def test_two_processes_give_the_figures_of_one(tmp_path):
    run_forked(work, (tmp_path,), 2)
    verification, retrieval = expected(*items())
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(verification | retrieval, abs=1e-6)
