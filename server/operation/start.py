"""``oncofed-server start``: the coordinator's server, one process that answers for the three that it runs.

SuperLink (in memory: what it knows is told to it again at each start), enrolment and proxy. What ends by itself is
started again; what the registry says is applied within seconds, so that an enrolled site is let in and a revoked one
is out.
"""

import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

import uvicorn

from common.errors import ConfigError, DamagedFileError, OncofedError
from common.protocol.enrolment import split_address
from common.system.child_process import ChildProcess
from common.system.file_lock import locked
from common.system.files import read_table
from common.system.outside import say
from server.operation.flower_home import NODES, FlowerHome
from server.operation.proxy import ProxyPlan, find_nginx, listeners, write_configuration
from server.operation.proxy_lines import Teller
from server.operation.quota import Quota
from server.operation.studies import tell_stopping
from server.operation.superlink import superlink_process, wait_until_it_answers
from server.provision.authority import Authority, make_server_certificate, open_authority, read_server_certificate
from server.provision.federation import FederationSettings, load_federation
from server.provision.provision import Places
from server.provision.rate_limit import RateLimit
from server.provision.registrations import registrations
from server.provision.registry import utc_now
from server.provision.service import configured, enrolment_app, welcoming

LOCK = "running.lock"
"""In the federation's folder; held while its server runs."""

AGAIN = 5.0
"""Seconds before something that ended is started again."""

LOOPBACK_DAYS = 3650

REFUSALS = 30
"""Sentences a minute about sites that were not enrolled."""

_ANSWERED = re.compile(r'" 200( OK)?$')
"""A request's line in the SuperLink's output."""


