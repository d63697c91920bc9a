"""``oncofed-client``: a hospital's command."""

import argparse
from pathlib import Path

from common.command import Commands


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command."""
    commands = Commands("oncofed-client", "Take part in a study with this hospital's data, which stay here.")
    report = commands.add(
        "report",
        "write this site's report, which may show patients and stays here",
        "Write a site's report from what its part in a run has left behind.",
        _report,
    )
    report.add_argument("folder", type=Path, help="the site's folder of a run, e.g. runs/latest/sites/hospital1")
    commands.main(arguments)


def _report(options: argparse.Namespace) -> None:
    from client.report.build import build_site_report

    print(f"report: {build_site_report(options.folder)}")
