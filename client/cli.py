"""``oncofed-client``: a hospital's command."""

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
        prog="oncofed-client",
        description="Take part in a study with this hospital's data, which stay here.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True)
    report = commands.add_parser(
        "report",
        help="write this site's report, which may show patients and stays here",
        description="Write a site's report from what its part in a run has left behind.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("folder", type=Path, help="the site's folder of a run, e.g. runs/latest/sites/hospital1")
    report.set_defaults(run=_report)
    return parser


def _report(options: argparse.Namespace) -> None:
    from client.report.build import build_site_report

    print(f"report: {build_site_report(options.folder)}")
