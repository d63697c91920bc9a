"""A server that has imported what a study's process needs, and forks one for each message.

Flower starts the program ``flwr-clientapp`` for each message, and Python's packages take longer to import than most
messages to answer. A launcher of that name (:mod:`client.node.workers`) asks here instead. Imported are the packages of
others alone: the five packages of ours come with the bundle of each study, which an app process imports after the fork
as in a process of its own. So no module of the installed release can stand in for one of a bundle.

This file is run by itself and imports none of ours, for the same reason. ``serve FOLDER PACKAGE...`` is the server,
``ask FOLDER PROGRAM ARGUMENT...`` the launcher; whenever the server cannot be had, PROGRAM runs as it would without.
"""

import ast
import atexit
import contextlib
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

_PATIENCE = 120.0
"""Seconds that a launcher waits for a server that is still importing; it would take as long by itself."""
_READY, _GO, _STARTED = b"r", b"g", b"s"


def ask(folder: Path, program: str, arguments: list[str]) -> None:
    """Has the server start ``program``, or starts it here."""
    agreed = False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE)
        with _address(folder) as address:
            line.connect(address)
        line.sendall(json.dumps(arguments).encode() + b"\n")
        if line.recv(1) == _READY:
            agreed = True
            line.sendall(_GO)
            if line.recv(1) == _STARTED:
                return
    if agreed:
        # It may have been started: a message is never worked on twice. Flower notices that nobody does.
        sys.exit("the server of warm processes broke off")
    os.execv(program, [program, *arguments])


def serve(folder: Path, packages: list[str]) -> list[str]:
    """Serves until its standard input ends, which its node holds; returns in each forked process, with its arguments.

    Args:
        folder: where the launcher looks for the socket.
        packages: ours, which must not be imported here.
    """
    root = Path(__file__).parents[2]
    with socket.socket(socket.AF_UNIX) as listening:
        with _address(folder) as address:
            listening.bind(address)
        listening.listen(16)
        _import(root, packages)
        if (reason := _unsafe(packages)) is not None:
            sys.exit(f"no warm processes: {reason}")
        gc.collect()
        gc.freeze()
        # What has ended needs no farewell.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                sys.exit(0)
            line, _ = listening.accept()
            with line, contextlib.suppress(OSError, ValueError):
                if (arguments := _start(line)) is not None:
                    break
    _become_an_app()
    return arguments


def _start(line: socket.socket) -> list[str] | None:
    """Forks for one launcher; the new process gets the arguments, the server None."""
    line.settimeout(5.0)
    with line.makefile("rb") as asked:
        arguments = json.loads(asked.readline(65_536))
        line.sendall(_READY)
        if asked.read(1) != _GO:
            return None
    if os.fork() == 0:
        return [str(one) for one in arguments]
    line.sendall(_STARTED)
    return None


def _become_an_app() -> None:
    """What a process of its own would find."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Flower's lines have a handler of their own; a library that set up the root's would repeat each of them.
    logging.getLogger("flwr").propagate = False
    # What the server has to clean up at its end is not this process's to clean up.
    atexit._clear()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # otherwise all processes would draw the same; Python's own generator sees to itself


def _import(root: Path, packages: list[str]) -> None:
    """Imports what ``client/app.py`` imports of others, directly or by way of our files."""
    for name in _of_others(root, packages):
        # Of `from a import b`, b may be a module or a name in a.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    from flwr.supernode.cli import flwr_clientapp  # noqa: F401


def _of_others(root: Path, packages: list[str]) -> Iterator[str]:
    todo, seen = ["client.app"], set[str]()
    while todo:
        name = todo.pop()
        file = root.joinpath(*name.split("."))
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        if name in seen or not file.is_file():
            continue
        seen.add(name)
        for statement in ast.parse(file.read_bytes()).body:
            names = _imported(statement)
            ours = [one for one in names if one.split(".")[0] in packages]
            todo.extend(ours)
            if not ours:
                yield from names


def _imported(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import):
        return [one.name for one in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module is not None:
        return [statement.module, *(f"{statement.module}.{one.name}" for one in statement.names)]
    return []


def _unsafe(packages: list[str]) -> str | None:
    """Why a fork of this process would not be as good as a new one; None if it would."""
    if imported := sorted(name for name in sys.modules if name.split(".")[0] in packages):
        return f"{imported[0]} would stand in for a bundle's own"
    # The threads of OpenBLAS, which are not Python's, end before a fork by themselves.
    if threading.active_count() > 1:
        return "a package has begun threads of its own"
    if any("/dev/nvidia" in os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")):
        return "a package has begun to use the GPU"
    return None


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's name: it may have 107 characters, and a folder's may have more."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/socket"
    finally:
        os.close(descriptor)


def _end(code: object) -> NoReturn:
    """Ends a forked process. Taking apart all that was imported before takes seconds, and is for nobody."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    mode, place, *more = sys.argv[1:]
    if mode == "ask":
        ask(Path(place), more[0], more[1:])
    else:
        sys.argv = ["flwr-clientapp", *serve(Path(place), more)]
        from flwr.supernode.cli import flwr_clientapp

        try:
            flwr_clientapp()
        except SystemExit as end:
            _end(end.code)
        except BaseException:
            traceback.print_exc()
        _end(1)
