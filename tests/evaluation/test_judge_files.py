"""`triune evaluate` of files: embeddings with intervals, conditions and another model; listed and scored pairs."""

import json

import numpy as np
import pytest

from triune.cli import main
from triune.retrieval.metrics import metrics_of_rankings, retrieval_metrics
from triune.retrieval.reranking import expand_gallery, rerank
from triune.verification.all_pairs import verify_embeddings
from triune.verification.bootstrap import bootstrap_verification
from triune.verification.comparison import compare_verification
from triune.verification.conditions import rates_by_condition
from triune.verification.folds import cross_validated_accuracy
from triune.verification.roc import verify_scores
from triune.verification.templates import pool_templates
from triune.verification.thresholds import fit_threshold

N = 120


@pytest.fixture
def files(tmp_path):
    """Embeddings of two models, labels, and a CSV of conditions, as files; and the same as arrays."""
    g = np.random.default_rng(0)
    y = np.repeat(np.arange(N // 6), 6)
    centres = g.normal(size=(N // 6, 8))
    x, other = ((centres[y] + noise * g.normal(size=(N, 8))).astype(np.float32) for noise in (0.7, 1.2))
    cameras, sessions = np.array(["left", "right"])[np.arange(N) % 2], np.arange(N) // 2
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "other.npy", other)
    (tmp_path / "y.txt").write_text("".join(f"person {label:02d}\n" for label in y))
    rows = "".join(f"{camera},{session}\n" for camera, session in zip(cameras, sessions))
    (tmp_path / "groups.csv").write_text(f"camera,session\n{rows}")
    return tmp_path, x, other, y, cameras, sessions


def evaluated(folder, capsys, *flags):
    out = folder / "out"
    assert main(["evaluate", *map(str, flags), "--json", "--output", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "metrics.json").read_text())
    return printed, out


def test_figures_have_the_intervals_of_resampled_identities(files, capsys):
    folder, x, _, y, *_ = files
    flags = ["--embeddings", folder / "x.npy", "--labels", folder / "y.txt", "--resamples", "50", "--seed", "3"]
    found, out = evaluated(folder, capsys, *flags)
    test = found["verification"]["trained"]["test"]
    expected = bootstrap_verification(x, y, resamples=50, seed=3)
    assert test["auc"] == expected.auc.estimate
    assert test["interval"]["auc"] == [expected.auc.low, expected.auc.high]
    assert test["interval"]["0.05"] == [expected.tpr_at_fpr[0.05].low, expected.tpr_at_fpr[0.05].high]
    assert test["uncertainty"] == {"identities": N // 6, "resamples": 50, "level": 0.95, "seed": 3}
    assert found["retrieval"]["trained"]["map_at_r"] == retrieval_metrics(x, y).map_at_r
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("roc", "det", "scores", "cmc", "map") for kind in ("png", "pdf")
    }
    page = (out / "report.html").read_text()
    assert "95% interval" in page
    assert main(["evaluate", *map(str, flags), "--output", str(out)]) == 0
    table = capsys.readouterr().out
    assert f"{expected.auc.low:.3f}-{expected.auc.high:.3f}" in table
    assert "resample the 20 identities 50 times" in table


def test_conditions_are_judged_at_one_threshold_and_pairs_of_a_session_left_out(files, capsys):
    folder, x, _, y, cameras, sessions = files
    flags = ["--embeddings", folder / "x.npy", "--labels", folder / "y.txt", "--resamples", "40"]
    flags += ["--groups", folder / "groups.csv", "--exclude", "session"]
    found, out = evaluated(folder, capsys, *flags)
    verification = verify_embeddings(x, y, groups=sessions)
    test = found["verification"]["trained"]["test"]
    assert (test["auc"], test["matches"]) == (verification.auc, verification.matches)
    [table] = found["conditions"]
    assert (table["column"], table["fitted_here"]) == ("camera", True)
    threshold = verification.threshold_at_fpr(0.05)
    expected = rates_by_condition(x, y, cameras, threshold, groups=sessions, resamples=40)
    for row, theirs in zip(table["rows"], expected.within, strict=True):
        assert row["condition"] == theirs.first
        assert (row["matches"], row["impostors"]) == (theirs.matches, theirs.impostors)
        assert row["tpr"] == [theirs.tpr.estimate, theirs.tpr.low, theirs.tpr.high]
        assert row["fpr"] == [theirs.fpr.estimate, theirs.fpr.low, theirs.fpr.high]
    assert found["retrieval"]["trained"]["map_at_r"] == retrieval_metrics(x, y, groups=sessions).map_at_r
    assert "By condition" in (out / "report.html").read_text()
    assert main(["evaluate", *map(str, flags), "--output", str(out)]) == 0
    assert "by camera, all at the threshold" in capsys.readouterr().out


def test_two_models_are_compared_on_the_same_resamples(files, capsys):
    folder, x, other, y, *_ = files
    flags = ["--embeddings", folder / "x.npy", "--labels", folder / "y.txt", "--against", folder / "other.npy"]
    found, out = evaluated(folder, capsys, *flags, "--resamples", "60")
    expected = compare_verification(x, other, y, resamples=60)
    assert found["comparison"]["against"] == "other"
    assert found["comparison"]["auc"] == expected.auc._asdict()
    assert found["comparison"]["tpr_at_fpr"]["0.05"] == expected.tpr_at_fpr[0.05]._asdict()
    assert found["verification"]["other"]["test"]["auc"] == expected.second.auc.estimate
    page = (out / "report.html").read_text()
    assert "Against the other model" in page
    assert "training gave nothing" not in page
    assert main(["evaluate", *map(str, flags), "--resamples", "60", "--output", str(out)]) == 0
    assert "this model minus other" in capsys.readouterr().out


def test_retrieval_is_judged_expanded_and_re_ranked_where_asked(files, capsys):
    folder, x, _, y, *_ = files
    flags = ["--embeddings", folder / "x.npy", "--labels", folder / "y.txt", "--resamples", "0", "--rerank"]
    found, out = evaluated(folder, capsys, *flags)
    assert found["retrieval"]["expanded"]["map_at_r"] == retrieval_metrics(expand_gallery(x), y).map_at_r
    assert found["retrieval"]["re-ranked"]["map_at_r"] == metrics_of_rankings(rerank(x, k=50).rows, y).map_at_r
    assert "re-ranked" in (out / "report.html").read_text()
    assert main(["evaluate", *map(str, flags), "--output", str(out)]) == 0
    assert f"{found['retrieval']['re-ranked']['map_at_r']:.3f}" in capsys.readouterr().out
    more = ["--groups", str(folder / "groups.csv"), "--exclude", "session"]
    assert main(["evaluate", *map(str, flags), *more]) == 2
    assert "leave --exclude away" in capsys.readouterr().err


def test_a_threshold_of_a_run_is_applied_as_it_is(files, capsys):
    folder, x, _, y, *_ = files
    fitted = fit_threshold(verify_embeddings(x[:60], y[:60]), 0.1, metric="cosine", fitted_on="val")
    (folder / "t.json").write_text(json.dumps(fitted.as_dict()))
    flags = ["--embeddings", folder / "x.npy", "--labels", folder / "y.txt", "--resamples", "0"]
    found, _ = evaluated(folder, capsys, *flags, "--threshold", folder / "t.json", "--groups", folder / "groups.csv")
    expected = fitted.apply(verify_embeddings(x, y))
    assert found["operating_point"]["test"]["tp"] == expected.tp
    assert found["operating_point"]["test"]["fpr"] == expected.fpr
    assert found["conditions"][0]["threshold"] == fitted.threshold
    assert found["conditions"][0]["fitted_here"] is False
    wrong = ["--metric", "euclidean", "--threshold", str(folder / "t.json")]
    assert main(["evaluate", *map(str, flags), *wrong]) == 2
    assert "--metric cosine" in capsys.readouterr().err
    (folder / "t.json").write_text("[1]")
    assert main(["evaluate", *map(str, flags), "--threshold", str(folder / "t.json")]) == 2
    assert "holds no threshold" in capsys.readouterr().err


def test_listed_pairs_of_embeddings_go_over_their_folds(files, capsys):
    folder, x, _, y, *_ = files
    g = np.random.default_rng(1)
    first, second = g.integers(0, N, 400), g.integers(0, N, 400)
    second[:200] = first[:200] // 6 * 6 + (first[:200] + 1) % 6
    second[second == first] += 7
    second %= N
    match, folds = y[first] == y[second], np.arange(400) % 10
    lines = [f"p{a},p{b},{int(m)},{f}" for a, b, m, f in zip(first, second, match, folds)]
    (folder / "pairs.csv").write_text("\n".join(["first,second,match,fold", *lines]))
    (folder / "names.txt").write_text("\n".join(f"p{i}" for i in range(N)))
    flags = ["--embeddings", folder / "x.npy", "--pairs", folder / "pairs.csv"]
    found, out = evaluated(folder, capsys, *flags, "--names", folder / "names.txt")
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    scores = (unit[first] * unit[second]).sum(1)
    assert found["verification"]["trained"]["test"]["auc"] == pytest.approx(verify_scores(scores, match).auc, abs=1e-4)
    expected = cross_validated_accuracy(scores, match, folds).accuracy
    assert found["folds"]["accuracy"]["mean"] == pytest.approx(expected.mean, abs=1e-4)
    assert found["folds"]["accuracy"]["standard_error"] == pytest.approx(expected.standard_error, abs=1e-4)
    assert "Over folds" in (out / "report.html").read_text()
    assert main(["evaluate", *map(str, flags), "--names", str(folder / "y.txt"), "--output", str(out)]) == 2
    assert main(["evaluate", *map(str, flags), "--output", str(out)]) == 2
    assert "have no embedding" in capsys.readouterr().err


def test_templates_are_judged_in_place_of_their_images(files, capsys):
    folder, x, _, y, *_ = files
    sets = np.arange(N) // 2  # neighbours share a label
    (folder / "sets.csv").write_text("template,media\n" + "".join(f"t{t:03},m{i % 2}\n" for i, t in enumerate(sets)))
    given = ["--embeddings", str(folder / "x.npy"), "--templates", str(folder / "sets.csv"), "--resamples", "0"]
    given += ["--json", "--output", str(folder / "out")]
    assert main(["evaluate", *given, "--labels", str(folder / "y.txt")]) == 0
    figures = json.loads(capsys.readouterr().out)["verification"]["trained"]["test"]
    pooled, _ = pool_templates(x, sets)
    expected = verify_embeddings(pooled, y[::2])
    assert figures["matches"] + figures["impostors"] == (N // 2) * (N // 2 - 1) // 2
    assert figures["auc"] == pytest.approx(expected.auc, abs=1e-6)
    labels = y[::2].tolist()
    pairs = [(a, b) for a in range(0, N // 2, 3) for b in range(a + 1, N // 2, 2)]
    lines = [f"t{a:03},t{b:03},{int(labels[a] == labels[b])}" for a, b in pairs]
    (folder / "sets-pairs.csv").write_text("first,second,match\n" + "\n".join(lines) + "\n")
    assert main(["evaluate", *given, "--pairs", str(folder / "sets-pairs.csv")]) == 0
    figures = json.loads(capsys.readouterr().out)["verification"]["trained"]["test"]
    assert figures["matches"] + figures["impostors"] == len(pairs)


def test_templates_that_do_not_fit_are_named(files, capsys):
    folder, *_ = files
    (folder / "mixed.csv").write_text("template\n" + "a\n" * N)
    (folder / "none.csv").write_text("set\n" + "a\n" * N)
    given = ["evaluate", "--embeddings", str(folder / "x.npy"), "--labels", str(folder / "y.txt")]
    for name, words in (("mixed.csv", "template a holds images of two labels"), ("none.csv", "template is needed")):
        assert main([*given, "--templates", str(folder / name)]) == 2
        assert words in capsys.readouterr().err
    assert main([*given, "--templates", str(folder / "mixed.csv"), "--groups", str(folder / "groups.csv")]) == 2
    assert "leave one away" in capsys.readouterr().err
    assert main(["evaluate", "--scores", "s.csv", "--templates", "t.csv"]) == 2
    assert "--templates needs --embeddings" in capsys.readouterr().err


def test_scores_with_folds_go_over_them(tmp_path, capsys):
    lines = [f"{s},{m},{f}" for f in "ab" for s, m in ((0.9, 1), (0.8, 1), (0.85, 0), (0.1, 0))]
    (tmp_path / "s.csv").write_text("\n".join(["score,match,fold", *lines]))
    found, out = evaluated(tmp_path, capsys, "--scores", tmp_path / "s.csv")
    assert found["folds"]["names"] == ["a", "b"]
    assert found["folds"]["accuracy"]["mean"] == 0.75
    assert main(["evaluate", "--scores", str(tmp_path / "s.csv"), "--output", str(out)]) == 0
    assert "over 2 folds" in capsys.readouterr().out


def test_scores_from_a_file_are_judged_and_distances_are_told_apart_by_name(tmp_path, capsys):
    (tmp_path / "s.csv").write_text("score,match\n0.9,1\n0.8,true\n0.3,0\n0.2,False\n")
    (tmp_path / "d.csv").write_text("distance,match\n0.1,1\n0.2,1\n0.7,0\n0.8,0\n")
    for name in ("s.csv", "d.csv"):
        assert main(["evaluate", "--scores", str(tmp_path / name), "--json", "--output", str(tmp_path / "out")]) == 0
        assert json.loads(capsys.readouterr().out)["verification"]["trained"]["test"]["auc"] == 1.0
    (tmp_path / "bad.csv").write_text("score,match\n0.9,1\n0.8,perhaps\n")
    assert main(["evaluate", "--scores", str(tmp_path / "bad.csv")]) == 2
    assert "row 3, column match: 'perhaps'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--groups", "groups.csv", "--exclude", "sesion"], "camera, session"),
        (["--exclude", "session"], "--groups"),
        (["--groups", "short.csv"], "1 rows below its header"),
        (["--groups", "hole.csv"], "row 2, column camera: empty"),
        (["--against", "y.txt"], "not a whole .npy"),
        (["--against", "short.npy"], "same items"),
        (["--against", "nan.npy"], "nan.npy: embeddings holds NaN"),
        (["--resamples", "-1"], "--resamples"),
        (["--level", "95"], "--level"),
    ],
)
def test_what_does_not_fit_is_named(files, capsys, flags, says):
    folder, x, *_ = files
    (folder / "short.csv").write_text("camera\nleft\n")
    (folder / "hole.csv").write_text("camera,session\n" + ",1\n" * N)
    np.save(folder / "short.npy", x[:5])
    np.save(folder / "nan.npy", np.where(np.arange(N)[:, None] == 7, np.nan, x))
    flags = [str(folder / flag) if "." in flag else flag for flag in flags]
    given = ["--embeddings", str(folder / "x.npy"), "--labels", str(folder / "y.txt")]
    assert main(["evaluate", *given, *flags, "--output", str(folder / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("embeddings", "labels", "says"),
    [
        ("flat.npy", "y.txt", "(N, D) are needed"),
        (".", "y.txt", "cannot be read"),
        ("x.npy", ".", "cannot be read"),
        ("x.npy", "shares.npy", "shares.npy holds float64"),
        ("words.npy", "y.txt", "not a whole .npy"),
    ],
)
def test_files_that_hold_something_else_are_bad_input(files, capsys, embeddings, labels, says):
    folder, *_ = files
    np.save(folder / "flat.npy", np.zeros((N, 0)))
    np.save(folder / "shares.npy", np.arange(N) / N)
    (folder / "words.npy").write_text("words")
    assert main(["evaluate", "--embeddings", str(folder / embeddings), "--labels", str(folder / labels)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert "pickle.load" not in said


def test_all_pairs_are_asked_of_labelled_embeddings_only(files, capsys):
    folder, *_ = files
    (folder / "s.csv").write_text("score,match\n1,1\n0,0\n")
    assert main(["evaluate", "--scores", str(folder / "s.csv"), "--groups", str(folder / "groups.csv")]) == 2
    assert "--groups needs --embeddings and --labels" in capsys.readouterr().err


def test_where_nothing_is_said_the_output_is_named_after_the_file(files, monkeypatch, capsys):
    folder, *_ = files
    monkeypatch.chdir(folder)
    assert main(["evaluate", "--embeddings", "x.npy", "--labels", "y.txt", "--resamples", "0"]) == 0
    assert "runs/evaluate-x/report.html" in capsys.readouterr().err
    assert (folder / "runs" / "evaluate-x" / "metrics.json").is_file()
