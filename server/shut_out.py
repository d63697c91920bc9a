"""Sites whose key is void: a study that runs learns it from the list of sites, and waits for none of them."""

from datetime import datetime
from pathlib import Path

from common.errors import ConfigError
from server.provision.registry import RegistryFile, SiteRecord


class ShutOut:
    """Reads the list of sites again whenever it was changed.

    Args:
        registry: the file; None where sites are not registered by name.
    """

    def __init__(self, registry: Path | None) -> None:
        self._path = registry
        self._seen = 0
        self._reasons: dict[str, str] = {}

    def __call__(self, site: str) -> str:
        """Why ``site`` cannot come back; empty if it can, or nobody knows of it."""
        self._read()
        return self._reasons.get(site, "")

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._seen:
                return
            records = RegistryFile(self._path).read().sites
        except (OSError, ConfigError):
            # The study goes on as before: a site that is away is waited for as long as any other.
            return
        self._seen = changed
        self._reasons = {site: reason for site, record in records.items() if (reason := shut_out(record))}


def shut_out(record: SiteRecord) -> str:
    """Why a site that was taken in cannot connect any more; empty if it can."""
    if record.key is not None or record.revoked is None:
        return ""
    return f"its key was revoked on {_date(record.revoked)}"


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
