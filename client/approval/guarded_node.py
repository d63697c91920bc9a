"""A Flower SuperNode that runs approved app bundles only.

A SuperNode fetches a study's bundle with the first message of its run, and a check of signatures stands between that
and everything that is done with the bundle. Here the hospital's own list takes the place of that check: a bundle that
is not approved is neither stored nor unpacked, the message is answered with an error, and the node goes on.

Flower has no public hook there, so three names of one of its modules are replaced. They are those of the pinned
version: with another one, or where a name is missing, the node does not start.
"""

import argparse
import hashlib
import inspect
import json
import logging
import os
import shutil
import ssl
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from client.approval.allow_list import PREFIX
from client.approval.bundle import PROJECT
from client.approval.guard import require_approved
from client.approval.node_arguments import node_arguments
from client.approval.safe_errors import install_safe_errors
from client.audit.log import AuditError, AuditLog
from client.health.checks import contact_check, site_checks
from client.health.service import HealthService, identity
from client.node.contact import PATIENCE, Contact, install_contact
from client.node.events import NodeEvent, node_event, to_supervisor
from client.node.return_home import flower_home, node_number, remember_node
from client.node.workers import start_workers
from client.site import SiteSettings, load_site
from common.errors import ConfigError, OncofedError, RefusalError
from common.study.progress import Listener
from common.system.child_process import descendants, end_processes
from common.system.command import run_command
from common.system.file_lock import locked

FLOWER = "1.41.0"
_NEEDED = ("get_run", "get_fab", "trusted_entities")
_AGENT = "flwr-agentapp"
_REASON = "its hospital has not approved this app bundle"


class BundleGuard:
    """Says of each bundle that reaches this node whether it may run, and writes it into the audit log.

    Args:
        settings: the hospital's own.
        tell: is told of each bundle that may not.
    """

    def __init__(self, settings: SiteSettings, tell: Listener) -> None:
        self.settings = settings
        self._tell = tell
        self._run: Any = None
        self._unpacked: dict[str, str] = {}

    def seen_run(self, run: Any) -> None:
        """Remembers the run whose bundle comes next."""
        self._run = run

    def allows(self, fab: Any) -> bool:
        """Whether a bundle may run; whatever goes wrong while that is found out, the answer is no.

        Args:
            fab: Flower's: ``content`` and the hash that the coordinator gives it.
        """
        run, self._run = self._run, None
        try:
            reason = self._objection(fab, run)
        except Exception as error:
            reason = f"it could not be examined ({type(error).__name__})"
        event = "bundle accepted" if reason is None else "bundle refused"
        try:
            AuditLog(self.settings.audit_files()).write(
                event, sha256=str(fab.hash_str), flower_run=getattr(run, "run_id", None), reason=reason
            )
        except AuditError as error:
            reason = str(error)
        if reason is not None:
            self._tell(node_event(NodeEvent.BUNDLE_REFUSED, reason))
        return reason is None

    def _objection(self, fab: Any, run: Any) -> str | None:
        sha256 = hashlib.sha256(fab.content).hexdigest()
        # Flower finds the unpacked bundle by names and by a hash that the coordinator gives: each must be the bundle's
        # own, or approved bytes would lend their approval to a folder that is there already.
        if run is None or fab.hash_str != sha256 or run.fab_hash != sha256:
            return "the hash it was sent under is not its own"
        try:
            files = require_approved(fab.content, self.settings)
        except RefusalError as error:
            return str(error)
        project = tomllib.loads(files[PROJECT].decode())
        named = f"{project['tool']['flwr']['app']['publisher']}/{project['project']['name']}"
        if (run.fab_id, run.fab_version) != (named, project["project"]["version"]):
            return "the name it was sent under is not its own"
        if run.primary_task_type == _AGENT:
            return "it was sent to run as an agent"
        if self._unpacked.setdefault(sha256[:PREFIX], sha256) != sha256:
            return "another bundle whose hash begins alike has run since this node was started"
        return None


def show_identity(client: Any, identity: Path) -> None:
    """Lets each connection to the coordinator show the node's certificate; Flower has no option for it.

    Args:
        client: ``flwr.supernode.fleet_http_client.FleetHttpClient``.
        identity: certificate and key as one PEM file.
    """
    original = client.__init__

    def begin(self: Any, *arguments: Any, verify: Any, **options: Any) -> None:
        context = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
        context.load_cert_chain(identity)
        original(self, *arguments, verify=context, **options)

    client.__init__ = begin


