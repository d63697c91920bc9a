"""``oncofed-server``: the coordinator's command."""

import argparse
from pathlib import Path

from common.errors import ConfigError
from common.system.command import Commands
from common.system.disk import require_place
from common.system.outside import say

EXPORT_HELP = """examples:
  oncofed-server export runs/latest
  oncofed-server export runs/latest --model wgan_gp --images 500 --formats png --to /data/synthetic
"""

RUN_HELP = """overrides are those of oncofed-simulation, as far as they describe the study. Examples:
  oncofed-server run federation.yaml preset=pilot --plan        what it will ask, cost and not measure
  oncofed-server run federation.yaml preset=pilot
  oncofed-server run federation.yaml --sites hospital1 --sites hospital2 name=full preset=paper …
  oncofed-server run federation.yaml --resume runs/pilot
"""

PROVISION_HELP = """examples:
  oncofed-server provision federation.yaml                       the first time, and whenever a site was added
  oncofed-server provision federation.yaml --renew hospital2     a new kit: token expired or lost, machine replaced
  oncofed-server provision federation.yaml --revoke hospital3    shut a site out; the others notice nothing
  oncofed-server provision federation.yaml --renew-server        before the server certificate expires
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
    _add_dashboard(commands)
    _add_export(commands)
    _add_provisioning(commands)
    commands.main(arguments)


def _add_dashboard(commands: Commands) -> None:
    dashboard = commands.add(
        "dashboard",
        "show a run in a browser on this machine while it goes on",
        "Serve a run as a page that follows it: sites, rounds, losses, scores and reference pictures. Only browsers\n"
        "on this machine reach it, by the address that is printed. Nothing of the run is changed.",
        _dashboard,
    )
    latest = Path("runs/latest")
    dashboard.add_argument("folder", type=Path, nargs="?", default=latest, help="of the run (default: runs/latest)")
    dashboard.add_argument("--port", type=int, default=0, help="of 127.0.0.1 (default: a free one)")


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
    export.add_argument("--formats", help="png, dicom or both with a comma (the default)")
    export.add_argument("--seed", type=int, help="of the images; without it, the run's")
    export.add_argument("--licence", default="not stated", help="of the weights, for the model card")
    export.add_argument("--replace", action="store_true", help="an earlier export makes way")
    export.add_argument("--json", action="store_true", help="print what was written, and nothing else")


def _add_provisioning(commands: Commands) -> None:
    provision = commands.add(
        "provision",
        "make the certificates and each site's start-up kit",
        "Make the federation's certificate authority and server certificate once, and a start-up kit for each new "
        "site.\nWhat is there already is left alone. A kit never holds a private key.",
        _provision,
        PROVISION_HELP,
    )
    provision.add_argument("--renew", action="append", default=[], metavar="SITE", help="a new token and kit")
    provision.add_argument("--revoke", action="append", default=[], metavar="SITE", help="its key and token are void")
    provision.add_argument("--renew-server", action="store_true", help="a new server key and certificate")
    enrolments = commands.add(
        "enrolments",
        "list the sites: invited, enrolled or revoked, and their keys",
        "List every site that was ever provisioned, with the fingerprint of its key, to be compared with the one that\n"
        "oncofed-client init printed at the site.",
        _enrolments,
    )
    serve = commands.add(
        "serve-enrolment",
        "run the service at which sites enrol their keys",
        "Answer POST /enrol on 127.0.0.1, for the reverse proxy that speaks TLS to the sites.",
        _serve_enrolment,
    )
    serve.add_argument("--port", type=int, help="of 127.0.0.1 (default: serve.enrolment of federation.yaml)")
    start = commands.add(
        "start",
        "run the federation's server until it is stopped",
        "Run Flower's SuperLink and the enrolment service on this machine only, and before them nginx, which lets in\n"
        "over TLS what hospitals need. What ends by itself is started again. Stop it with Ctrl-C or SIGTERM.",
        _start,
    )
    run = commands.add(
        "run",
        "start a study on the federation, or go on with one",
        "Start a study at the sites that have joined, and follow it to its report. It runs in the server: Ctrl-C ends\n"
        "only this display.",
        _run,
        RUN_HELP,
    )
    run.add_argument("--sites", action="append", default=[], metavar="SITE", help="that take part (default: all)")
    run.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with a study that stopped")
    run.add_argument("--plan", action="store_true", help="say what it will ask, cost and not measure; start nothing")
    run.add_argument(
        "--to", type=Path, metavar="FILE", help="where --plan writes the configuration (default: NAME.config.yaml here)"
    )
    run.add_argument("--yes", action="store_true", help="start it whatever the plan warns of")
    run.add_argument("--beside", action="store_true", help="start it although another study runs")
    run.add_argument("--detach", action="store_true", help="return once the study is handed over")
    follow = commands.add("follow", "show a study until it ends", "Show a study until it ends.", _follow)
    halt = commands.add(
        "stop", "stop a study; it can be resumed", "Stop a study. What it finished stays, and it can be resumed.", _stop
    )
    for command in (follow, halt):
        command.add_argument(
            "--run", dest="run_folder", type=Path, metavar="FOLDER", help="the study's folder (default: the newest)"
        )
    status = commands.add(
        "status",
        "sites, studies, and whom they wait for",
        "Print which sites have joined and are connected, and where the newest studies stand.",
        _status,
    )
    status.add_argument("--studies", type=int, default=3, metavar="N", help="how many of the newest (default: 3)")
    status.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    health = commands.add(
        "health",
        "whether the server's parts answer",
        "Ask SuperLink, enrolment and proxy. Exit code 3 says that one of them does not answer.",
        _health,
    )
    for command in (provision, enrolments, serve, start, run, follow, halt, status, health):
        command.add_argument("federation", type=Path, metavar="federation.yaml", help="the federation's settings")
        command.add_argument(
            "--out",
            type=Path,
            metavar="FOLDER",
            help="where its files lie (default: provision, beside federation.yaml)",
        )
    run.add_argument("overrides", nargs="*", metavar="key=value", help="the study")


def _report(options: argparse.Namespace) -> None:
    from server.report.build import build_study_report

    say(f"report: {build_study_report(options.folder)}")


def _dashboard(options: argparse.Namespace) -> None:
    from server.dashboard.command import dashboard_command

    dashboard_command(options.folder, options.port)


def _export(options: argparse.Namespace) -> None:
    from common.export.synthetic import FORMATS
    from server.export.command import Choices, export

    if options.images == 0 and (options.formats is not None or options.seed is not None):
        raise ConfigError("--formats and --seed are about images, and --images 0 writes none; leave them out")
    if options.to is not None:
        require_place("--to", options.to, folder=True)
    formats = FORMATS if options.formats is None else options.formats.split(",")
    choices = Choices(
        models=options.model,
        to=options.to,
        images=options.images,
        formats=[one.strip() for one in formats if one.strip()],
        seed=options.seed,
        licence=options.licence,
        replace=options.replace,
    )
    export(options.folder, choices, as_json=options.json)


def _provision(options: argparse.Namespace) -> None:
    from server.provision.command import provision_command
    from server.provision.provision import Changes

    if options.out is not None:
        require_place("--out", options.out, folder=True)
    changes = Changes(renew=options.renew, revoke=options.revoke, renew_server=options.renew_server)
    provision_command(options.federation, options.out, changes)


def _enrolments(options: argparse.Namespace) -> None:
    from server.provision.command import enrolments_command

    enrolments_command(options.federation, options.out)


def _start(options: argparse.Namespace) -> None:
    from server.operation.start import start_command
    from server.provision.command import places_of

    start_command(options.federation, places_of(options.federation, options.out))


def _run(options: argparse.Namespace) -> None:
    from server.operation.run import RunOptions, run_command
    from server.provision.command import places_of

    choices = RunOptions(
        sites=tuple(options.sites),
        resume=options.resume,
        detach=options.detach,
        beside=options.beside,
        plan=options.plan,
        to=options.to,
        yes=options.yes,
    )
    run_command(options.federation, places_of(options.federation, options.out), options.overrides, choices)


def _follow(options: argparse.Namespace) -> None:
    from server.operation.follow import follow_command
    from server.provision.command import places_of

    follow_command(options.federation, places_of(options.federation, options.out), options.run_folder)


def _stop(options: argparse.Namespace) -> None:
    from server.operation.stop import stop_command
    from server.provision.command import places_of

    stop_command(options.federation, places_of(options.federation, options.out), options.run_folder)


def _status(options: argparse.Namespace) -> None:
    from server.operation.status import status_command
    from server.provision.command import places_of

    places = places_of(options.federation, options.out)
    status_command(options.federation, places, studies=options.studies, as_json=options.json)


def _health(options: argparse.Namespace) -> None:
    from server.operation.health import health_command
    from server.provision.command import places_of

    health_command(options.federation, places_of(options.federation, options.out))


def _serve_enrolment(options: argparse.Namespace) -> None:
    from server.provision.serve_command import serve_command

    serve_command(options.federation, options.out, options.port)
