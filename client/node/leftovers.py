"""Processes that an earlier start of this site's node left behind.

A node that is killed cannot end what it started: a training may go on for hours, for nobody, and would write its state
beside the new node's. Flower's programs are known by the home that they were given, which is the site's own.
"""

import os
from pathlib import Path

import psutil

from common.system.child_process import end_processes


def end_leftovers(home: Path) -> int:
    """Ends every process of this user whose ``FLWR_HOME`` is ``home``; returns how many there were.

    Call it only while the site's lock is held: a running node's processes look the same.
    """
    left = [process for process in psutil.process_iter() if _belongs_to(process, home)]
    end_processes(left)
    return len(left)


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        return bool(process.environ().get("FLWR_HOME") == str(home)) and process.pid != os.getpid()
    except (psutil.Error, OSError):
        return False
