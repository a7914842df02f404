"""Files judged: embeddings with intervals, conditions and another model; listed and scored pairs; templates."""

import dataclasses
import json

import numpy as np
import polars
import pytest

from evaluation.conftest import N
from triune.errors import InputError
from triune.evaluation import judge_files
from triune.evaluation.judge import Resampling
from triune.evaluation.judge_files import (
    EmbeddingFiles,
    PairFiles,
    evaluate_embeddings,
    evaluate_pairs,
    evaluate_scores,
)
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

FAST = Resampling(0)

TO_LEAN_ON = {"reliable": True, "reason": None}


def judged(folder, resampling=FAST, metric="cosine", reranked=False, **given):
    """Results of the fixture's embeddings and labels with more files."""
    files = {"embeddings": "x.npy", "labels": "y.txt", **given}
    files = {name: value if name == "exclude" else folder / value for name, value in files.items()}
    return evaluate_embeddings(EmbeddingFiles(**files), metric, resampling, reranked=reranked).results


def test_figures_have_the_intervals_of_resampled_identities(files):
    folder, x, _, y, *_ = files
    found = judged(folder, Resampling(50, 0.8, 3))
    [model] = found.models
    test = model.verification["test"]
    expected = bootstrap_verification(x, y, resamples=50, level=0.8, seed=3)
    assert test.auc == expected.auc.estimate
    assert (test.auc_interval.low, test.auc_interval.high) == (expected.auc.low, expected.auc.high)
    assert (test.eer_interval.low, test.eer_interval.high) == (expected.eer.low, expected.eer.high)
    for point in test.points:
        ends = expected.tpr_at_fpr[point.target_fpr]
        assert (point.tpr, point.interval.low, point.interval.high) == (ends.estimate, ends.low, ends.high)
    assert (
        test.uncertainty.model_dump() == {"identities": N // 6, "resamples": 50, "level": 0.8, "seed": 3} | TO_LEAN_ON
    )
    assert model.retrieval.map_at_r == retrieval_metrics(x, y).map_at_r
    assert (model.name, found.name, found.metric) == ("this model", "x", "cosine")
    assert found.data.source == str(folder / "x.npy")


def test_without_resamples_there_are_no_intervals(files):
    test = judged(files[0]).models[0].verification["test"]
    assert (test.uncertainty, test.auc_interval, test.points[0].interval) == (None, None, None)


def test_conditions_are_judged_at_one_threshold_and_pairs_of_a_session_left_out(files):
    folder, x, _, y, cameras, sessions = files
    found = judged(folder, Resampling(40, 0.9), groups="groups.csv", exclude="session")
    verification = verify_embeddings(x, y, groups=sessions)
    test = found.models[0].verification["test"]
    assert (test.auc, test.matches) == (verification.auc, verification.matches)
    [table] = found.conditions
    assert (table.column, table.fitted_here) == ("camera", True)
    threshold = verification.threshold_at_fpr(0.05)
    assert (table.threshold, table.distance) == (threshold, 1 - threshold)
    assert (
        table.uncertainty.model_dump() == {"identities": N // 6, "resamples": 40, "level": 0.9, "seed": 0} | TO_LEAN_ON
    )
    expected = rates_by_condition(x, y, cameras, threshold, groups=sessions, resamples=40, level=0.9)
    for row, theirs in zip(table.rows, expected.within, strict=True):
        assert row.condition == theirs.first
        assert (row.items, row.matches, row.impostors) == (theirs.items, theirs.matches, theirs.impostors)
        assert (row.tpr.estimate, row.tpr.low, row.tpr.high) == (theirs.tpr.estimate, theirs.tpr.low, theirs.tpr.high)
        assert (row.fpr.estimate, row.fpr.low, row.fpr.high) == (theirs.fpr.estimate, theirs.fpr.low, theirs.fpr.high)
    assert table.inequity["fpr"].max_over_min == expected.inequity("fpr").max_over_min
    assert table.inequity["fnr"].max_over_mean == expected.inequity("fnr").max_over_mean
    assert found.models[0].retrieval.map_at_r == retrieval_metrics(x, y, groups=sessions).map_at_r


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
def test_other_distances_are_minus_the_score(files, metric):
    folder, x, _, y, *_ = files
    found = judged(folder, metric=metric, groups="groups.csv")
    expected = verify_embeddings(x, y, metric=metric)
    assert found.models[0].verification["test"].eer == expected.eer
    assert found.conditions[0].distance == -expected.threshold_at_fpr(0.05) > 0


def test_two_models_are_compared_on_the_same_resamples(files):
    folder, x, other, y, *_ = files
    found = judged(folder, Resampling(60), against="other.npy")
    expected = compare_verification(x, other, y, resamples=60)
    assert found.comparison.against == "other"
    assert found.comparison.auc.model_dump() == expected.auc._asdict()
    assert found.comparison.eer.model_dump() == expected.eer._asdict()
    for fpr, difference in found.comparison.tpr_at_fpr.items():
        assert difference.model_dump() == expected.tpr_at_fpr[fpr]._asdict()
    assert [(model.name, model.role) for model in found.models] == [("this model", "model"), ("other", "against")]
    assert found.models[1].verification["test"].auc == expected.second.auc.estimate
    assert judged(folder, against="other.npy").comparison is None  # no intervals, no comparison


def test_another_model_that_is_called_like_a_row_of_the_table_is_told_apart(files):
    folder, _, other, *_ = files
    np.save(folder / "raw pixels.npy", other)
    assert judged(folder, against="raw pixels.npy").models[1].name == "raw pixels (other)"


def test_rankings_are_of_the_judged_model_also_beside_another(files):
    folder, x, _, y, *_ = files
    found = judged(folder, reranked=True, against="other.npy")
    model, other = found.models
    assert model.rankings["expanded"].map_at_r == retrieval_metrics(expand_gallery(x), y).map_at_r
    assert model.rankings["re-ranked"].map_at_r == metrics_of_rankings(rerank(x, k=50).rows, y).map_at_r
    assert other.rankings == {}
    with pytest.raises(InputError, match="leave --exclude away"):
        judged(folder, reranked=True, groups="groups.csv", exclude="session")


def test_a_threshold_of_a_run_is_applied_as_it_is(files):
    folder, x, _, y, *_ = files
    fitted = fit_threshold(verify_embeddings(x[:60], y[:60]), 0.1, metric="cosine", fitted_on="its pairs")
    (folder / "t.json").write_text(json.dumps(fitted.as_dict()))
    found = judged(folder, threshold="t.json", groups="groups.csv")
    expected = fitted.apply(verify_embeddings(x, y))
    assert (found.threshold.on_test.tp, found.threshold.on_test.fpr) == (expected.tp, expected.fpr)
    assert (found.threshold.target_fpr, found.threshold.fitted_on) == (0.1, "its pairs")
    assert (found.threshold.threshold, found.threshold.distance) == (fitted.threshold, fitted.distance)
    assert (found.conditions[0].threshold, found.conditions[0].fitted_here) == (fitted.threshold, False)
    with pytest.raises(InputError, match="--metric cosine"):
        judged(folder, threshold="t.json", metric="euclidean")
    (folder / "t.json").write_text("[1]")
    with pytest.raises(InputError, match=r"t\.json is damaged or another file"):
        judged(folder, threshold="t.json")


def test_listed_pairs_of_embeddings_go_over_their_folds(files):
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
    listed = PairFiles(folder / "x.npy", folder / "pairs.csv", folder / "names.txt")
    found = evaluate_pairs(listed).results
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    scores = (unit[first] * unit[second]).sum(1)
    assert found.models[0].verification["test"].auc == pytest.approx(verify_scores(scores, match).auc, abs=1e-4)
    expected = cross_validated_accuracy(scores, match, folds)
    assert found.folds.accuracy.mean == pytest.approx(expected.accuracy.mean, abs=1e-4)
    assert found.folds.accuracy.standard_error == pytest.approx(expected.accuracy.standard_error, abs=1e-4)
    assert found.folds.tpr_at_fpr[0.05].tpr.mean == pytest.approx(expected.rates[0.05].mean_tpr.mean, abs=1e-4)
    assert found.metric == "cosine"
    with pytest.raises(InputError, match="'person 00' names two rows"):
        evaluate_pairs(PairFiles(folder / "x.npy", folder / "pairs.csv", folder / "y.txt"))
    with pytest.raises(InputError, match="have no embedding"):
        evaluate_pairs(PairFiles(folder / "x.npy", folder / "pairs.csv"))


def test_templates_are_judged_in_place_of_their_images(files):
    folder, x, _, y, *_ = files
    sets = np.arange(N) // 2  # neighbours share a label
    (folder / "sets.csv").write_text("template,media\n" + "".join(f"t{t:03},m{i % 2}\n" for i, t in enumerate(sets)))
    figures = judged(folder, templates="sets.csv").models[0].verification["test"]
    pooled, _ = pool_templates(x, sets)
    expected = verify_embeddings(pooled, y[::2])
    assert figures.matches + figures.impostors == (N // 2) * (N // 2 - 1) // 2
    assert figures.auc == pytest.approx(expected.auc, abs=1e-6)
    labels = y[::2].tolist()
    pairs = [(a, b) for a in range(0, N // 2, 3) for b in range(a + 1, N // 2, 2)]
    lines = [f"t{a:03},t{b:03},{int(labels[a] == labels[b])}" for a, b in pairs]
    (folder / "sets-pairs.csv").write_text("first,second,match\n" + "\n".join(lines) + "\n")
    listed = PairFiles(folder / "x.npy", folder / "sets-pairs.csv", templates=folder / "sets.csv")
    figures = evaluate_pairs(listed).results.models[0].verification["test"]
    assert figures.matches + figures.impostors == len(pairs)
    with pytest.raises(InputError, match="leave one away"):
        judged(folder, templates="sets.csv", groups="groups.csv")
    with pytest.raises(InputError, match="leave one away"):
        evaluate_pairs(PairFiles(folder / "x.npy", folder / "p.csv", folder / "y.txt", folder / "sets.csv"))


def test_the_other_model_s_templates_are_averaged_too(files):
    folder, _, other, y, *_ = files
    (folder / "sets.csv").write_text("template\n" + "".join(f"t{i // 2:03}\n" for i in range(N)))
    found = judged(folder, templates="sets.csv", against="other.npy").models[1].verification["test"]
    pooled, _ = pool_templates(other, np.arange(N) // 2)
    assert found.auc == pytest.approx(verify_embeddings(pooled, y[::2]).auc, abs=1e-6)


def test_scores_with_folds_go_over_them(tmp_path):
    lines = [f"{s},{m},{f}" for f in "ab" for s, m in ((0.9, 1), (0.8, 1), (0.85, 0), (0.1, 0))]
    (tmp_path / "s.csv").write_text("\n".join(["score,match,fold", *lines]))
    found = evaluate_scores(tmp_path / "s.csv").results
    assert found.folds.names == ["a", "b"]
    assert found.folds.accuracy.mean == 0.75
    assert found.folds.tpr_at_fpr[0.05].reliable is False


def test_distances_are_told_from_scores_by_the_name_of_their_column(tmp_path):
    (tmp_path / "s.csv").write_text("score,match\n0.9,1\n0.8,true\n0.3,0\n0.2,False\n")
    (tmp_path / "d.csv").write_text("distance,match\n0.1,1\n0.2,1\n0.7,0\n0.8,0\n")
    for name, metric in (("s.csv", "score"), ("d.csv", "distance")):
        found = evaluate_scores(tmp_path / name).results
        assert (found.metric, found.models[0].verification["test"].auc) == (metric, 1.0)
    (tmp_path / "bad.csv").write_text("score,match\n0.9,1\n0.8,perhaps\n")
    with pytest.raises(InputError, match=r"row 3, column match: 'perhaps'"):
        evaluate_scores(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    "text",
    [
        "Score;Match\n0.9;yes\n0.8;1.0\n0.3;no\n0.2;0.0\n",
        " SCORE , match\n0.9,Y\n0.8,T\n0.3,n\n0.2,F\n",
        "\ufeffmatch\tscore\tnote\r\nTRUE\t0.9\t\r\n1\t0.8\t\r\nFalse\t0.3\t\r\n0\t0.2\t\r\n",
    ],
)
def test_scores_take_the_words_names_and_marks_that_pairs_take(tmp_path, text):
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert evaluate_scores(tmp_path / "s.csv").results.models[0].verification["test"].auc == 1.0


def test_folds_that_look_like_numbers_stay_apart(tmp_path):
    lines = [f"{s},{m},{f}" for f in ("1.10", "1.1") for s, m in ((0.9, 1), (0.8, 1), (0.85, 0), (0.1, 0))]
    (tmp_path / "s.csv").write_text("\n".join(["score,match,fold", *lines]))
    assert sorted(evaluate_scores(tmp_path / "s.csv").results.folds.names) == ["1.1", "1.10"]


def test_scores_without_what_is_needed_are_told(tmp_path):
    for text, said in (
        ("score,matches\n1,1\n", "rename 'matches' to 'match'"),
        ("similarity,match\n1,1\n", "score (or distance) and match are needed"),
        ("score,match\n0.5,1\n0.4,0,9\n", "row 3: it has 3 cells"),
        ("score;match\n0,5;1\n0,4;0\n", "'0,5' is not a number (write 0.5)"),
    ):
        (tmp_path / "s.csv").write_text(text)
        with pytest.raises(InputError) as raised:
            evaluate_scores(tmp_path / "s.csv")
        assert said in str(raised.value)


def test_infinite_scores_have_a_roc_but_no_histogram(tmp_path):
    (tmp_path / "s.csv").write_text("score,match\ninf,1\n0.8,1\n0.3,0\n-inf,0\n")
    test = evaluate_scores(tmp_path / "s.csv").results.models[0].verification["test"]
    assert (test.auc, test.histogram) == (1.0, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"groups": "groups.csv", "exclude": "sesion"}, "camera, session"),
        ({"exclude": "session"}, "--groups"),
        ({"groups": "short.csv"}, "1 rows below its header"),
        ({"groups": "hole.csv"}, "row 2, column camera"),
        ({"against": "y.txt"}, "not a whole .npy"),
        ({"against": "short.npy"}, "same items"),
        ({"against": "nan.npy"}, "nan.npy: embeddings holds NaN"),
        ({"labels": "one.txt"}, "one.txt: 1 identity"),
    ],
)
def test_what_does_not_fit_is_named(files, given, says):
    folder, x, *_ = files
    (folder / "short.csv").write_text("camera\nleft\n")
    (folder / "hole.csv").write_text("camera,session\n,1\n" + "left,1\n" * (N - 1))
    (folder / "one.txt").write_text("a\n" * N)
    np.save(folder / "short.npy", x[:5])
    np.save(folder / "nan.npy", np.where(np.arange(N)[:, None] == 7, np.nan, x))
    with pytest.raises(InputError) as raised:
        judged(folder, **given)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("scores", [(1e308, -1e308), (1e308, 9.999999999999999e307), (5e-324, 0.0)])
def test_scores_at_the_limits_of_float64_are_judged(tmp_path, scores):
    (tmp_path / "s.csv").write_text(f"score,match\n{scores[0]},1\n{scores[1]},0\n")
    [model] = evaluate_scores(tmp_path / "s.csv").results.models
    assert model.verification["test"].auc == 1
    shown = model.verification["test"].histogram
    apart = not np.isfinite(float(scores[0]) - float(scores[1])) or float(scores[0]) - float(scores[1]) > 1e300
    assert (shown is not None) == apart  # between neighbours no bins fit
    assert shown is None or sum(shown.matches) == 1


def test_a_table_of_scores_and_of_distances_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("Score,distance,match\n1,0,1\n0,1,0\n")
    with pytest.raises(InputError, match="both columns score and distance"):
        evaluate_scores(tmp_path / "s.csv")


def test_exclusion_that_leaves_no_matching_pair_is_named(files):
    folder, *_ = files
    (folder / "own.csv").write_text("session\n" + "".join(f"s{i // 6}\n" for i in range(N)))
    with pytest.raises(InputError, match="--exclude leaves no matching pair"):
        judged(folder, groups="own.csv", exclude="session")
    # One identity seen in a second session is enough.
    (folder / "own.csv").write_text("session\n" + "other\n" + "".join(f"s{i // 6}\n" for i in range(1, N)))
    assert judged(folder, groups="own.csv", exclude="session").models[0].verification["test"].matches == 5


def test_rankings_are_made_anew_only_where_that_is_asked_for(files):
    folder, *_ = files
    [plain] = evaluate_embeddings(EmbeddingFiles(folder / "x.npy", folder / "y.txt"), resampling=FAST).results.models
    [asked] = judged(folder, reranked=True).models
    assert (plain.rankings, list(asked.rankings)) == ({}, ["expanded", "re-ranked"])


@pytest.mark.parametrize(("exclude", "compared"), [(None, []), ("session", ["groups.csv, --exclude"])])
def test_all_that_processes_read_is_compared_between_them(files, monkeypatch, exclude, compared):
    folder, _, other, _, _, sessions = files
    seen = {}
    monkeypatch.setattr(judge_files, "check_same", lambda contents, divide_over: seen.update(contents))
    judged(folder, groups="groups.csv", against="other.npy", exclude=exclude)
    names = ["x.npy", "other.npy", "y.txt", *(f"groups.csv, column {each}," for each in CONDITIONS[exclude]), *compared]
    assert sorted(seen) == sorted(str(folder / name) for name in names)
    np.testing.assert_array_equal(seen[str(folder / "other.npy")], other)
    if exclude:
        np.testing.assert_array_equal(seen[str(folder / "groups.csv, --exclude")].astype(int), sessions)


CONDITIONS = {None: ["camera", "session"], "session": ["camera"]}


def test_what_is_asked_and_what_was_read_stays_as_it_is(tmp_path):
    for record in (
        EmbeddingFiles(tmp_path, tmp_path),
        PairFiles(tmp_path, tmp_path),
        judge_files._ListedScores(np.ones(1), np.ones(1), None, "score"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, dataclasses.fields(record)[0].name, None)


@pytest.mark.parametrize("where", ["csv", "parquet of groups", "parquet of embeddings"])
def test_retrieval_follows_queries_and_gallery_and_leaves_out_the_query_s_own_camera(files, where):
    folder, x, _, y, cameras, _ = files
    asks, answers = np.arange(N) % 3 == 0, np.arange(N) % 2 == 0
    columns = {"is_query": asks, "is_gallery": answers, "camera": cameras}
    plain = {"embeddings": folder / "x.npy", "labels": folder / "y.txt"}
    if where == "csv":
        rows = [f"{'yes' if a else ''},{int(g)},{c}" for a, g, c in zip(asks, answers, cameras)]
        (folder / "roles.csv").write_text("\n".join(["is_query,Is Gallery,camera", *rows]) + "\n")
        given = EmbeddingFiles(**plain, groups=folder / "roles.csv")
    elif where == "parquet of groups":
        polars.DataFrame(columns).write_parquet(folder / "roles.parquet")
        given = EmbeddingFiles(**plain, groups=folder / "roles.parquet")
    else:
        names = [f"person {label:02d}" for label in y]
        own = polars.DataFrame({"identity": names, "embedding": x.tolist()} | columns)
        own.write_parquet(folder / "x.parquet")
        given = EmbeddingFiles(folder / "x.parquet", folder / "x.parquet")
    found = evaluate_embeddings(given, resampling=Resampling(0)).results
    expected = retrieval_metrics(x, y, is_query=asks, is_gallery=answers, groups=cameras)
    retrieval = found.models[0].retrieval
    assert (retrieval.map, retrieval.recall_at, retrieval.queries) == (
        expected.map,
        expected.recall_at,
        expected.queries,
    )
    assert (retrieval.roles.queries, retrieval.roles.gallery, retrieval.roles.same_camera) == (
        asks.sum(),
        answers.sum(),
        True,
    )
    # Verification is of all pairs, and who asks is no condition.
    assert [table.column for table in found.conditions] == ([] if "embeddings" in where else ["camera"])
    assert found.models[0].verification["test"].matches == verify_embeddings(x, y).matches


def test_a_role_that_is_neither_yes_nor_no_is_named_and_one_that_looks_misspelt_refused(files):
    folder = files[0]
    (folder / "roles.csv").write_text("is_query\n" + "yes\n" * 4 + "maybe\n" + "no\n" * (N - 5))
    given = EmbeddingFiles(folder / "x.npy", folder / "y.txt", groups=folder / "roles.csv")
    with pytest.raises(InputError, match=r"roles\.csv, row 6, column is_query: 'maybe' is not a known value"):
        evaluate_embeddings(given)
    (folder / "roles.csv").write_text("is_querry\n" + "yes\n" * N)
    with pytest.raises(InputError, match="is_querry"):
        evaluate_embeddings(given)
