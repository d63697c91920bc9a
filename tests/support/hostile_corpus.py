"""Files that are made to harm whoever reads them, and a process of its own that hands each to what reads such a file.

A case is a function that writes its file and returns what reads it:

    @hostile("pickle.pt", says="pickle.pt")
    def _(folder: Path, payload: Payload) -> Callable[[], object]: ...

The cases themselves are in ``hostile_tensors``, ``hostile_text``, ``hostile_archives`` and ``hostile_images``.
"""

import multiprocessing
import os
import pickle
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MODULES = ("hostile_tensors", "hostile_text", "hostile_archives", "hostile_images")
PATIENCE = 60.0
"""Seconds for one case; the longest takes a few, and the first one imports torch."""


class _Executed:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@dataclass(frozen=True)
class Payload:
    """What a hostile file tries to run: it makes the file ``canary``."""

    canary: Path

    @property
    def command(self) -> str:
        return f"touch '{self.canary}'"

    @property
    def made(self) -> Any:
        """An object that runs the command when it is unpickled."""
        return _Executed(self.command)

    def pickled(self, protocol: int = 4) -> bytes:
        return pickle.dumps(self.made, protocol)

    def yaml(self) -> str:
        return f'!!python/object/apply:os.system ["{self.command}"]'


Build = Callable[[Path, Payload], Callable[[], object]]


@dataclass(frozen=True)
class Case:
    """One hostile file.

    Attributes:
        build: writes it and returns what reads it.
        says: what the reason must hold, e.g. the file's name; empty where it may not.
        is_read: what is wrong is passed over, and what is asked for is there all the same.
    """

    build: Build
    says: str = ""
    is_read: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Attributes:
        how: ``refused``, ``read`` or ``escaped``.
        text: the reason, or what escaped.
        executed: whether the canary is there.
        growth: bytes by which the process's largest memory grew.
    """

    how: str
    text: str
    executed: bool
    growth: int


CASES: dict[str, Case] = {}


def hostile(name: str, *, says: str = "", is_read: bool = False) -> Callable[[Build], Build]:
    """Adds a case."""

    def add(build: Build) -> Build:
        assert name not in CASES, name
        CASES[name] = Case(build, says, is_read)
        return build

    return add


def all_cases() -> dict[str, Case]:
    """Every case by name."""
    for module in MODULES:
        __import__(module)
    return CASES


def read_corpus(folder: Path) -> dict[str, Outcome]:
    """Reads every file in one fresh process; one that dies or hangs is named."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    outcomes: dict[str, Outcome] = {}
    try:
        for name in all_cases():
            if not ours.poll(PATIENCE):
                outcomes[name] = Outcome("escaped", "it hangs", False, 0)
                break
            outcomes[name] = ours.recv()
    except EOFError:
        process.join()
        outcomes[name] = Outcome("escaped", f"its process died with exit code {process.exitcode}", False, 0)
    finally:
        process.kill()
        process.join()
    return outcomes


def _run(folder: Path, answer: Connection) -> None:
    # What takes more fails here, and not on the machine that runs the tests.
    resource.setrlimit(resource.RLIMIT_DATA, (6 * 2**30, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what libraries say of damaged files
    import common.training.build  # noqa: F401 - not to be counted as memory of the first case

    for number, case in enumerate(all_cases().values()):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        answer.send(_outcome(case, place))


def _outcome(case: Case, folder: Path) -> Outcome:
    from common.errors import BadStudyError, OncofedError

    payload = Payload(folder / "canary")
    read = case.build(folder, payload)
    assert not payload.canary.exists()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    how, text = "read", ""
    try:
        read()
    except (OncofedError, BadStudyError) as error:
        how, text = "refused", str(error)
    except Exception as error:
        how, text = "escaped", f"{type(error).__module__}.{type(error).__name__}: {error}"[:500]
    growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    return Outcome(how, text, payload.canary.exists(), growth)
