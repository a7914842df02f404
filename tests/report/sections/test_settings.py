"""The settings of the run."""

from report.building import run_results, shown
from triune.report.sections.settings import settings_section


def test_the_settings_are_shown_as_they_are() -> None:
    page = shown(run_results(), settings="data: digits\nname: </pre><script>\n")
    assert "data: digits name: </pre><script> " in page.said("settings")
    assert "<script>\n\n" not in page.source


def test_there_is_no_section_without_settings() -> None:
    assert settings_section(None) is None
