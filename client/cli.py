"""``oncofed-client``: a hospital's command."""

import argparse
from pathlib import Path

from common.errors import ConfigError
from common.system.command import Commands
from common.system.disk import require_place
from common.system.outside import say

STUDY_HELP = """overrides are those of oncofed-simulation: they describe the study that this site may join. Examples:
  oncofed-client {command} site.yaml                        the demo's study
  oncofed-client {command} site.yaml preset=paper image.size=256
  oncofed-client {command} site.yaml --study config.yaml    a resolved configuration from the coordinator
"""

BUDGET_HELP = """examples:
  oncofed-client budget site.yaml                                what is spent and left
  oncofed-client budget site.yaml preset=demo privacy=patient_dp what that study would cost
  oncofed-client budget site.yaml --study config.yaml            the same for a coordinator's study
  oncofed-client budget site.yaml --reopen "disk failed"         when the ledger is refused; see docs/privacy.md
"""

INIT_HELP = """examples:
  oncofed-client init hospital1.zip --folder hospital1
  oncofed-client init hospital1.zip --sha256 3f6c…               refuse a kit other than the one the coordinator sent
"""

APPROVE_HELP = """examples:
  oncofed-client approve site.yaml study.fab             show what it changes, and ask
  oncofed-client approve site.yaml study.fab --diff      with the changed lines
  oncofed-client approve site.yaml --revoke 9f86d081…    take it off the list again
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command."""
    commands = Commands("oncofed-client", "Take part in a study with this hospital's data, which stay here.")
    init = commands.add(
        "init",
        "join a federation with the start-up kit that its coordinator sent",
        "Make this site's key, enrol it with the kit's one-time token, and write the node's folder: settings, key,\n"
        "certificate and address. The private key never leaves this machine. An interrupted init goes on where it\n"
        "stopped; a key is never overwritten.",
        _init,
        INIT_HELP,
    )
    init.add_argument("kit", type=Path, metavar="KIT.zip", help="the start-up kit")
    init.add_argument("--folder", type=Path, metavar="FOLDER", help="the node's folder (default: the site's name)")
    init.add_argument("--sha256", metavar="HEX", help="the kit's SHA-256, as the coordinator told it")
    init.add_argument(
        "--new-key", action="store_true", help="this folder has joined before: put its key aside, keep all else"
    )
    prepare = commands.add(
        "prepare",
        "read and preprocess this site's studies into its cache",
        "Read and preprocess every study that site.yaml names, so that a federation can begin at once. An interrupted\n"
        "preparation goes on where it stopped; afterwards only what has changed is done again.",
        _prepare,
        STUDY_HELP.format(command="prepare"),
    )
    _add_study(prepare)
    doctor = commands.add(
        "doctor",
        "examine this site's studies, headers and machine, and try one training step",
        "Examine everything that a study would need of this site, and write doctor/index.html and doctor/doctor.json,\n"
        "which may show patients and stay here. Nothing is sent, and no image is changed. Exit code 0 says that the\n"
        "site is fit to take part, 3 that it cannot.",
        _doctor,
        STUDY_HELP.format(command="doctor"),
    )
    _add_study(doctor)
    doctor.add_argument("--json", action="store_true", help="print doctor.json and nothing else")
    doctor.add_argument("--out", type=Path, metavar="FOLDER", help="where the folder doctor goes (default: the site's)")
    budget = commands.add(
        "budget",
        "what this site's privacy was spent on, what is left, and what a study would cost",
        "Print the account of this site's privacy budget. With a study (key=value, or --study), also what it would\n"
        "cost. Nothing is charged.",
        _budget,
        BUDGET_HELP,
    )
    _add_study(budget)
    budget.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    budget.add_argument(
        "--reopen",
        metavar="REASON",
        help="begin a new ledger in place of one that is refused; the whole cap then counts as spent",
    )
    audit = commands.add(
        "audit",
        "what was asked of this site, what ran or was refused, and what left",
        "Print the site's record of every message, one line each, and check that nobody changed it. A changed line is\n"
        "named, and the exit code is then 1.",
        _audit,
    )
    _add_site(audit)
    audit.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    audit.add_argument("--since", metavar="DATE", help="leave out what is older, e.g. 2030-01-31 (UTC)")
    approve = commands.add(
        "approve",
        "show what an app bundle changes, and allow it to run at this site",
        "Compare an app bundle, file by file, with the installed release and with the bundle approved last, and put\n"
        "it on this site's list. Nothing of it is run. A bundle that equals the installed release needs no approval.",
        _approve,
        APPROVE_HELP,
    )
    _add_site(approve)
    approve.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE.fab", help="the study's app bundle")
    approve.add_argument("--yes", action="store_true", help="agree without being asked")
    approve.add_argument("--diff", action="store_true", help="print the changed lines as well")
    approve.add_argument(
        "--privacy-change-reviewed",
        action="store_true",
        help="say that you have read the changes of files on which patients' privacy hangs",
    )
    approve.add_argument("--revoke", metavar="SHA256", help="take a bundle off the list")
    start = commands.add(
        "start",
        "run this site's node until it is stopped",
        "Connect to the coordinator and take part in its studies, as site.yaml allows. Only bundles run that this\n"
        "hospital approved, or that equal its installed release. What ends by itself is started again. Stop it with\n"
        "Ctrl-C or SIGTERM.",
        _start,
    )
    _add_site(start)
    status = commands.add(
        "status",
        "whether the node runs, and what studies had it do",
        "Print whether this site's node runs and is well, and from its record what each study asked for and got.\n"
        "Nothing is asked of the coordinator.",
        _status,
    )
    _add_site(status)
    status.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    health = commands.add(
        "health",
        "whether this site's running node is well",
        "Ask the node that runs on this machine for its images and cache, its privacy budget, and the coordinator.\n"
        "Exit code 0 says that all is well, 3 that something is not, or that no node runs.",
        _health,
    )
    _add_site(health)
    health.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    report = commands.add(
        "report",
        "write this site's report, which may show patients and stays here",
        "Write a site's report from what its part in a run has left behind.",
        _report,
    )
    report.add_argument("folder", type=Path, help="the site's folder of a run, e.g. runs/latest/sites/hospital1")
    commands.main(arguments)


