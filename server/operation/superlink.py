"""Flower's SuperLink as the coordinator runs it: in memory, on this machine only, nodes by their keys."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from common.errors import StudyError
from common.system.child_process import ChildProcess
from server.operation.flower_home import NODES, FlowerHome
from server.operation.quota import Quota


def superlink_process(
    home: FlowerHome, certificates: Path, quota: Quota, on_line: Callable[[str], None]
) -> ChildProcess:
    """The SuperLink, not started yet.

    Args:
        certificates: folder of its own ``server.crt`` and ``server.key``, for connections on this machine.
        quota: of what sites may have stored in it.
        on_line: is given its output, and that of the ServerApps that it starts.
    """
    command: list[str | Path] = [
        # -P: the folder in which the command was given holds no programs of ours.
        *(sys.executable, "-P", "-m", "server.operation.guarded_superlink"),
        *("--registry", home.places.registry.path.resolve()),
        *("--nodes", (home.path / NODES).resolve()),
        *("--site-quota", str(quota.site), "--quota", str(quota.total)),
        *("--host", "127.0.0.1", "--port", str(home.port)),
        *("--ssl-ca-certfile", home.authority.resolve()),
        *("--ssl-certfile", (certificates / "server.crt").resolve()),
        *("--ssl-keyfile", (certificates / "server.key").resolve()),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]
    return ChildProcess(command, home.environment(), on_line)


def answers(home: FlowerHome) -> bool:
    """Whether the SuperLink answers on this machine, with its list of keys."""
    return home.asks("GET", "/oncofed/nodes") is not None


def wait_until_it_answers(home: FlowerHome, process: ChildProcess, seconds: float = 120.0) -> None:
    """Waits for a SuperLink that was just started.

    Raises:
        StudyError: if it ends or does not answer in time.
    """
    end = time.monotonic() + seconds
    while not answers(home):
        code = process.code()
        if code is not None:
            raise StudyError(
                f"Flower's SuperLink ended at once (exit code {code}); {home.path}/superlink.log says why. Is port "
                f"{home.port} taken? serve.superlink in federation.yaml chooses another"
            )
        if time.monotonic() >= end:
            raise StudyError(f"Flower's SuperLink does not answer after {seconds:.0f} s; see {home.path}/superlink.log")
        time.sleep(0.3)
