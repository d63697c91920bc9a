"""The ledger under crashes, edits and neighbours: it never counts too little, and never trusts what was changed."""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.audit.hash_chain import Chain
from client.privacy import ledger as module
from client.privacy.ledger import Ledger, LedgerError, LedgerFiles

CHILD = """
import sys
from pathlib import Path
from client.privacy.ledger import Ledger, LedgerFiles
assert "torch" not in sys.modules and "opacus" not in sys.modules and "numpy" not in sys.modules
folder = Path(sys.argv[1])
ledger = Ledger(LedgerFiles(folder / "privacy" / "ledger.jsonl", folder / "elsewhere" / "head.json"), "site")
steps = open(folder / "steps", "ab", buffering=0)
print("ready", flush=True)
while True:
    ledger.charge({"run": "r", "mechanism": "m", "sigma": 1.0, "q": 0.1, "steps": 1}, lambda entries, assumed: None)
    steps.write(b".")
"""


def files_in(folder: Path) -> LedgerFiles:
    return LedgerFiles(folder / "privacy" / "ledger.jsonl", folder / "elsewhere" / "head.json")


def charge(ledger: Ledger, number: int = 1, *, steps: int = 1) -> None:
    entry = {"run": "r", "mechanism": "m", "sigma": 1.0, "q": 0.1, "steps": steps}
    for _ in range(number):
        ledger.charge(entry, lambda entries, assumed: None)


def filled(folder: Path, number: int = 5) -> LedgerFiles:
    files = files_in(folder)
    charge(Ledger(files, "site"), number)
    return files


def test_what_was_charged_is_there_after_a_restart(tmp_path: Path) -> None:
    files = filled(tmp_path, 3)
    charge(Ledger(files, "site"), 2, steps=7)
    entries = Ledger(files, "site").entries()
    assert [entry["steps"] for entry in entries] == [1, 1, 1, 7, 7]
    assert all(entry["time"] for entry in entries)


def test_a_gate_sees_all_charges_and_its_refusal_writes_nothing(tmp_path: Path) -> None:
    files = filled(tmp_path, 2)
    before = files.ledger.read_bytes(), files.head.read_bytes()
    seen: list[int] = []

    def gate(entries: Sequence[Mapping[str, Any]], assumed: float) -> None:
        assert assumed == 0.0
        seen.append(len(entries))
        assert entries[-1]["steps"] == 9
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Ledger(files, "site").charge({"steps": 9}, gate)
    assert seen == [3]
    assert (files.ledger.read_bytes(), files.head.read_bytes()) == before


def kill_at_random_moments(folder: Path, kills: int, seed: int) -> None:
    """Starts children that charge and step, kills each with SIGKILL, and looks at the ledger after each."""
    chance = random.Random(seed)
    files = files_in(folder)
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
    charged = 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, env=environment, cwd=folder
        )
        assert child.stdout is not None
        if chance.random() < 0.8:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(chance.random() * 0.03)
        else:  # also while the ledger is opened
            time.sleep(chance.random() * 0.08)
        child.kill()
        child.wait()
        child.stdout.close()
        if not files.ledger.exists():
            continue
        now = len(Ledger(files, "site").entries())
        steps = (folder / "steps").stat().st_size if (folder / "steps").exists() else 0
        assert now >= steps, "a step was taken that nobody paid for"
        assert now >= charged, "a charge was lost"
        # At most one charge a kill was not followed by its step.
        assert now - steps <= kills
        charged = now
    assert charged > kills / 2


def test_killed_while_charging_it_never_counts_too_little(tmp_path: Path) -> None:
    kill_at_random_moments(tmp_path, kills=40, seed=1)


@pytest.mark.slow
def test_killed_200_times_it_never_counts_too_little(tmp_path: Path) -> None:
    kill_at_random_moments(tmp_path, kills=200, seed=2)


