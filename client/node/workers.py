"""Starts the server of warm processes of a node, and puts a launcher where Flower looks for ``flwr-clientapp``."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from common.system.bundle import PACKAGES

_PROGRAM = "flwr-clientapp"


def start_workers(home: Path) -> "subprocess.Popen[bytes]":
    """Starts the server; it ends with this process, or when its standard input is closed.

    Without it, or if it fails, each message has a process of its own, which imports everything.

    Args:
        home: Flower's, of this site's node; the environment must name it already, so that leftovers are found.
    """
    folder = home / "warm"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    server = Path(__file__).with_name("warm.py")
    programs = Path(sys.executable).parent
    # -I -S: the launcher needs the standard library alone, and begins at once.
    command = [sys.executable, "-I", "-S", str(server), "ask", str(folder), str(programs / _PROGRAM)]
    launcher = folder / _PROGRAM
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    launcher.chmod(0o700)
    os.environ["PATH"] = os.pathsep.join([str(folder), str(programs), os.environ.get("PATH", os.defpath)])
    return subprocess.Popen([sys.executable, "-P", server, "serve", folder, *PACKAGES], stdin=subprocess.PIPE)
