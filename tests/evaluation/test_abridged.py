"""What a file that is given away says of a run: the figures, and nobody's name."""

import json

import numpy as np
import pytest

from report.building import run_results
from triune.evaluation.abridged import RATES, abridged, abridged_pairs
from triune.evaluation.results import Results


@pytest.fixture(scope="module")
def whole():
    found = run_results()
    named = found.classification.model_copy(update={"classes": ["ann", "bo", "cy"], "untrained": {"di": 3}})
    data = found.data.model_copy(update={"source": "/home/ann/secret.csv", "notes": ["of the clinic"]})
    return found.model_copy(update={"data": data, "classification": named})


def test_figures_stay_and_lists_go(whole):
    few = abridged(whole)
    for split in few.models[0].verification:
        ours, theirs = (each.models[0].verification[split] for each in (few, whole))
        assert (ours.auc, ours.eer, ours.points) == (theirs.auc, theirs.eer, theirs.points)
    assert few.models[0].verification["val"].histogram == whole.models[0].verification["val"].histogram
    assert few.models[0].judged()[0] == whole.models[0].judged()[0]
    assert few.models[0].retrieval.recall_at == whole.models[0].retrieval.recall_at
    assert len(few.models) == 1
    assert Results.model_validate(json.loads(few.model_dump_json(exclude_defaults=True))) == few


def test_of_a_roc_those_points_stay_that_keep_a_rate(whole):
    roc = whole.models[0].verification["val"].roc
    few = abridged(whole).models[0].verification["val"].roc
    assert len(few.fpr) <= len(RATES)
    for rate in RATES:
        places = [np.searchsorted(each.fpr, rate, side="right") - 1 for each in (roc, few)]
        assert roc.threshold[places[0]] == few.threshold[places[1]]
        assert roc.tpr[places[0]] == few.tpr[places[1]]


def test_pairs_whose_spread_is_not_kept_have_no_curve(whole):
    few = abridged_pairs(whole.models[0].verification["val"], spread=False)
    assert (few.roc.fpr, few.histogram) == ([], None)


def test_it_takes_a_few_kilobytes_and_names_nobody(whole):
    text = abridged(whole).model_dump_json(exclude_defaults=True)
    assert len(text) < 12_000
    for name in ("secret", "clinic", '"ann"', '"bo"', '"cy"', '"di"', "raw pixels"):
        assert name not in text
