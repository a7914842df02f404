"""The settings of the run, as they lie in its folder."""

from dataclasses import dataclass

from triune.report.sections.section import Section


@dataclass(frozen=True)
class SettingsSection(Section):
    """What the section shows.

    Args:
        text: the content of ``config.yaml``.
    """

    key = "settings"
    title = "Configuration"

    text: str


def settings_section(text: str | None) -> SettingsSection | None:
    """The section, or ``None`` without settings."""
    return None if text is None else SettingsSection(text)
