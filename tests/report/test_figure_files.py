"""Figures as files: those that there is something to draw for, in both kinds."""

import numpy as np

from triune.evaluation.judge import Candidate, KnownItems, Questions, Resampling, empty_results, judge
from triune.evaluation.judge_files import evaluate_scores
from triune.evaluation.results import DataSummary
from triune.report import figure_files
from triune.report.figure_files import write_figures


def judged():
    g = np.random.default_rng(0)
    y = np.repeat(np.arange(10), 4)
    rows = [
        (g.normal(size=(10, 6)).repeat(4, 0) + noise * g.normal(size=(40, 6))).astype(np.float32) for noise in (1, 2)
    ]
    candidates = [
        Candidate("this model", "model", "cosine", {"test": rows[0]}, "x"),
        Candidate("raw pixels", "pixels", "cosine", {"test": rows[1]}, "y"),
    ]
    summary = empty_results("n", DataSummary(source="x"), "cosine")
    return judge(candidates, {"test": KnownItems(y)}, Questions(Resampling(0)), summary)


def test_embeddings_have_all_five_figures_as_png_and_pdf(tmp_path):
    written = write_figures(tmp_path, judged())
    names = ("roc", "det", "scores", "cmc", "map")
    assert written == [tmp_path / f"{name}.png" for name in names]
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{kind}" for n in names for kind in ("png", "pdf")}
    assert all(path.stat().st_size > 1000 for path in written)


def test_curves_are_called_as_the_results_call_them_and_the_threshold_is_marked(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figure_files, "plot_roc", lambda curves: drawn.setdefault("roc", curves) and _Axes())
    monkeypatch.setattr(figure_files, "plot_det", lambda curves: _Axes())
    monkeypatch.setattr(figure_files, "plot_cmc", lambda curve: drawn.setdefault("cmc", curve) and _Axes())
    monkeypatch.setattr(
        figure_files, "plot_score_histograms", lambda *a, threshold: drawn.update(at=threshold) or _Axes()
    )
    found = judged()
    write_figures(tmp_path, found)
    assert list(drawn["roc"]) == ["this model", "raw pixels"]
    model = found.results.models[0]
    assert drawn["cmc"] == model.retrieval.cmc
    assert drawn["at"] == model.judged()[1].at(0.05).threshold


class _Axes:
    @property
    def figure(self):
        return self

    def savefig(self, path, **options):
        path.write_bytes(b"x")


def test_a_list_of_scores_has_neither_ranks_nor_map(tmp_path):
    (tmp_path / "s.csv").write_text("score,match\n0.9,1\n0.7,1\n0.8,0\n0.1,0\n")
    written = write_figures(tmp_path / "figures", evaluate_scores(tmp_path / "s.csv"))
    assert [path.stem for path in written] == ["roc", "det", "scores"]
    (tmp_path / "s.csv").write_text("score,match\ninf,1\n0.7,1\n0.8,0\n-inf,0\n")
    written = write_figures(tmp_path / "others", evaluate_scores(tmp_path / "s.csv"))
    assert [path.stem for path in written] == ["roc", "det"]
