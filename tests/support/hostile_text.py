"""Hostile settings, configurations, results, ledgers and lists: YAML with tags, JSON of wrong types and depths."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_corpus import Payload, hostile
from hostile_tensors import told_missing

Text = Callable[[Payload], bytes]
Read = Callable[[Path], object]

YAMLS: dict[str, Text] = {
    "calls a function": lambda payload: f"name: {payload.yaml()}\n".encode(),
    "makes an object": lambda payload: f'name: !!python/object/new:os.system ["{payload.command}"]\n'.encode(),
    "opens a process": lambda payload: (
        f"? !!python/object/apply:subprocess.Popen [[touch, '{payload.canary}']]\n: x\n".encode()
    ),
    "imports a module": lambda payload: b"name: !!python/module:antigravity\n",
    "names a function": lambda payload: b"name: !!python/name:os.system\n",
    "laughs": lambda payload: (
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    ).encode(),
    "holds itself": lambda payload: b"name: &a [*a]\n",
    "is nested": lambda payload: b"name: " + b"[" * 300_000,
    "is nested by dashes": lambda payload: b"- " * 200_000 + b"x",
    "is long": lambda payload: b"name: x\n" * 400_000,
    "has a key twice": lambda payload: b"name: a\nname: b\n",
    "is a list": lambda payload: b"[1, 2]",
    "is a word": lambda payload: b"word",
    "is empty": lambda payload: b"",
    "has a number of many digits": lambda payload: b"name: " + b"9" * 5_000,
    "has a date that is none": lambda payload: b"name: 2026-99-99",
    "is a pickle": lambda payload: payload.pickled(),
    "is no text": lambda payload: b"\xff\xfe\x00name",
}


def site_settings(file: Path) -> object:
    from client.site import load_site

    return load_site(file)


def federation_settings(file: Path) -> object:
    from server.provision.federation import load_federation

    return load_federation(file)


def node_connection(file: Path) -> object:
    from client.enrolment.connection import load_connection

    return load_connection(file.parent)


def resumed_run(file: Path) -> object:
    from server.run_folder import RunFolder

    return RunFolder.resume(file.parent, [])


def study_to_join(file: Path) -> object:
    from client.data import preparation

    return preparation.study_to_join([], file)


for _file, _read in {
    "site.yaml": site_settings,
    "federation.yaml": federation_settings,
    "connection.yaml": node_connection,
    "config.yaml": resumed_run,
    "study.yaml": study_to_join,
}.items():
    for _name, _make in YAMLS.items():

        @hostile(f"{_file} {_name}", says=_file)
        def _(
            folder: Path,
            payload: Payload,
            name: str = _file,
            make: Text = _make,
            read: Read = _read,
        ) -> Callable[[], object]:
            file = folder / name
            file.write_bytes(make(payload))
            return lambda: read(file)


@hostile("study.yaml reads the environment", says="study.yaml")
def _(folder: Path, payload: Payload) -> Callable[[], object]:
    from common.study.config import compose, to_yaml

    file = folder / "study.yaml"
    text = to_yaml(compose(["preset=demo"]), leaving=True)
    assert "name: demo" in text
    file.write_text(text.replace("name: demo", "name: ${oc.env:HOME}"))
    return lambda: study_to_join(file)


JSONS: dict[str, Text] = {
    "is nested": lambda payload: b"[" * 300_000,
    "is nested in tables": lambda payload: b'{"a":' * 300_000,
    "is a list": lambda payload: b"[1, 2]",
    "is a number": lambda payload: b"1e999",
    "is null": lambda payload: b"null",
    "is text": lambda payload: b'"text"',
    "has a key twice": lambda payload: b'{"run": 1, "run": 2}',
    "has wrong types": lambda payload: json.dumps(
        {key: {"a": [1]} for key in ("run", "sites", "gans", "approved", "federation", "entry", "round", "count")}
    ).encode(),
    "is a pickle": lambda payload: payload.pickled(),
    "is no text": lambda payload: b"\xff\xfe\x00{",
    "has a number of many digits": lambda payload: b'{"round": ' + b"9" * 9_000 + b"}",
}


def study_results(file: Path) -> object:
    from server.report.build import read_results

    return read_results(file)


def registry(file: Path) -> object:
    from server.provision.registry import RegistryFile

    return RegistryFile(file).read()


def approved(file: Path) -> object:
    from client.approval.allow_list import approvals

    return approvals(settings_in(file.parent))


def settings_in(folder: Path) -> Any:
    from client.site import SiteSettings

    return SiteSettings(name="a", reader="brats", organ="brain", path=folder, folder=folder, cache_dir=folder / "cache")


def synthetic_set(file: Path) -> object:
    from common.export.manifest import MANIFEST, read_manifest

    file.rename(file.with_name(MANIFEST))
    return read_manifest(file.parent)


def round_record(file: Path) -> object:
    from server.checkpoint import PhaseCheckpoints

    checkpoints = PhaseCheckpoints(file.parent, "gan/a")
    checkpoints.folder.mkdir(parents=True)
    file.rename(checkpoints.folder / file.name)
    return checkpoints.records()


def ledger(file: Path) -> object:
    from client.privacy.ledger import Ledger, LedgerFiles

    files = LedgerFiles(file.parent / "ledger.jsonl", file.parent / "head.json")
    content = file.read_bytes()
    file.unlink()
    Ledger(files, "a")
    file.write_bytes(content + b"\n" * (file == files.ledger))
    return Ledger(files, "a").entries()


def audit_log(file: Path) -> object:
    """A log that is not sound is shown up to where it is, with what is wrong; here that counts as a refusal."""
    from client.audit.log import AuditFiles, AuditLog, read_audit
    from common.errors import DataError

    files = AuditFiles(file.parent / "audit.jsonl", file.parent / "audit-head.json")
    content = file.read_bytes()
    file.unlink()
    AuditLog(files).write("asked")
    file.write_bytes(content + b"\n" * (file == files.log))
    _, problem = read_audit(files)
    if problem:
        raise DataError(f"{file}: {problem}")
    return None


def kept_plan(file: Path) -> object:
    from client.privacy.plan import _kept

    return _kept(file)


def site_summary(file: Path) -> object:
    return told_missing(file.parent, "summary")


for _file, _read in {
    "results.json": study_results,
    "registry.json": registry,
    "approved_bundles.json": approved,
    "manifest-to-be.json": synthetic_set,
    "round-00001.json": round_record,
    "ledger.jsonl": ledger,
    "head.json": ledger,
    "audit.jsonl": audit_log,
    "audit-head.json": audit_log,
    "plan.json": kept_plan,
    "summary.json": site_summary,
}.items():
    for _name, _make in JSONS.items():
        _says = {"manifest-to-be.json": "manifest"}.get(_file, _file)
        if (_file, _name) == ("summary.json", "has wrong types"):
            # Keys that a newer version wrote are passed over there, and every part of it may be missing.
            continue

        @hostile(f"{_file} {_name}", says=_says)
        def _(
            folder: Path,
            payload: Payload,
            name: str = _file,
            make: Text = _make,
            read: Read = _read,
        ) -> Callable[[], object]:
            file = folder / name
            file.write_bytes(make(payload))
            return lambda: read(file)


for _name, _values in {
    "an epsilon in words": {"assumed_epsilon": "none"},
    "an epsilon that is no number": {"assumed_epsilon": float("nan")},
    "an epsilon below nothing": {"assumed_epsilon": -8.0},
    "an epsilon in a list": {"assumed_epsilon": [1]},
}.items():

    @hostile(f"ledger assumes {_name}", says="ledger.jsonl")
    def _(folder: Path, payload: Payload, values: dict[str, Any] = _values) -> Callable[[], object]:
        """Its chain and its head are sound: whoever wrote it could write both."""
        from client.privacy.ledger import Ledger, LedgerFiles
        from client.privacy.ledger_files import begin_ledger

        files = LedgerFiles(folder / "ledger.jsonl", folder / "head.json")
        begin_ledger(files, "a", values)
        return lambda: Ledger(files, "a").assumed_epsilon