@pytest.mark.parametrize("moment", ["before the line", "half a line", "before the head", "before the head's rename"])
def test_a_crash_at_each_moment_of_a_charge(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each moment made on purpose, whatever random kills happened to hit."""
    files = filled(tmp_path, 3)
    ledger = Ledger(files, "site")

    class Crash(BaseException):
        pass

    def crash(*_: Any) -> Any:
        raise Crash

    if moment == "half a line":
        with files.ledger.open("ab") as file:
            file.write(b'{"entry": {"run": "r", "mecha')
    else:
        target = {"before the line": "open", "before the head": "fsync", "before the head's rename": "replace"}[moment]
        real, calls = getattr(os, target), []

        def fails(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            # The first fsync is the line's own; what follows belongs to the head. The first open is the lock's.
            if target == "replace" or len(calls) == 2:
                crash()
            return real(*arguments, **options)

        monkeypatch.setattr(module.os, target, fails)
        with pytest.raises(Crash):
            charge(ledger)
        monkeypatch.undo()
    after = Ledger(files, "site")
    assert len(after.entries()) in ((3,) if moment in ("half a line", "before the line") else (4,))
    charge(after)
    assert len(Ledger(files, "site").entries()) == len(after.entries())


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def rechain(file: Path) -> None:
    """What a careful forger does: every hash made anew."""
    lines = Chain()
    for raw in file.read_text().splitlines():
        lines.add(json.loads(raw)["entry"])
    file.write_bytes(b"".join(lines.raw))


TAMPERINGS = {
    "a figure changed": lambda files: edit(files.ledger, '"steps": 1', '"steps": 0'),
    "a figure changed and all hashes made anew": lambda files: (
        edit(files.ledger, '"steps": 1', '"steps": 0'),
        rechain(files.ledger),
    ),
    "two lines swapped": lambda files: files.ledger.write_text(
        "\n".join([(lines := files.ledger.read_text().split("\n"))[0], lines[2], lines[1], *lines[3:]])
    ),
    "the end cut off": lambda files: files.ledger.write_text(
        "".join(line + "\n" for line in files.ledger.read_text().splitlines()[:-2])
    ),
    "the beginning cut off": lambda files: files.ledger.write_text(
        "".join(line + "\n" for line in files.ledger.read_text().splitlines()[1:])
    ),
    "the ledger deleted": lambda files: files.ledger.unlink(),
    "the head deleted": lambda files: files.head.unlink(),
    "the ledger emptied": lambda files: files.ledger.write_text(""),
    "the head emptied": lambda files: files.head.write_text(""),
    "the head set back": lambda files: edit(files.head, '"count": 6', '"count": 2'),
    "not text at all": lambda files: files.ledger.write_bytes(b"\x00\xff" * 50),
    "lines appended that were never charged": lambda files: files.ledger.write_text(
        files.ledger.read_text() + files.ledger.read_text().splitlines()[-1] + "\n"
    ),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_changed_is_refused_with_the_way_out(tmp_path: Path, how: str) -> None:
    files = filled(tmp_path)
    open_one = Ledger(files, "site")
    TAMPERINGS[how](files)
    for refused in (lambda: Ledger(files, "site"), lambda: charge(open_one)):
        with pytest.raises(LedgerError) as error:
            refused()
        text = str(error.value)
        assert str(files.ledger) in text or str(files.head) in text
        assert "--reopen" in text
        assert "docs/privacy.md" in text


def test_an_older_copy_of_the_ledger_is_refused(tmp_path: Path) -> None:
    files = filled(tmp_path, 2)
    shutil.copy(files.ledger, tmp_path / "old")
    charge(Ledger(files, "site"), 2)
    shutil.copy(tmp_path / "old", files.ledger)
    with pytest.raises(LedgerError, match="its end was cut off"):
        Ledger(files, "site")


def test_another_sites_ledger_is_refused(tmp_path: Path) -> None:
    own, other = filled(tmp_path / "a"), files_in(tmp_path / "b")
    charge(Ledger(other, "other"), 5)
    for file, target in ((other.ledger, own.ledger), (other.head, own.head)):
        shutil.copy(file, target)
        with pytest.raises(LedgerError, match=r"belongs to|different ledgers"):
            Ledger(own, "site")


def test_a_ledger_of_an_earlier_begin_does_not_fit_a_newer_head(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "a"), filled(tmp_path / "b")
    shutil.copy(first.ledger, second.ledger)
    with pytest.raises(LedgerError, match="different ledgers"):
        Ledger(second, "site")


def test_a_full_disk_charges_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = filled(tmp_path, 3)
    ledger = Ledger(files, "site")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[:10])

    monkeypatch.setattr(module.os, "write", full)
    with pytest.raises(LedgerError, match=r"cannot be read or written \(only part.* make room"):
        charge(ledger)
    monkeypatch.undo()
    assert len(Ledger(files, "site").entries()) == 3
    charge(ledger)
    assert len(Ledger(files, "site").entries()) == 4


def test_a_full_disk_of_the_head_leaves_the_charge_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two copies may lie on two disks; a charge that is in one of them counts, though its step was not taken."""
    files = filled(tmp_path, 3)
    ledger = Ledger(files, "site")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(files.head))

    monkeypatch.setattr(module.os, "replace", full)
    for _ in range(3):
        with pytest.raises(LedgerError, match=r"head\.json: .*No space left on device.* make room"):
            charge(ledger)
    monkeypatch.undo()
    assert len(Ledger(files, "site").entries()) == 4
    charge(ledger)
    assert len(Ledger(files, "site").entries()) == 5


def test_a_place_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "privacy").write_text("a file where the folder should be")
    with pytest.raises(LedgerError, match=r"privacy.* cannot be read or written .* let this user write there"):
        Ledger(files_in(tmp_path), "site")


