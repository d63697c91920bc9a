"""``oncofed-server dashboard``: a run as a page, until Ctrl-C."""

import threading
from contextlib import suppress
from pathlib import Path

from common.errors import ConfigError
from common.system.outside import say
from server.dashboard.service import serving


def dashboard_command(run: Path, port: int) -> None:
    """Serves the page of a run.

    Args:
        run: its folder, which may not be there yet.
        port: of 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigError: if ``run`` is no folder, or the port cannot be had.
    """
    if run.exists() and not run.is_dir():
        raise ConfigError(f"{run}: is no folder; give that of a run, e.g. runs/latest")
    with serving(run, port) as address:
        say(f"dashboard: {address}", "for browsers on this machine; Ctrl-C ends it, and not the study")
        if not run.exists():
            say(f"{run}: no run there yet; the page shows it as soon as it begins")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
