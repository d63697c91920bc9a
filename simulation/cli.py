"""``oncofed-simulation``: the study with simulated sites on one machine."""

import argparse
import sys
from pathlib import Path

from client.privacy.faults import Fault
from common.system.command import Commands
from common.system.disk import require_place

COHORT_HELP = """overrides say which patients are made; what would change nothing about them is refused. Examples:
  oncofed-simulation cohort                                       the demo's: 340 patients
  oncofed-simulation cohort organ=[brain] cohort.train=6 cohort.test=4
  oncofed-simulation cohort site=lung cohort.external=0 cohort.reference=4
  oncofed-simulation cohort site=none organ=[brain]               a reference set alone
cohort.train, cohort.validation and cohort.test are of each site that trains, cohort.external is of each that only
evaluates, cohort.reference is of each of the three parts of an organ's reference set; 0 makes none.
"""

RUN_HELP = """overrides are Hydra's: key=value, group=choice. Examples:
  oncofed-simulation run                                      the demo
  oncofed-simulation run preset=demo seed=2 name=second
  oncofed-simulation run site.hospital1.path=/data/brats      one site with your own BraTS patients
  oncofed-simulation run strategy=fedprox strategy.proximal_mu=0.1
  oncofed-simulation run preset=demo privacy=patient_dp       the demo with differential privacy
  oncofed-simulation run simulation.engine=ray
  oncofed-simulation run resume=runs/latest                   go on with a run that was stopped
  oncofed-simulation run preset=demo dashboard=true           see it grow in a browser on this machine
"""

SWEEP_HELP = """examples:
  oncofed-simulation sweep preset=utility privacy.epsilon=3,8,none seed=1,2,3 --name utility
  oncofed-simulation sweep preset=demo model=[cgan] strategy.proximal_mu=0,0.1 strategy=fedprox seed=1,2
privacy.epsilon=none is the study without differential privacy. Figures are means over seeds.
"""

AUDIT_HELP = """examples:
  oncofed-simulation audit-privacy preset=demo privacy=patient_dp
  oncofed-simulation audit-privacy run=runs/latest                     the same for a run; its report shows the result
  oncofed-simulation audit-privacy preset=demo privacy=patient_dp --plant half_noise
Faults that can be planted: noise from a public seed, noise of half its size, the same noise at every step, slices
clipped one by one, a patient that adds twice the bound. All tests of an audit together call a sound installation
faulty at most once in a hundred times. Exit code 1 says that something was found.
"""

COMPARE_HELP = """examples:
  oncofed-simulation compare runs/demo runs/demo-2
  oncofed-simulation compare runs/a runs/b runs/c --json       every figure, by run
A dash stands where a run has no such key or figure. Runs differ by chance as well: that two intervals overlap shows no
difference, and is no proof that there is none. For several seeds of each, see sweep.
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command."""
    given = sys.argv[1:] if arguments is None else arguments
    # `run` is also what happens when no command is named; a word alone can only be meant as one.
    if not given or (given[0] not in ("-h", "--help") and (given[0].startswith(("-", "~", "+")) or "=" in given[0])):
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
        COHORT_HELP,
    )
    cohort.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. cohort.train=8 cohort.seed=3")
    cohort.add_argument(
        "--sheet", type=Path, default=Path("cohort.png"), metavar="PNG", help="where the contact sheet goes"
    )
    sweep = commands.add(
        "sweep",
        "run a study over several values and set the results beside each other",
        "Run a study for every combination of the values that are given, and write a table and a plot of what came of\n"
        "it. A sweep that was stopped goes on with the same command.",
        _sweep,
        SWEEP_HELP,
    )
    sweep.add_argument("overrides", nargs="+", metavar="key=value[,value...]", help="several values make an axis")
    sweep.add_argument("--name", default="sweep", help="folder of the sweep below simulation.runs_dir")
    compare = commands.add(
        "compare",
        "set runs beside each other: configuration, final figures, durations",
        "Print where the configurations of two runs or more differ, and their final figures and durations beside\n"
        "each other.",
        _compare,
        COMPARE_HELP,
    )
    compare.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="folder of a run, e.g. runs/latest")
    compare.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    audit = commands.add(
        "audit-privacy",
        "attack each model's private training step with planted patients",
        "Attack the private training step of each model of a study with a thousand planted patients: set the lower\n"
        "bound of epsilon that follows beside the one that is claimed, and test whether a patient adds what it should\n"
        "and the noise is what is stated. What is found is a fault; to find nothing proves nothing. No patient is\n"
        "read.",
        _audit,
        AUDIT_HELP,
    )
    audit.add_argument("overrides", nargs="*", metavar="key=value", help="the study; or run=FOLDER, a finished run")
    audit.add_argument("--steps", type=int, default=100, metavar="N", help="steps to audit (default: 100)")
    audit.add_argument("--canaries", type=int, default=1000, metavar="N", help="planted patients (default: 1000)")
    audit.add_argument("--patients", type=int, metavar="N", help="declared patients of a site (default: the study's)")
    audit.add_argument(
        "--plant",
        choices=[fault.value for fault in Fault],
        default=Fault.NONE.value,
        help="a fault made on purpose, to see whether it is found",
    )
    audit.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    commands.main(given)


# The imports below wait until a command needs them: torch and Flower take seconds, and -h should not.


def _run(options: argparse.Namespace) -> None:
    from common.study.config import compose
    from simulation.overrides import RunOverrides

    # What is wrong with a value is told before the seconds that all the rest takes to be imported.
    given = RunOverrides.parse(options.overrides)
    if given.resume is None:
        compose(given.study)
    from simulation.run import run

    run(options.overrides)


def _sweep(options: argparse.Namespace) -> None:
    from simulation.sweep import sweep

    sweep(options.overrides, options.name)


def _compare(options: argparse.Namespace) -> None:
    from simulation.compare import compare_command

    compare_command(options.folders, as_json=options.json)


def _audit(options: argparse.Namespace) -> None:
    from simulation.audit import audit_command

    if options.json is not None:
        require_place("--json", options.json, folder=False)
    audit_command(
        options.overrides,
        steps=options.steps,
        canaries=options.canaries,
        patients=options.patients,
        plant=options.plant,
        out=options.json,
    )


def _cohort(options: argparse.Namespace) -> None:
    from simulation.cohort.command import make_cohort

    require_place("--sheet", options.sheet, folder=False)
    make_cohort(options.overrides, options.sheet)


if __name__ == "__main__":
    main()
