"""``oncofed-client start``: keeps this site's guarded node running until it is told to stop.

A node ends when the coordinator restarts its server, which then knows no node, and when it is killed; one that has had
no contact with its coordinator for long is ended. It is started again, after everything that the last one left behind
has been ended, so that nothing works for nobody.
"""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from client.enrolment.connection import Connection, load_connection, require_question_key
from client.node.contact import PATIENCE
from client.node.events import VARIABLE
from client.node.leftovers import end_leftovers
from client.node.log import NodeLog
from client.node.record import RecordTail
from client.node.return_home import flower_home, node_number, say_goodbye
from client.node.watch import NodeWatch
from client.site import SiteSettings, load_site
from client.site_paths import require_usable_paths
from common.errors import ConfigError
from common.system.child_process import ChildProcess, reaching_itself
from common.system.file_lock import locked
from common.system.files import write_json
from common.system.outside import say
from common.system.private_files import readable_by_others

SOONEST, LATEST = 5.0, 60.0
"""Seconds before a node that ended is started again: at first, and after several ends in a row."""

STATE = "start.json"
"""In the site's folder: when the node ended the last time, and why, for ``oncofed-client status``."""

_GOODBYE = 40.0
STEADY = 120.0
"""A node that ran this long is not one that ends at once."""


def start(site: Path) -> None:
    """Runs the node.

    Args:
        site: the hospital's ``site.yaml``; ``connection.yaml`` lies beside it.

    Raises:
        ConfigError: if the site has not joined, its settings do not fit, or a node runs already. Nothing runs then.
    """
    settings = load_site(site)
    require_usable_paths(settings)
    connection = load_connection(site.resolve().parent)
    _check(settings, connection)
    require_question_key(connection, site.resolve().parent)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as held:
        _take_lock(held, settings)
        if (settings.folder / "node.log").is_symlink():
            raise ConfigError(f"{settings.folder / 'node.log'}: is a link, and is not written through; remove it")
        log = NodeLog(settings.folder / "node.log")
        held.callback(log.close)
        record = RecordTail(settings.audit_files().log, _say)
        wait = SOONEST
        while not stopped.is_set():
            began = time.monotonic()
            watch = _run_once(site.resolve(), settings, connection, log, record, stopped)
            if stopped.is_set():
                break
            if watch.refusal:
                raise ConfigError(watch.refusal)
            wait = SOONEST if time.monotonic() - began > STEADY or watch.connected else min(2 * wait, LATEST)
            write_json(settings.folder / STATE, {"ended": _now(), "cause": watch.cause})
            _say(f"the node ended{f': {watch.cause}' if watch.cause else ''}; it is started again in {wait:.0f} s")
            stopped.wait(wait)
        _say("stopped")


def _run_once(
    site: Path,
    settings: SiteSettings,
    connection: Connection,
    log: NodeLog,
    record: RecordTail,
    stopped: threading.Event,
) -> NodeWatch:
    """One life of the node."""
    home = flower_home(settings).resolve()
    if ended := end_leftovers(home):
        _say(f"{ended} processes that an earlier node left behind were ended")
    _say_goodbye(settings, connection)
    watch = NodeWatch(connection.address, _say)
    ours, its = os.pipe()
    environment = {**reaching_itself(os.environ), "PYTHONUNBUFFERED": "1", VARIABLE: str(its)}
    node = ChildProcess(_command(site, connection), environment, log.write, (its,))
    node.start()
    os.close(its)
    listening = watch.listen(ours)
    try:
        while node.code() is None and watch.silent() < PATIENCE and not stopped.is_set():
            stopped.wait(0.5)
            record.follow()
        lost = node.code() is None and not stopped.is_set()
    finally:
        node.stop()
        end_leftovers(home)
    listening.join(5)
    record.follow()
    if lost:
        watch.cause = f"it had no contact with the coordinator for {PATIENCE:.0f} s"
    return watch


def _say_goodbye(settings: SiteSettings, connection: Connection) -> None:
    """For the node of the last start; a coordinator that takes its time over the answer is not waited for."""

    def goodbye() -> None:
        if say_goodbye(node_number(settings), connection):
            _say("the coordinator was told that the earlier node is gone")

    saying = threading.Thread(target=goodbye, daemon=True)
    saying.start()
    saying.join(_GOODBYE)


def _command(site: Path, connection: Connection) -> list[str | Path]:
    return [
        # -P: the folder in which the command was given holds no programs of ours.
        *(sys.executable, "-P", "-m", "client.approval.guarded_node", site),
        *("--superlink", connection.address),
        *("--root-certificates", connection.certificate),
        *("--auth-supernode-private-key", connection.key),
        *("--identity", connection.identity),
        *("--port", str(_free_port())),
    ]


def _free_port() -> int:
    """A port for the node's own processes to meet at, on this machine only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check(settings: SiteSettings, connection: Connection) -> None:
    if settings.name != connection.site:
        raise ConfigError(
            f"site.yaml calls this site {settings.name}, but it has joined as {connection.site}; put `name` right"
        )
    for file in (connection.key, connection.certificate, connection.identity):
        if not file.is_file():
            raise ConfigError(f"{file}: is missing; put it back from your backup, or ask the coordinator for a new kit")
    for file in (connection.key, connection.identity):
        if readable_by_others(file):
            raise ConfigError(
                f"{file}: others on this machine can read the key. If that may have happened, ask the coordinator for "
                f"a new kit; otherwise: chmod 600 {file}"
            )


def _take_lock(held: ExitStack, settings: SiteSettings) -> None:
    """One supervisor a site, and no node beside it; one that is just ending is waited for."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    running = f"a node of {settings.name} runs already; stop it first, or ask it: oncofed-client status"
    try:
        held.enter_context(locked(settings.folder / "start.lock", wait=False))
    except BlockingIOError as error:
        raise ConfigError(running) from error
    end = time.monotonic() + 30
    while True:
        try:
            with locked(settings.folder / "node.lock", wait=False):
                return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise ConfigError(running) from error
            time.sleep(0.5)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _say(text: str) -> None:
    say(f"{_now()} {text}")
