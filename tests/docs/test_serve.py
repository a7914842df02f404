"""docs/guide/serve.md: its routes, statuses, flags and counts are those of the service."""

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from triune.commands.serve import ServeConfig
from triune.web.app import application
from triune.web.asking import REASONS
from triune.web.decoding import FORMATS
from triune.web.guard import Access
from triune.web.limits import Limits
from triune.web.measures import Measures

PAGE = (Path(__file__).resolve().parents[2] / "docs/guide/serve.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document():
    return application(SimpleNamespace(), Access()).openapi()


def test_every_route_stands_in_the_table_and_no_other(document):
    there = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    listed = set(re.findall(r"^\| `((?:GET|POST|DELETE) [^`]+)` \|", PAGE, re.MULTILINE))
    assert listed == there


def test_every_status_that_a_client_can_mend_is_told():
    listed = {int(status) for status in re.findall(r"^\| (\d{3}) \|", PAGE, re.MULTILINE)}
    assert listed == set(REASONS) - {400, 500}


def test_every_flag_is_a_setting():
    known = {each.name for each in fields(ServeConfig)} | {f"limits.{each.name}" for each in fields(Limits)}
    named = set(re.findall(r"--([a-z_.]+[a-z])", PAGE))
    assert named
    assert named <= known


def test_defaults_that_are_told_are_those_of_the_code():
    for name, value in re.findall(r"`--limits\.(\w+)` (\d+)", PAGE):
        assert getattr(Limits(), name) == int(value)


def test_every_count_is_there():
    served = SimpleNamespace(batches=SimpleNamespace(waiting=0), held=SimpleNamespace(now=0))
    measures = Measures()
    measures.request("/verify", "POST", 200, 0.1)
    there = set(re.findall(r"^# TYPE (triune_\w+)", measures.text(served).decode(), re.MULTILINE))
    named = set(re.findall(r"^\| `(triune_\w+)` \|", PAGE, re.MULTILINE))
    assert named == {name for name in there if not name.endswith("_created")}


def test_the_formats_are_those_that_are_decoded():
    told = PAGE.partition("decoded are ")[2].partition(".")[0].replace("\n", " ")
    assert {each.strip().upper().replace(" ", "") for each in re.split(", | and ", told)} == set(FORMATS)
