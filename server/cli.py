"""``oncofed-server``: the coordinator's command."""

import argparse
import sys
from pathlib import Path

from common.command import EXIT_CODES, run_command


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command."""
    options = _parser().parse_args(arguments)
    sys.exit(run_command(lambda: options.run(options)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oncofed-server",
        description="Coordinate a study; this side never sees a patient.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True)
    report = commands.add_parser(
        "report",
        help="write the study report of a run",
        description="Write the study report: reference images and what sites sent as aggregates.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("folder", type=Path, help="the run's folder, e.g. runs/latest")
    report.set_defaults(run=_report)
    return parser


def _report(options: argparse.Namespace) -> None:
    from server.report.build import build_study_report

    print(f"report: {build_study_report(options.folder)}")
