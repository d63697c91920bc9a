"""``oncofed-server``: the coordinator's command."""

import argparse
from pathlib import Path

from common.command import Commands

EXPORT_HELP = """examples:
  oncofed-server export runs/latest
  oncofed-server export runs/latest --model wgan_gp --images 500 --formats png --to /data/synthetic
"""


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
    _add_export(commands)
    commands.main(arguments)


def _add_export(commands: Commands) -> None:
    export = commands.add(
        "export",
        "hand on the generators of a finished run, and synthetic images made with them",
        "Write each GAN's generator of the chosen round, with a model card and a loader that needs torch alone, and\n"
        "synthetic images as PNG and as DICOM that says it is synthetic.",
        _export,
        EXPORT_HELP,
    )
    export.add_argument("folder", type=Path, help="the run's folder, e.g. runs/latest")
    export.add_argument("--model", action="append", metavar="NAME", help="this GAN only; may be given again")
    export.add_argument("--to", type=Path, metavar="FOLDER", help="where to; without it, export/ in the run's folder")
    export.add_argument("--images", type=int, default=100, metavar="N", help="of each set; 0: generators alone")
    export.add_argument("--formats", default="png,dicom", help="png, dicom or both with a comma (the default)")
    export.add_argument("--seed", type=int, help="of the images; without it, the run's")
    export.add_argument("--licence", default="not stated", help="of the weights, for the model card")
    export.add_argument("--replace", action="store_true", help="an earlier export makes way")
    export.add_argument("--json", action="store_true", help="print what was written, and nothing else")


def _report(options: argparse.Namespace) -> None:
    from server.report.build import build_study_report

    print(f"report: {build_study_report(options.folder)}")


def _export(options: argparse.Namespace) -> None:
    from server.export.command import Choices, export

    choices = Choices(
        models=options.model,
        to=options.to,
        images=options.images,
        formats=[one.strip() for one in options.formats.split(",") if one.strip()],
        seed=options.seed,
        licence=options.licence,
        replace=options.replace,
    )
    export(options.folder, choices, as_json=options.json)
