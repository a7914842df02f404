"""What the figures draw: the data of the curves, their names, the limits, and nothing left behind."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import det_curve, roc_curve

from triune import plots
from triune.plots import plot_cmc, plot_det, plot_embedding_map, plot_roc, plot_score_histograms
from triune.verification.roc import verify_scores


def scored(separation=1.5, count=400, seed=0):
    g = np.random.default_rng(seed)
    match = g.random(count) < 0.3
    return g.normal(size=count) + separation * match, match


def texts(ax):
    return [text.get_text() for text in ax.texts]


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def curves(ax):
    return [line for line in ax.lines if line.get_drawstyle() == "steps-post"]


def step_at(line, x):
    """The height of a curve drawn as steps."""
    places = np.asarray(line.get_xdata())
    return np.asarray(line.get_ydata())[np.searchsorted(places, x, side="right") - 1]


@pytest.mark.parametrize("log", [True, False])
def test_the_roc_is_scikit_learns_and_its_steps_are_tpr_at_fpr(log):
    scores, match = scored()
    v = verify_scores(scores, match)
    (line,) = curves(plot_roc(v, log=log))
    fpr, tpr, _ = roc_curve(match, scores, drop_intermediate=False)
    np.testing.assert_allclose(line.get_xdata(), fpr, atol=1e-15)
    np.testing.assert_allclose(line.get_ydata(), tpr, atol=1e-15)
    for budget in np.linspace(0.001, 0.999, 37):
        assert step_at(line, budget) == v.tpr_at_fpr(budget)


def test_operating_points_lie_on_the_curve_and_say_what_they_are():
    v = verify_scores(*scored())
    ax = plot_roc(v, operating_points=(0.05, 0.2))
    (marks,) = (line for line in ax.lines if line.get_marker() == "o")
    assert list(marks.get_xdata()) == [0.05, 0.2]
    assert list(marks.get_ydata()) == [v.tpr_at_fpr(0.05), v.tpr_at_fpr(0.2)]
    assert texts(ax)[0] == f"TPR {100 * v.tpr_at_fpr(0.05):.3g}%\nat FPR ≤ 5%"
    assert ax.get_legend() is None  # one curve is labelled where it is


def test_several_curves_are_told_apart_by_name_colour_and_dashes():
    several = {f"model {i}": verify_scores(*scored(seed=i)) for i in range(4)}
    ax = plot_roc(several)
    assert names(ax) == [f"{name}  TPR {100 * v.tpr_at_fpr(0.05):.3g}%" for name, v in several.items()]
    assert ax.get_legend().get_title().get_text() == "at FPR ≤ 5%"
    assert len({to_hex(line.get_color()) for line in curves(ax)}) == 4
    assert len({line.get_linestyle() for line in curves(ax)}) == 4
    assert [to_hex(text.get_color()) for text in ax.get_legend().get_texts()] == [
        to_hex(line.get_color()) for line in curves(ax)
    ]


def test_the_axes_of_the_roc():
    v = verify_scores(*scored())
    ax = plot_roc(v)
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == (1 / v.impostors, 1)  # from one false positive on
    assert ax.get_ylim() == (0, 1)
    assert "False positive rate" in ax.get_xlabel()
    assert ax.xaxis.get_major_formatter()(0.001, 0) == "0.1%"
    ax = plot_roc({"a": v}, log=False, operating_points=())
    assert ax.get_xscale() == "linear"
    assert ax.get_xlim() == (0, 1)
    assert names(ax) == [f"a  AUC {v.auc:.4f}"]


def test_a_long_curve_is_thinned_without_a_change_to_its_steps(monkeypatch):
    for scores, match in (scored(count=3000), (np.round(scored(count=3000)[0], 1), scored(count=3000)[1])):
        monkeypatch.setattr(plots, "MOST_POINTS", 20_000)
        (full,) = curves(plot_roc(verify_scores(scores, match)))
        monkeypatch.setattr(plots, "MOST_POINTS", 10)
        (thin,) = curves(plot_roc(verify_scores(scores, match)))
        assert len(thin.get_xdata()) <= len(full.get_xdata())
        for x in np.concatenate([[0, 1], np.linspace(0, 1, 997), np.asarray(full.get_xdata())]):
            assert step_at(thin, x) == step_at(full, x)
    smooth = verify_scores(*scored(separation=6, count=3000))
    assert len(curves(plot_roc(smooth))[0].get_xdata()) < 200


def test_the_det_is_scikit_learns_on_normal_deviate_axes():
    scores, match = scored()
    v = verify_scores(scores, match)
    ax = plot_det(v)
    (line,) = curves(ax)
    fpr, fnr, _ = det_curve(match, scores)
    ours = {(round(x, 9), round(y, 9)) for x, y in zip(line.get_xdata(), line.get_ydata())}
    inside = (fpr > 0) & (fpr < 1) & (fnr > 0) & (fnr < 1)
    assert inside.sum() > 50
    assert {(round(x, 9), round(y, 9)) for x, y in zip(norm.ppf(fpr[inside]), norm.ppf(fnr[inside]))} <= ours
    assert np.isfinite(line.get_xydata()).all()
    assert texts(ax) == [f"EER {100 * v.eer:.3g}%"]
    np.testing.assert_allclose(norm.cdf(ax.get_xticks()), [0.001, 0.01, 0.05, 0.2, 0.4])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0.1%", "1%", "5%", "20%", "40%"]
    assert ax.get_xlim() == ax.get_ylim()


def test_normal_scores_give_a_straight_det_line():
    scores, match = scored(separation=2.0, count=200_000)
    (line,) = curves(plot_det(verify_scores(scores, match)))
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    middle = np.abs(x) < 1.5
    np.testing.assert_allclose(y[middle], -2.0 - x[middle], atol=0.05)


def test_the_better_the_verifier_the_farther_down_the_det_goes():
    good = verify_scores(*scored(separation=7, count=50_000))
    assert 0 < good.eer < 0.001
    ax = plot_det({"good": good, "perfect": verify_scores([1.0, 0.0], [True, False])})
    assert norm.cdf(ax.get_xlim()[0]) < 1e-5
    assert names(ax)[1] == "perfect  EER 0%"
    poor = plot_det(verify_scores([0.0, 1.0, 0.5, 0.4], [True, False, True, False]))
    assert np.isfinite(poor.get_xlim()).all()


def test_histograms_are_shares_of_unequal_bins_and_the_threshold_is_marked():
    edges, matches, impostors = np.array([0.0, 1.0, 3.0, 4.0]), np.array([1, 2, 1]), np.array([600, 200, 200])
    ax = plot_score_histograms(edges, matches, impostors, threshold=2.5)
    filled = [patch for patch in ax.patches if patch.get_fill()]
    np.testing.assert_allclose(filled[0].get_data().values, [0.25, 0.25, 0.25])
    np.testing.assert_allclose(filled[1].get_data().values, [0.6, 0.1, 0.2])
    for patch in filled:
        values, at, _ = patch.get_data()
        assert (values * np.diff(at)).sum() == pytest.approx(1)
    assert names(ax) == ["same identity", "different identities"]
    assert texts(ax) == ["threshold 2.5"]
    assert ax.lines[0].get_xdata()[0] == 2.5
    assert ax.get_xlim() == (0, 4)
    assert not texts(plot_score_histograms(edges, matches, impostors, threshold=math.inf))
    with pytest.raises(ValueError, match="one count a bin, and one edge more"):
        plot_score_histograms(edges, matches[:2], impostors)


def test_the_cmc_is_drawn_from_a_list_or_from_ranks():
    for curve in ([0.5, 0.75, 1.0], {3: 1.0, 1: 0.5, 2: 0.75}, np.array([0.5, 0.75, 1.0])):
        ax = plot_cmc(curve)
        assert ax.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.75], [3, 1.0]]
        assert texts(ax) == ["50% at rank 1"]
        assert ax.get_xticks().tolist() == [1, 2, 3]
        assert ax.get_ylim() == (0.4, 1)
    assert plot_cmc({1: 0.99, 5: 0.999, 10: 1.0}).lines[0].get_xdata().tolist() == [1, 5, 10]
    plot_cmc([1.0]).figure.canvas.draw()
    with pytest.raises(ValueError, match="curve is empty"):
        plot_cmc([])


def test_the_map_holds_every_point_and_names_up_to_twenty_identities():
    points = np.random.default_rng(0).normal(size=(90, 2))
    labels = np.array([f"p{i % 9}" for i in range(90)])
    for given in (points, torch.as_tensor(points)):
        ax = plot_embedding_map(given, labels)
        drawn = np.concatenate([part.get_offsets() for part in ax.collections])
        assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in points.tolist()}
        assert texts(ax) == [f"p{i}" for i in range(9)]
    looks = {(to_hex(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes()) for part in ax.collections}
    assert len(looks) == 9  # more than there are colours
    assert not texts(plot_embedding_map(points, np.arange(90)))
    with pytest.raises(ValueError, match=r"\(N, 2\) is needed"):
        plot_embedding_map(np.zeros((4, 3)), [0] * 4)
    with pytest.raises(ValueError, match="one label a point"):
        plot_embedding_map(points, [0, 1])


def test_given_axes_are_drawn_on_and_returned():
    v = verify_scores(*scored())
    axes = Figure(figsize=(15, 3)).subplots(1, 5)
    drawn = (
        plot_roc(v, axes[0]),
        plot_det(v, axes[1]),
        plot_score_histograms(*v.histogram(20), ax=axes[2]),
        plot_cmc([0.5, 1.0], axes[3]),
        plot_embedding_map(np.eye(2), [0, 1], axes[4]),
    )
    assert all(ours is given for ours, given in zip(drawn, axes))


def test_every_figure_can_be_written(tmp_path):
    v = verify_scores(*scored())
    axes = [plot_roc(v), plot_roc({"a": v, "b": v}), plot_det(v), plot_det({"a": v}), plot_cmc([0.1, 0.2])]
    axes += [plot_score_histograms(*v.histogram(20), threshold=0.3), plot_embedding_map(np.eye(2), ["a", "b"])]
    for place, ax in enumerate(axes):
        for kind in ("png", "pdf"):
            ax.figure.savefig(tmp_path / f"{place}.{kind}")
            assert (tmp_path / f"{place}.{kind}").stat().st_size > 2000


def test_wrong_input_is_named():
    v = verify_scores(*scored())
    with pytest.raises(ValueError, match="there is no verification"):
        plot_roc({})
    with pytest.raises(ValueError, match="a rate above 0 up to 1"):
        plot_roc(v, operating_points=(0.0,))
    assert plot_roc(v, log=False, operating_points=(0.0,)).get_xlim() == (0, 1)


def test_pyplot_is_not_loaded_and_matplotlib_only_when_something_is_drawn():
    code = (
        "import sys; from triune.plots import plot_cmc; before = 'matplotlib' in sys.modules; plot_cmc([0.5, 1.0]); "
        "print(before, 'matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
