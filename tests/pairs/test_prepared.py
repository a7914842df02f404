"""Embeddings are prepared once, and functions give of them what they give of the arrays."""

import numpy as np
import pytest
import torch

import triune
from triune.pairs import prepared as preparing
from triune.pairs.listed import score_pairs
from triune.pairs.prepared import PreparedEmbeddings, as_prepared, as_prepared_pair, joint_codes, joint_groups, prepare
from triune.verification.hardest import hardest_pairs, score_histograms

METRICS = ("cosine", "euclidean", "squared_euclidean")


def example(n=90, d=5, seed=0, dtype=np.float32):
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)).astype(dtype), np.array([f"p{c}" for c in g.integers(0, 9, n)])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_are_sorted_by_label_in_their_order_and_of_unit_length_for_the_cosine(metric, dtype, monkeypatch):
    monkeypatch.setattr(preparing, "COPIED", 7)
    x, y = example(dtype=dtype)
    found = prepare(x, y, metric=metric)
    assert found.order.tolist() == sorted(range(len(x)), key=lambda i: (y[i], i))
    assert found.labels[found.codes].tolist() == y[found.order].tolist()
    expected = x[found.order].astype(np.float64)
    if metric == "cosine":
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.x.dtype == torch.float32
    np.testing.assert_allclose(found.x.numpy(), expected, rtol=1e-6)
    squares = np.square(expected).sum(1) if metric != "cosine" else []
    np.testing.assert_allclose(found.squares.numpy(), squares, rtol=1e-6)
    assert (len(found), found.identities) == (90, len(set(y)))


def test_labels_beyond_float_precision_stay_apart_and_keep_their_values():
    for labels in ([2**53 + 1, 2**53, 2**53 + 1], [2**64 - 1, 2**64 - 2, 2**64 - 1]):
        found = prepare(np.eye(3), np.array(labels))
        assert found.labels.tolist() == sorted(set(labels))
        assert found.codes.tolist() == [0, 1, 1]
    assert prepare(torch.eye(2), torch.tensor([True, False])).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["b", "a", "c"], ["c", "zebra", "b"]),
        ([5, -3, 5], [9, 5, 2**62]),
        (np.array([1, 2, 3], np.uint8), np.array([2**64 - 1, 3, 3], np.uint64)),
        (np.array([1, 2, 2**64 - 1], np.uint64), np.array([2**64 - 1, 2**64 - 2, 2], np.uint64)),
        (["b", "a", "c"], np.empty(0, int)),
    ],
)
def test_two_sets_are_coded_together_without_being_sorted_again(first, second):
    one, other = prepare(np.eye(3), first, groups=second if len(second) else None), None
    other = prepare(np.eye(len(second), 3), second, groups=first if len(second) else None)
    codes, others = joint_codes(one, other)
    given, theirs = np.asarray(first)[one.order].tolist(), np.asarray(second)[other.order].tolist()
    assert [[a == b for b in others] for a in codes] == [[a == b for b in theirs] for a in given]
    assert (np.diff(codes) >= 0).all()
    assert (np.diff(others) >= 0).all()
    kinds, their_kinds = joint_groups(one, other)
    if len(second):
        given, theirs = np.asarray(second)[one.order].tolist(), np.asarray(first)[other.order].tolist()
        assert [[a == b for b in their_kinds] for a in kinds] == [[a == b for b in theirs] for a in given]


