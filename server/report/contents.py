"""The tabs of the study report and their sections; what has no content is absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.report.page import Section


@dataclass(frozen=True)
class Tab:
    """One tab: its sections follow each other under its title."""

    anchor: str
    title: str
    sections: Sequence[Section]


_TABS: dict[tuple[str, str], tuple[Section, ...]] = {
    ("images", "Images"): (
        Section("pictures", "Pictures"),
        Section("generators", "The generators in figures"),
        Section("explanations", "How the classifier sees synthetic slices"),
    ),
    ("classifiers", "Classifiers"): (
        Section("answer", "The answer in full"),
        Section("tables", "Over runs"),
        Section("statistics", "Arm against arm"),
        Section("gains", "Gains over real images only"),
        Section("curves", "Fewer patients, more synthetic slices"),
        Section("arms", "The arms on the fixed split"),
        Section("looks", "What the classifiers look at"),
    ),
    ("sites", "Sites"): (
        Section("taking-part", "Who took part"),
        Section("cross-site", "Cross-site evaluation"),
        Section("site-reports", "Site reports"),
    ),
    ("rounds", "Rounds"): (Section("stability", "Stability"), Section("training", "Round by round")),
    ("privacy", "Privacy"): (Section("epsilon", "What it cost, and what it covers"),),
    ("methods", "Methods"): (
        Section("not-measured", "Not measured"),
        Section("limits", "Limits"),
        Section("meaning", "What the figures are"),
        Section("timings", "Timings"),
        Section("files", "The same figures as files"),
        Section("provenance", "Configuration and versions"),
    ),
}


def contents(present: Mapping[str, object]) -> list[Tab]:
    """The tabs that have something to show.

    Args:
        present: by the anchor of a section, what it would show; nothing (empty or None) leaves it out. A section that
            is not named here is always shown.
    """
    tabs = [
        Tab(anchor, title, [section for section in sections if present.get(section.anchor, True)])
        for (anchor, title), sections in _TABS.items()
    ]
    return [tab for tab in tabs if tab.sections]