def _add_site(command: argparse.ArgumentParser) -> None:
    command.add_argument("site", type=Path, metavar="site.yaml", help="this site's own settings")


def _add_study(command: argparse.ArgumentParser) -> None:
    _add_site(command)
    command.add_argument("overrides", nargs="*", metavar="key=value", help="the study that it may join")
    command.add_argument(
        "--study", type=Path, metavar="FILE", help="the study's resolved configuration, in their place"
    )


# The imports below wait until a command needs them: torch takes seconds, and -h should not.


def _init(options: argparse.Namespace) -> None:
    from client.enrolment.command import init

    init(options.kit, options.folder, options.sha256, new_key=options.new_key)


def _prepare(options: argparse.Namespace) -> None:
    from client.data.preparation import prepare

    prepare(options.site, options.overrides, options.study)


def _doctor(options: argparse.Namespace) -> None:
    from client.doctor.command import doctor

    if options.out is not None:
        require_place("--out", options.out, folder=True)
    doctor(options.site, options.overrides, options.study, options.out, options.json)


def _budget(options: argparse.Namespace) -> None:
    from client.privacy.command import budget

    budget(options.site, options.overrides, options.study, as_json=options.json, reopen=options.reopen)


def _audit(options: argparse.Namespace) -> None:
    from client.audit.command import audit

    audit(options.site, as_json=options.json, since=options.since)


def _approve(options: argparse.Namespace) -> None:
    from client.approval.command import approve, revoke

    if (options.bundle is None) == (options.revoke is None):
        raise ConfigError("name one BUNDLE.fab to approve, or one SHA256 to --revoke")
    if options.revoke is not None:
        revoke(options.site, options.revoke)
        return
    approve(
        options.site,
        options.bundle,
        yes=options.yes,
        privacy_change_reviewed=options.privacy_change_reviewed,
        diff=options.diff,
    )


def _start(options: argparse.Namespace) -> None:
    from client.node.start import start

    start(options.site)


def _status(options: argparse.Namespace) -> None:
    from client.node.status import status

    status(options.site, as_json=options.json)


def _health(options: argparse.Namespace) -> None:
    from client.health.command import health

    health(options.site, as_json=options.json)


def _report(options: argparse.Namespace) -> None:
    from client.report.build import build_site_report

    say(f"report: {build_site_report(options.folder)}")