def test_what_is_wrong_with_them_is_named():
    x, y = example(10)
    broken = x.copy()
    broken[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        prepare(broken, y)
    with pytest.raises(ValueError, match="labels has 9 entries but embeddings has 10 rows"):
        prepare(x, y[:9])
    with pytest.raises(ValueError, match="groups has 3 entries"):
        prepare(x, y, groups=[1, 2, 3])
    with pytest.raises(ValueError, match="overflows float32"):
        prepare(x * np.float32(1e30), y, metric="euclidean")
    with pytest.raises(ValueError, match="metric is 'manhattan'"):
        prepare(x, y, metric="manhattan")
    with pytest.raises(ValueError, match="labels is missing"):
        as_prepared(x, None)
    with pytest.raises(ValueError, match="gallery_labels has 9 entries but gallery has 10 rows"):
        as_prepared_pair(x, y, gallery=x, gallery_labels=y[:9])


def test_prepared_embeddings_come_with_nothing_that_they_hold_themselves():
    x, y = example(10)
    found = prepare(x, y, metric="euclidean")
    assert as_prepared(found, None) is found
    assert as_prepared(found, None, "euclidean") is found
    for given, words in (
        ({"labels": y}, "labels with prepared embeddings"),
        ({"labels": None, "groups": y}, "groups with prepared embeddings"),
        ({"labels": None, "metric": "cosine"}, "was prepared for 'euclidean'"),
    ):
        with pytest.raises(ValueError, match=words):
            as_prepared(found, **given)
    with pytest.raises(ValueError, match="gallery was prepared for 'cosine'"):
        as_prepared_pair(found, None, gallery=prepare(x, y))
    with pytest.raises(ValueError, match="go together"):
        as_prepared_pair(prepare(x, y, groups=y), None, gallery=prepare(x, y))


def test_some_rows_keep_their_codes_and_can_be_numbered_anew():
    x, y = example()
    found = prepare(x, y, metric="euclidean", groups=np.arange(90) % 4)
    rows = np.flatnonzero(np.isin(found.codes, [2, 5]))[::2]
    part = found.take(rows)
    assert torch.equal(part.x, found.x[torch.from_numpy(rows)])
    assert torch.equal(part.squares, found.squares[torch.from_numpy(rows)])
    for name in ("codes", "order", "groups"):
        np.testing.assert_array_equal(getattr(part, name), getattr(found, name)[rows])
    fewer = part.among(np.array([2, 4, 5]))
    assert fewer.labels.tolist() == found.labels[[2, 4, 5]].tolist()
    assert fewer.labels[fewer.codes].tolist() == found.labels[part.codes].tolist()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("grouped", [False, True])
def test_functions_give_of_prepared_embeddings_what_they_give_of_the_arrays(metric, grouped):
    x, y = example()
    sessions = {"groups": np.arange(90) % 3} if grouped else {}
    plain = {"metric": metric, **sessions}
    found = prepare(x, y, **plain)
    one, other = triune.verify_embeddings(x, y, **plain), triune.verify_embeddings(found)
    np.testing.assert_array_equal(one.match_scores, other.match_scores)
    np.testing.assert_array_equal(one.impostor_scores, other.impostor_scores)
    one = triune.bootstrap_verification(x, y, **plain, resamples=40, thresholds=(0.1,))
    other = triune.bootstrap_verification(found, resamples=40, thresholds=(0.1,))
    np.testing.assert_array_equal(one.eer.values, other.eer.values)
    np.testing.assert_array_equal(one.fpr_at_threshold[0.1].values, other.fpr_at_threshold[0.1].values)
    cameras = np.arange(90) % 2
    one = triune.rates_by_condition(x, y, cameras, -0.5, **plain, resamples=40, cross="all")
    other = triune.rates_by_condition(found, None, cameras, -0.5, resamples=40, cross="all")
    np.testing.assert_array_equal([row.fpr.values for row in one.rows], [row.fpr.values for row in other.rows])
    one = triune.compare_verification(x, x[:, :3], y, **plain, resamples=40)
    other = triune.compare_verification(found, prepare(x[:, :3], y, **plain), resamples=40)
    assert (one.auc, one.tpr_at_fpr) == (other.auc, other.tpr_at_fpr)
    edges, same, different = score_histograms(found, bins=10)
    verification = triune.verify_embeddings(found)
    np.testing.assert_array_equal(same, np.histogram(verification.match_scores, edges)[0])
    np.testing.assert_array_equal(different, np.histogram(verification.impostor_scores, edges)[0])
    impostors, matches = hardest_pairs(found, k=5)
    np.testing.assert_array_equal(impostors.score, verification.impostor_scores[::-1][:5])
    np.testing.assert_array_equal(matches.score, verification.match_scores[:5])
    assert (y[matches.first] == y[matches.second]).all()


def test_a_prepared_gallery_is_the_gallery():
    x, y = example()
    plain = {"metric": "euclidean", "groups": np.arange(50) % 3}
    g, gy, kinds = x[50:], y[50:], np.arange(40) % 3
    one = triune.verify_embeddings(x[:50], y[:50], **plain, gallery=g, gallery_labels=gy, gallery_groups=kinds)
    gallery = prepare(g, gy, metric="euclidean", groups=kinds)
    for other in (
        triune.verify_embeddings(prepare(x[:50], y[:50], **plain), gallery=gallery),
        triune.verify_embeddings(x[:50], y[:50], **plain, gallery=gallery),
    ):
        np.testing.assert_array_equal(one.match_scores, other.match_scores)
        np.testing.assert_array_equal(one.impostor_scores, other.impostor_scores)


def test_models_of_other_items_are_not_compared():
    x, y = example()
    with pytest.raises(ValueError, match="different labels"):
        triune.compare_verification(prepare(x, y), prepare(x, y[::-1].copy()))
    assert isinstance(prepare(x, y).cpu(), PreparedEmbeddings)


@pytest.mark.parametrize("factor", [1e150, 1e-300, 1.0])
def test_float64_beyond_the_range_of_float32_gives_the_cosines_of_the_same_directions(factor):
    identity = np.repeat(np.arange(6), 4)
    rows = np.random.default_rng(0).normal(size=(6, 8))[identity] + np.random.default_rng(1).normal(size=(24, 8))
    unit_rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = np.triu_indices(24, 1)
    exact = (unit_rows @ unit_rows.T)[first, second]
    same = identity[first] == identity[second]
    above = (exact[same][:, None] > exact[~same][None, :]).mean()
    assert triune.verify_embeddings(rows * factor, identity).auc == pytest.approx(above, abs=1e-9)
    np.testing.assert_allclose(score_pairs(rows * factor, first, second).numpy(), exact, atol=1e-7)
    assert triune.verify_embeddings(prepare(rows * factor, identity)).auc == pytest.approx(above, abs=1e-9)


@pytest.mark.parametrize(("factor", "said"), [(1e150, "embeddings down"), (1e-300, "embeddings up")])
@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
def test_lengths_that_float32_cannot_hold_are_refused_with_the_way_out(factor, said, metric):
    rows = np.random.default_rng(0).normal(size=(4, 3)) * factor
    with pytest.raises(ValueError, match=said):
        prepare(rows, [0, 0, 1, 1], metric=metric)
    if factor > 1:
        with pytest.raises(ValueError, match=said):
            score_pairs(rows, np.array([0]), np.array([1]), metric)
    prepare(np.zeros((4, 3)), [0, 0, 1, 1], metric=metric)


@pytest.mark.parametrize(
    ("offset", "dtype", "metric", "said"),
    [
        (1e4, np.float32, "cosine", "nearly parallel"),
        (1e9, np.float64, "euclidean", "so much in common"),
        (1e3, np.float64, "cosine", "nearly parallel"),
    ],
)
def test_rows_whose_differences_float32_hides_are_told_and_without_their_mean_exact(offset, dtype, metric, said):
    identity = np.repeat(np.arange(24), 5)
    rows = (
        np.random.default_rng(0).normal(size=(24, 16))[identity] + np.random.default_rng(1).normal(size=(120, 16)) / 2
    )
    with pytest.warns(UserWarning, match=said):
        prepare((rows + offset).astype(dtype), identity, metric=metric)
    moved = (rows + offset).astype(dtype).astype(np.float64)
    centred = triune.verify_embeddings(moved - moved.mean(0), identity, metric="euclidean").auc
    assert centred == pytest.approx(triune.verify_embeddings(rows, identity, metric="euclidean").auc, abs=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_ordinary_and_equal_rows_are_told_nothing(metric):
    rows = np.random.default_rng(0).normal(size=(120, 16))
    prepare(rows, np.arange(120), metric=metric)
    prepare((rows + 100).astype(np.float32), np.arange(120), metric=metric)
    prepare(np.full((120, 16), 0.1), np.arange(120), metric=metric)
    prepare(rows[:1], [0], metric=metric)


@pytest.mark.filterwarnings("error")
def test_a_large_part_in_common_changes_no_euclidean_figure_of_float32_rows():
    identity = np.repeat(np.arange(24), 5)
    rows = (
        np.random.default_rng(0).normal(size=(24, 16))[identity] + np.random.default_rng(1).normal(size=(120, 16)) / 2
    )
    rows = (rows + 1e4).astype(np.float32)
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(0)
    assert triune.verify_embeddings(rows, identity, metric="euclidean").auc == pytest.approx(
        triune.verify_embeddings(centred, identity, metric="euclidean").auc, abs=1e-6
    )
