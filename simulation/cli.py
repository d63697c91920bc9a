"""``oncofed-simulation``: the study with simulated sites on one machine."""

import argparse
import sys
from pathlib import Path

from common.command import Commands

RUN_HELP = """overrides are Hydra's: key=value, group=choice. Examples:
  oncofed-simulation run                                      the demo
  oncofed-simulation run preset=demo seed=2 name=second
  oncofed-simulation run site.hospital1.path=/data/brats      one site with your own BraTS patients
  oncofed-simulation run strategy=fedprox strategy.proximal_mu=0.1
  oncofed-simulation run simulation.engine=ray
  oncofed-simulation run resume=runs/latest                   go on with a run that was stopped
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command."""
    given = sys.argv[1:] if arguments is None else arguments
    # `run` is also what happens when no command is named.
    if not given or given[0] not in ("run", "cohort", "-h", "--help"):
        given = ["run", *given]
    commands = Commands("oncofed-simulation", "Run the whole study with simulated sites on this machine.")
    run = commands.add(
        "run",
        "run a study and write its reports (the default)",
        "Run a study and write its reports to runs/<name>/report and runs/<name>/sites/<site>/report.",
        _run,
        RUN_HELP,
    )
    run.add_argument("overrides", nargs="*", metavar="key=value", help="what differs from the preset")
    cohort = commands.add(
        "cohort",
        "make the demo cohort and draw a contact sheet",
        "Make the demo cohort (or find it in the cache) and draw a contact sheet of its patients.",
        _cohort,
    )
    cohort.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. cohort.train=8 cohort.seed=3")
    cohort.add_argument(
        "--sheet", type=Path, default=Path("cohort.png"), metavar="PNG", help="where the contact sheet goes"
    )
    commands.main(given)


# The imports below wait until a command needs them: torch and Flower take seconds, and -h should not.


def _run(options: argparse.Namespace) -> None:
    from simulation.run import run

    run(options.overrides)


def _cohort(options: argparse.Namespace) -> None:
    from simulation.run import make_cohort

    make_cohort(options.overrides, options.sheet)


if __name__ == "__main__":
    main()