def start_command(file: Path, places: Places) -> None:
    """Runs the server until it is told to stop.

    Args:
        file: ``federation.yaml``.
        places: where the federation's files lie.

    Raises:
        ConfigError: if something is missing or taken; nothing runs then.
    """
    settings = load_federation(file)
    _check(settings, places)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as held:
        try:
            held.enter_context(locked(places.folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise ConfigError(f"{places.folder}: the server of {settings.name} runs already; stop it first") from error
        server = Server(settings, places)
        held.callback(server.stop)
        server.start()
        _say(f"{settings.name} is served at {settings.address}; stop with Ctrl-C or SIGTERM")
        while not stopped.wait(1.0):
            server.watch()
        _say("stopping")


@dataclass
class Server:
    """The three programs of a federation.

    Attributes:
        settings: of ``federation.yaml``.
        places: where its files lie.
    """

    settings: FederationSettings
    places: Places

    def __post_init__(self) -> None:
        self.home = FlowerHome(self.places, self.settings.serve.superlink)
        self._let_in: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._look_at = 0.0
        self._superlink: ChildProcess | None = None
        self._proxy: ChildProcess | None = None
        self._enrolment: uvicorn.Server | None = None
        self._again_at = 0.0
        self._certificate = 0

    def start(self) -> None:
        """Starts everything, from the inside out: hospitals are let in when all else stands.

        Raises:
            ConfigError, StudyError: naming what does not start.
        """
        self.home.prepare()
        self._keys = self._known_keys()
        proxy_file = write_configuration(self._proxy_plan(self._keys))
        authority = open_authority(
            self.places.authority, self.settings.name, self.settings.validity.authority, utc_now()
        )
        # For this machine's own connections: a renewed public certificate changes nothing here.
        make_server_certificate(self.places.folder / "loopback", authority, "127.0.0.1", LOOPBACK_DAYS, utc_now())
        output = _rotating(self.home.path / "superlink.log")
        self._superlink = superlink_process(
            self.home, self.places.folder / "loopback", self._quota(), lambda line: _keep(output, line)
        )
        self._start_superlink()
        self._start_enrolment(authority)
        command: list[str | Path] = [find_nginx(), "-c", proxy_file.resolve(), "-p", proxy_file.parent.resolve()]
        self._proxy = ChildProcess(command, self.home.environment(), Teller(_say))
        self._certificate = self._certificate_time()
        self._proxy.start()
        code = self._proxy.wait(1.0)
        if code is not None:
            where = " and ".join(listeners(self.settings.serve.listen, self.settings.address))
            raise ConfigError(
                f"nginx ended at once (exit code {code}): may this user listen at {where}? See docs/coordinator.md, or "
                "choose another port with serve.listen in federation.yaml"
            )

    def watch(self) -> None:
        """One look at everything; mends what is broken."""
        assert self._superlink is not None
        assert self._proxy is not None
        if self._superlink.code() is not None and time.monotonic() >= self._again_at:
            _say(
                f"the SuperLink ended (exit code {self._superlink.code()}) and is started again; studies that ran have "
                "stopped and can be resumed: oncofed-server run … --resume FOLDER"
            )
            self._try(self._start_superlink)
        if self._proxy.code() is not None and time.monotonic() >= self._again_at:
            _say(f"the proxy ended (exit code {self._proxy.code()}) and is started again")
            self._again_at = time.monotonic() + AGAIN
            self._try(self._proxy.start)
        if self._certificate_time() != self._certificate:
            self._certificate = self._certificate_time()
            _say("the server's certificate was renewed: the proxy uses the new one")
            self._proxy.signal(signal.SIGHUP)
        self._tell_keys()
        if time.monotonic() >= self._look_at:
            self._try(self._let_the_proxy_know)

    def stop(self) -> None:
        """Stops everything, from the outside in."""
        tell_stopping(self.places, "the server was stopped")
        if self._proxy is not None:
            self._proxy.stop(5.0)
        if self._enrolment is not None:
            self._enrolment.should_exit = True
        if self._superlink is not None:
            self._superlink.stop()

    def _start_superlink(self) -> None:
        assert self._superlink is not None
        self._again_at = time.monotonic() + AGAIN
        self._superlink.start()
        wait_until_it_answers(self.home, self._superlink)
        self._let_in = {}
        self._tell_keys()

    def _tell_keys(self) -> None:
        """Says whose keys the SuperLink lets in that it did not before, and the other way round."""
        try:
            now = read_table(self.home.path / NODES)
        except (OSError, DamagedFileError):
            return
        for site in sorted(self._let_in):
            if site not in now:
                _say(f"{site}: its key may no longer connect")
        for site in sorted(now):
            if self._let_in.get(site) != now[site]:
                _say(f"{site}: its {'new ' if site in self._let_in else ''}key may connect")
        self._let_in = now

    def _known_keys(self) -> dict[str, str]:
        return {one.site: one.public_key for one in registrations(self.places.registry.read())}

    def _let_the_proxy_know(self) -> None:
        """Tells nginx of keys that were enrolled, renewed or revoked."""
        assert self._proxy is not None
        self._look_at = time.monotonic() + AGAIN
        known = self._known_keys()
        if known != self._keys:
            write_configuration(self._proxy_plan(known))
            self._proxy.signal(signal.SIGHUP)
            self._keys = known
        self._look_at = 0.0

    def _start_enrolment(self, authority: Authority) -> None:
        log = logging.getLogger("oncofed.enrolment")
        log.setLevel(logging.INFO)
        log.addHandler(_SayHandler())
        log.propagate = False
        app = enrolment_app(
            self.places.registry, self.settings.name, welcoming(self.settings.name, self.settings.address, authority)
        )
        self._enrolment = uvicorn.Server(configured(app, self.settings.serve.enrolment))
        thread = threading.Thread(target=self._enrolment.run, daemon=True)
        thread.start()
        end = time.monotonic() + 30
        while not self._enrolment.started:
            if not thread.is_alive() or time.monotonic() >= end:
                raise ConfigError(
                    f"the enrolment service does not start: is port {self.settings.serve.enrolment} taken? "
                    "serve.enrolment in federation.yaml chooses another"
                )
            time.sleep(0.1)

    def _quota(self) -> Quota:
        serve = self.settings.serve
        return Quota(site=serve.site_mib << 20, total=serve.memory_mib << 20)

    def _proxy_plan(self, keys: Mapping[str, str]) -> ProxyPlan:
        serve = self.settings.serve
        return ProxyPlan(
            listen=listeners(serve.listen, self.settings.address),
            certificate=self.places.server / "server.crt",
            key=self.places.server / "server.key",
            superlink=serve.superlink,
            superlink_authority=self.places.authority / "ca.crt",
            enrolment=serve.enrolment,
            folder=self.places.folder / "proxy",
            keys=keys,
        )

    def _certificate_time(self) -> int:
        file = self.places.server / "server.crt"
        return file.stat().st_mtime_ns if file.exists() else 0

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OncofedError, OSError) as error:
            _say(f"{error}; tried again in {AGAIN:.0f} s")


class _SayHandler(logging.Handler):
    """Says what the enrolment service has to say; of refusals, which anybody can have, so many a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._refusals = RateLimit(count=REFUSALS)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING or self._refusals.allows(""):
            _say(record.getMessage())


def _check(settings: FederationSettings, places: Places) -> None:
    if not places.registry.exists() or not (places.server / "server.crt").exists():
        raise ConfigError(
            f"{places.folder}: {settings.name} is not provisioned there; run oncofed-server provision first, or name "
            "the folder with --out"
        )
    known = places.registry.read().federation
    if known != settings.name:
        raise ConfigError(f"{places.registry.path}: belongs to the federation {known}, not to {settings.name}")
    host, _ = split_address(settings.address)
    authority = open_authority(places.authority, settings.name, settings.validity.authority, utc_now())
    certificate = read_server_certificate(places.server, authority, host)
    if certificate is not None and certificate.not_valid_after_utc <= utc_now():
        raise ConfigError(
            f"{places.server}/server.crt: expired on {certificate.not_valid_after_utc:%Y-%m-%d}; make a new one with "
            "oncofed-server provision --renew-server"
        )


def _rotating(file: Path) -> logging.Handler:
    return RotatingFileHandler(file, maxBytes=5_000_000, backupCount=3, encoding="utf-8")


def _keep(output: logging.Handler, line: str) -> None:
    # A node asks for work every few seconds: these lines say nothing and would push out the others.
    # Looked for at the end alone: who asks chooses what stands before it.
    if not _ANSWERED.search(line):
        output.emit(logging.makeLogRecord({"msg": line, "levelname": "INFO"}))


def _say(text: str) -> None:
    say(f"{utc_now():%Y-%m-%d %H:%M:%S} UTC {text}")
