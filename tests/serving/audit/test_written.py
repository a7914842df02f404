"""What an audit found is the same as text, as JSON, as a table and on the page."""

import csv
import re

import numpy as np
import pytest

from serving.audit.planted import pixels, write_mistakes
from triune.files import read_record
from triune.serving.audit.findings import Audit
from triune.serving.audit.look import audit
from triune.serving.audit.sources import AuditItems, items_of_files
from triune.serving.audit.written import audit_text, write_audit


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    rows, _, _ = write_mistakes(folder)
    e = pixels(folder, rows)
    e[60] = -10 * e[60]
    np.save(folder / "e.npy", e)
    return audit(items_of_files(folder / "e.npy", images=folder / "items.csv", column="label"))


def test_files_hold_every_finding(found, tmp_path):
    files = write_audit(tmp_path, found, images=True)
    assert [path.name for path in files] == ["audit.json", "audit.csv", "audit.html"]
    assert read_record(tmp_path / "audit.json", Audit) == found
    with (tmp_path / "audit.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["finding"] for line in lines] == (
        ["wrong label"] * len(found.wrong_labels)
        + ["near-duplicate"] * len(found.duplicates)
        + ["outlier"] * len(found.outliers)
    )
    first, pair = lines[0], lines[len(found.wrong_labels)]
    assert (first["image"], first["says"]) == (found.wrong_labels[0].item.name, found.wrong_labels[0].other)
    assert float(first["score"]) == found.wrong_labels[0].probability
    assert (pair["image"], pair["other_image"]) == (found.duplicates[0].first.name, found.duplicates[0].second.name)
    assert {pair["split"], pair["other_split"]} > {"train"}
    page = (tmp_path / "audit.html").read_text()
    queries = len(found.wrong_labels) + len(found.duplicates) + len(found.outliers)
    assert page.count('<figure class="query') == queries
    assert "what is tested on was trained on" in page
    assert [path.name for path in write_audit(tmp_path, found, images=False)] == ["audit.json", "audit.csv"]


def test_the_page_tells_of_what_nothing_was_found_too_and_of_what_limits_it(found, tmp_path):
    none = found.model_copy(update={"wrong_labels": (), "outliers": (), "cautions": ("so few",)})
    page = write_audit(tmp_path, none, images=True)[-1].read_text()
    facts = re.findall(r'<p class="facts">(.*?)</p>', page)
    assert facts[1].startswith("likely wrong labels: 0 of 124")
    assert facts[2] == "outliers: 0"
    assert "caution: so few" in facts
    assert not any(line.startswith("near-duplicates") for line in facts), "they have a heading"


def test_the_text_counts_and_lists_with_aligned_columns(found):
    text = audit_text(found, show=2)
    lines = text.splitlines()
    assert lines[0].startswith("124 items of ")
    assert "8 labels on 124; train 44, val 40, test 40" in lines[0]
    start = lines.index(next(line for line in lines if line.startswith("likely wrong labels")))
    assert lines[start].startswith(f"likely wrong labels: {len(found.wrong_labels)} of 124 (by estimate, ")
    heads, one, two = lines[start + 1 : start + 4]
    for name in ("label", "fits better", "image"):
        column = heads.index(name)
        assert one[column - 1] == two[column - 1] == " "
        assert one[column] != " "
    assert f"  and {len(found.wrong_labels) - 2} more" in lines
    assert f"near-duplicates: {len(found.duplicates)} pairs in 4 groups, 2 to the last byte, 4 across splits" in text
    assert "outliers: 1, more than" in text


def test_nothing_found_is_said(found):
    empty = found.model_copy(update={"wrong_labels": (), "duplicates": (), "outliers": (), "told": 0, "splits": {}})
    text = audit_text(empty)
    assert text.splitlines()[2:] == [
        *("likely wrong labels: not looked for", "", "near-duplicates: 0 pairs", "", "outliers: 0")
    ]


def test_the_heading_says_which_labels_were_judged_and_which_were_not(found):
    other = found.model_copy(update={"column": "identity", "other_column": "label"})
    line = next(line for line in audit_text(other).splitlines() if line.startswith("likely wrong identities: "))
    assert line.endswith("; labels were not looked at: --column label")
    assert "not looked for; labels were not looked at" in audit_text(other.model_copy(update={"told": 0}))


def test_few_items_are_too_few_to_say_anything():
    items = AuditItems("few", np.eye(19), [f"row {k}" for k in range(19)], ["a", *"b" * 18], [None] * 19)
    few = audit(items)
    assert few.cautions[0].startswith("19 items are too few to tell wrong labels or outliers by")
    assert "outliers: not looked for, which takes 20 items" in audit_text(few)


def test_names_with_line_breaks_stay_on_their_line(found):
    first = found.wrong_labels[0]
    item = first.item.model_copy(update={"name": "a\nb.png", "label": "x\x1b[2J"})
    odd = found.model_copy(update={"wrong_labels": (first.model_copy(update={"item": item}),)})
    assert r"a\nb.png" in audit_text(odd)
    assert "\x1b" not in audit_text(odd)
