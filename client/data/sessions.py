"""Sessions that stay open between messages, so that a step of a few milliseconds is not spent on opening files."""

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path

from client.audit.log import AuditFiles, AuditLog
from client.data.session import Session
from client.site import SiteSettings, load_site

MOST = 32
"""Sessions kept open in one process; in a hospital there is one, in a simulation one a site."""


class OpenSessions:
    """The sessions of this process, by site, run and configuration; the least recently used is closed first.

    A ``site.yaml`` that was changed is read again, and opens a new session. Where an app travels to another process
    (Ray sends it along with every message), it finds the sessions that this process has open.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._settings: dict[Path, tuple[int, SiteSettings]] = {}
        self._audits: dict[AuditFiles, AuditLog] = {}
        self._sessions: OrderedDict[tuple[str, str, str], Session] = OrderedDict()

    def __reduce__(self) -> tuple[Callable[[], "OpenSessions"], tuple[()]]:
        return _of_this_process, ()

    def settings(self, file: Path) -> SiteSettings:
        """The settings in ``file``.

        Raises:
            ConfigError: if it cannot be used.
        """
        changed = file.stat().st_mtime_ns if file.exists() else -1
        known = self._settings.get(file)
        if known is None or known[0] != changed:
            known = self._settings[file] = (changed, load_site(file))
        return known[1]

    def audit(self, settings: SiteSettings) -> AuditLog:
        """The site's record of messages."""
        files = settings.audit_files()
        return self._audits.setdefault(files, AuditLog(files))

    def open(self, settings: SiteSettings, experiment_yaml: str, run: str) -> Session:
        """The session for a message, as :meth:`Session.open` makes it or as an earlier message left it.

        Raises:
            RefusalError: if the study's configuration does not fit this release.
        """
        key = (settings.model_dump_json(), run, experiment_yaml)
        session = self._sessions.pop(key, None) or Session.open(settings, experiment_yaml, run)
        self._sessions[key] = session
        while len(self._sessions) > self.most:
            self._sessions.popitem(last=False)
        return session

    def let_trainers_go(self) -> None:
        """Ends what was kept built between two exchanges of gradients, at every site: others may need the memory."""
        for session in self._sessions.values():
            session.let_trainers_go()


@cache
def _of_this_process() -> OpenSessions:
    return OpenSessions()
