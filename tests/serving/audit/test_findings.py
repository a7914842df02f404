"""Findings are records: what is written is read back, and what makes no sense is refused."""

import pytest
from pydantic import ValidationError

from triune.files import read_record, write_record
from triune.serving.audit.findings import Audit, AuditedItem, WrongLabel


def test_what_is_written_is_read_back(tmp_path):
    item = AuditedItem(row=0, name="a.png", label=None, split="train")
    wrong = WrongLabel(item=item, other="b", probability=0.9, neighbours=(item,))
    found = Audit(
        name="items.csv",
        column="label",
        items=2,
        labelled=1,
        labels=1,
        splits={"train": 2},
        left_out=["bad.png: no image"],
        told=0,
        wrong_share=0,
        fitting_share=1,
        least=0.5,
        wrong_labels=(wrong,),
        duplicates=(),
        duplicate_limit=0.001,
        outliers=(),
        outlier_limit=float("inf"),
    )
    write_record(tmp_path / "audit.json", found)
    assert read_record(tmp_path / "audit.json", Audit) == found
    with pytest.raises(ValidationError):
        WrongLabel(item=item, other="b", probability=1.2, neighbours=())