def test_an_open_ledger_sees_an_edit_that_hides_its_time_and_length(tmp_path: Path) -> None:
    files = filled(tmp_path)
    ledger = Ledger(files, "site")
    before = files.ledger.stat()
    with files.ledger.open("r+b") as file:
        text = file.read()
        file.seek(0)
        file.write(text.replace(b'"steps": 1', b'"steps": 0', 1))
    os.utime(files.ledger, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = files.ledger.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    with pytest.raises(LedgerError, match="was changed"):
        charge(ledger)


def _charges(folder: str, number: int, site: str = "site", node: str = "", shared: bool = False) -> None:
    charge(Ledger(replace(files_in(Path(folder)), shared=shared), site, node), number)


def test_processes_that_charge_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_charges, args=(str(tmp_path), 25)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(Ledger(files_in(tmp_path), "site").entries()) == 75


def test_two_nodes_that_share_a_ledger_charge_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    nodes = {"north": "a" * 32, "south": "b" * 32}
    workers = [
        context.Process(target=_charges, args=(str(tmp_path), 25, site, node, True)) for site, node in nodes.items()
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    ledger = Ledger(replace(files_in(tmp_path), shared=True), "east", "c" * 32)
    seen: list[int] = []
    ledger.charge({"steps": 1}, lambda entries, assumed: seen.append(len(entries)))
    assert seen == [51]
    assert {(entry["site"], entry["node"]) for entry in ledger.entries()[:-1]} == set(nodes.items())
    assert [len(ledger.hashes_of(node)) for node in (*nodes.values(), "c" * 32, "")] == [25, 25, 1, 0]
    # Where the folder is not named as one to be shared, it stays one site's.
    with pytest.raises(LedgerError, match=r"belongs to the site .*privacy\.folder"):
        Ledger(files_in(tmp_path), "east")


def test_a_ledger_that_is_open_elsewhere_sees_the_others_charges(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    one, two = Ledger(files, "site"), Ledger(files, "site")
    charge(one, 2)
    charge(two, 1)
    assert len(one.entries()) == len(two.entries()) == 3


@pytest.mark.parametrize("how", ["the ledger deleted", "the end cut off", "not text at all"])
def test_reopened_it_counts_what_may_have_been_spent_and_keeps_the_old_files(tmp_path: Path, how: str) -> None:
    files = filled(tmp_path)
    TAMPERINGS[how](files)
    aside = Ledger.reopen(files, "site", "disk was lost", assumed_epsilon=8.0)
    ledger = Ledger(files, "site")
    assert ledger.assumed_epsilon == 8.0
    assert ledger.entries() == []
    assert (aside / files.head.name).exists()
    charge(ledger)
    assert Ledger(files, "site").assumed_epsilon == 8.0


@pytest.mark.parametrize("how", ["the ledger deleted", "the head deleted", "the end cut off"])
@pytest.mark.parametrize("moment", range(12))
def test_a_crash_while_it_is_reopened_gives_nothing_back(
    tmp_path: Path, how: str, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is there afterwards is refused, or counts all that may have been spent."""
    files = filled(tmp_path)
    TAMPERINGS[how](files)

    class Crash(BaseException):
        pass

    calls: list[str] = []

    def crashing(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(real.__name__)
            if len(calls) == moment + 1:
                raise Crash
            return real(*arguments, **options)

        return call

    for name in ("replace", "fsync", "unlink"):
        monkeypatch.setattr(module.os, name, crashing(getattr(os, name)))
    with suppress(Crash):
        Ledger.reopen(files, "site", "disk was lost", assumed_epsilon=8.0)
    monkeypatch.undo()
    try:
        assert Ledger(files, "site").assumed_epsilon == 8.0
    except LedgerError:
        Ledger.reopen(files, "site", "once more", assumed_epsilon=8.0)
        assert Ledger(files, "site").assumed_epsilon == 8.0
    seen: list[float] = []
    Ledger(files, "site").charge({"steps": 1}, lambda entries, assumed: seen.append(assumed))
    assert seen == [8.0]


def test_begun_anew_it_names_what_it_replaces_and_counts_how_often(tmp_path: Path) -> None:
    files = filled(tmp_path)
    first = Ledger(files, "site").id
    assert Ledger(files, "site").times_assumed == 0
    Ledger.reopen(files, "site", "once", assumed_epsilon=8.0, replaces=["told"])
    second = Ledger(files, "site")
    assert second.replaces() == {first, "told"}
    assert second.times_assumed == 1
    second_id = second.id
    Ledger.reopen(files, "site", "twice", assumed_epsilon=8.0)
    third = Ledger(files, "site")
    assert third.replaces() == {first, "told", second_id}
    assert third.times_assumed == 2
    assert third.may_replace(first)
    assert not third.may_replace("unknown")
    third_id = third.id
    # The folders count too, should the line be lost; and what they held is not forgotten with it.
    files.ledger.write_bytes(b"\x00")
    Ledger.reopen(files, "site", "thrice", assumed_epsilon=8.0)
    fourth = Ledger(files, "site")
    assert fourth.times_assumed == 3
    assert fourth.replaces() == {third_id}
    assert fourth.may_replace("unknown")


def test_both_files_missing_is_a_new_ledger(tmp_path: Path) -> None:
    """The two files alone cannot tell a first start from both of them removed; witnesses can."""
    files = filled(tmp_path)
    files.ledger.unlink()
    files.head.unlink()
    assert Ledger(files, "site").entries() == []