def install_guard(guard: BundleGuard, module: Any) -> None:
    """Puts ``guard`` before the place at which a SuperNode takes a bundle.

    Args:
        module: ``flwr.supernode.start_client_internal``.

    Raises:
        ConfigError: if the module is not the one that this was written for.
    """
    original = getattr(module, "_pull_and_store_message", None)
    known = inspect.signature(original).parameters if callable(original) else {}
    if original is None or any(name not in known for name in _NEEDED) or not hasattr(module, "_verify_fab"):
        raise ConfigError(
            f"the installed Flower does not look like version {FLOWER}, so that app bundles could not be held back; "
            "install the versions of constraints.txt"
        )
    signature = inspect.signature(original)

    def pull(*arguments: Any, **options: Any) -> Any:
        bound = signature.bind(*arguments, **options)
        given = bound.arguments
        given["get_run"] = _after(given["get_run"], guard.seen_run)
        given["get_fab"] = _marked(given["get_fab"], module)
        given["trusted_entities"] = {"hospital": "its list of approved bundles"}
        return original(*bound.args, **bound.kwargs)

    module._pull_and_store_message = pull
    module._verify_fab = lambda fab, trusted_entities: guard.allows(fab)
    module.FAB_VERIFICATION_ERROR = module.Error(module.ErrorCode.INVALID_FAB, _REASON)


def _after(function: Callable[..., Any], then: Callable[[Any], None]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        made = function(*arguments)
        then(made)
        return made

    return call


def _marked(get_fab: Callable[..., Any], module: Any) -> Callable[..., Any]:
    """Bundles with a mark without which Flower would not come to the check; the coordinator's own marks are dropped."""

    def call(*arguments: Any) -> Any:
        fab = get_fab(*arguments)
        return module.Fab(fab.hash_str, fab.content, {"valid_license": "asked of the hospital's list"})

    return call


def _own_options() -> argparse.ArgumentParser:
    """What this node takes beside the options of ``flower-supernode``."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--identity", type=Path)
    return options


def prepare_home(settings: SiteSettings) -> Path:
    """A Flower home of this site's own, without bundles of earlier starts; this process and its children use it."""
    home = flower_home(settings)
    # What is unpacked there is found again by eight digits of a hash: nothing may lie there that was not approved.
    shutil.rmtree(home / "apps", ignore_errors=True)
    if (home / "apps").exists():
        raise ConfigError(f"{home / 'apps'}: holds app bundles of an earlier start and cannot be removed")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["FLWR_HOME"] = str(home)
    return home


@contextmanager
def only_node(settings: SiteSettings) -> Iterator[None]:
    """Holds the site's lock: two nodes would unpack into one folder and answer for one site.

    Raises:
        ConfigError: if another node of this site runs.
    """
    file = settings.folder / "node.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(file, wait=False))
        except BlockingIOError as error:
            raise ConfigError(f"{file}: a node of {settings.name} runs already; stop it first") from error
        yield


def start_node(site: Path, arguments: Sequence[str], tell: Listener) -> None:
    """Runs a guarded SuperNode until it is stopped.

    Args:
        site: the hospital's ``site.yaml``.
        arguments: see :func:`node_arguments`.
        tell: is told what happens.

    Raises:
        ConfigError: if ``site.yaml``, an option or the installed Flower is wrong; nothing was started then.
        OncofedError: if its main loop failed.
    """
    settings = load_site(site)
    with only_node(settings):
        home = prepare_home(settings)
        import flwr.supernode.start_client_internal as module
        from flwr.supercore.version import package_version
        from flwr.supernode.cli.flower_supernode import flower_supernode
        from flwr.supernode.fleet_http_client import FleetHttpClient

        if package_version != FLOWER:
            raise ConfigError(f"Flower {package_version} is installed; app bundles can be held back in {FLOWER} only")
        own, rest = _own_options().parse_known_args(list(arguments))
        command = node_arguments(site, rest)
        if own.identity is not None:
            show_identity(FleetHttpClient, own.identity)
        contact = Contact(tell)
        install_guard(BundleGuard(settings, tell), module)
        install_safe_errors(module, (_REASON,))
        install_contact(contact, FleetHttpClient)
        remember_node(node_number(settings), FleetHttpClient)
        checks = site_checks(site, contact_check(lambda: contact.last, within=PATIENCE))
        health = HealthService(checks, settings.health_port, identity(settings))
        AuditLog(settings.audit_files()).write("node started", arguments=json.dumps(list(arguments)))
        health.start()
        # Flower starts programs of its own by name. What is kept here ends with this process.
        _workers = start_workers(home)
        # Its lines have a handler of their own; libraries that set up the root's would repeat each of them.
        logging.getLogger("flwr").propagate = False
        sys.argv = ["flower-supernode", *command]
        flower_supernode()
        # It returns if its main loop failed; a clean stop is an exit.
        raise OncofedError("the node's main loop failed; node.log says how")


def main(arguments: Sequence[str]) -> NoReturn:
    """Runs a guarded SuperNode; when its main thread ends, whatever way, so do its other threads and its children."""
    tell = to_supervisor()

    def command() -> None:
        try:
            start_node(Path(arguments[0]), arguments[1:], tell)
        except OncofedError as error:
            tell(node_event(NodeEvent.REFUSED if isinstance(error, ConfigError) else NodeEvent.TROUBLE, str(error)))
            raise

    code: object = 1
    try:
        code = run_command(command)
    except SystemExit as end:
        code = 0 if end.code is None else end.code
    finally:
        end_processes(descendants(os.getpid()))
        sys.stdout.flush()
        sys.stderr.flush()
        # Flower's threads would keep the process for ever.
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m client.approval.guarded_node site.yaml [options of flower-supernode]")
    main(sys.argv[1:])
