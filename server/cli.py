"""``oncofed-server``: the coordinator's command."""

import argparse
from pathlib import Path

from common.command import Commands


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command."""
    commands = Commands("oncofed-server", "Coordinate a study; this side never sees a patient.")
    report = commands.add(
        "report",
        "write the study report of a run",
        "Write the study report: reference images and what sites sent as aggregates.",
        _report,
    )
    report.add_argument("folder", type=Path, help="the run's folder, e.g. runs/latest")
    commands.main(arguments)


def _report(options: argparse.Namespace) -> None:
    from server.report.build import build_study_report

    print(f"report: {build_study_report(options.folder)}")
