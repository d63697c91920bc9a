"""A user that the machine knows by number alone, as containers start programs: no entry in the password file, no home.

Libraries ask for a name and a home when they are imported, and fail; what they are told here is enough for them.
"""

import atexit
import os
import pwd
import shutil
import tempfile
from pathlib import Path

NO_HOME = "/nonexistent"
"""Debian's home of those that have none. Nothing is made there: a path with ``~`` is refused, and not lost."""

_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""Where Python looks for a name before it asks the password file."""

_KEPT_AT_HOME = ("MPLCONFIGDIR", "FLWR_HOME")
"""Where matplotlib keeps its list of fonts, and Flower a number for the reports that it does not send."""


def stand_in() -> None:
    """Gives this process and its children a name and a home where the machine has none for this user.

    A home that cannot be written stays what it is; what libraries would keep there goes to a temporary folder, and with
    this process.
    """
    try:
        home: str | None = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        home = None
        if not any(os.environ.get(name) for name in _NAMES):
            os.environ["USER"] = f"user-{os.getuid()}"
    if not os.environ.get("HOME"):
        os.environ["HOME"] = home or NO_HOME
    kept = Path(os.environ["HOME"])
    lacking = [name for name in _KEPT_AT_HOME if name not in os.environ]
    if lacking and not (kept.is_dir() and os.access(kept, os.W_OK)):
        folder = tempfile.mkdtemp(prefix="oncofed-")
        os.environ.update({name: f"{folder}/{name.lower()}" for name in lacking})
        owner = os.getpid()
        # A process that was forked ends with the same list of what is to be done, and the folder is not its own.
        atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
