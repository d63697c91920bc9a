"""A file that says a thing twice is refused wherever it is read: whoever looked at it may have seen the other one."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hospital import STUDY, Hospital
from pydantic import BaseModel

from client.data.preparation import study_to_join
from client.enrolment.connection import Connection, load_connection, save_connection
from client.site import SiteSettings, load_site, save_site
from common.errors import ConfigError
from common.protocol.actions import Action
from common.protocol.question_keys import public_text
from common.protocol.records import CONFIG, Instruction, UnacceptableError, instruction_record, read_result
from common.study.config import compose, to_yaml
from server.provision.federation import load_federation
from server.provision.registry import Registry, RegistryFile
from server.run_folder import RunFolder


def site(folder: Path) -> tuple[Path, Callable[[Path], object], str]:
    made = SiteSettings(name="a", reader="brats", organ="brain", path=folder, folder=folder, cache_dir=folder)
    save_site(made, folder / "site.yaml")
    return folder / "site.yaml", load_site, "min_cell: 1"


def connection(folder: Path) -> tuple[Path, Callable[[Path], object], str]:
    questions = public_text(Ed25519PrivateKey.generate())
    made = Connection(federation="f", site="a", address="localhost:1", enrolled=datetime.now(UTC), questions=questions)
    save_connection(made, folder)
    return folder / "connection.yaml", lambda file: load_connection(file.parent), "address: localhost:2"


def federation(folder: Path) -> tuple[Path, Callable[[Path], object], str]:
    values = {"name": "f", "address": "localhost:1", "sites": [{"name": "a", "organ": "brain"}]}
    (folder / "federation.yaml").write_text(yaml.safe_dump(values))
    return folder / "federation.yaml", load_federation, "address: localhost:2"


def config(folder: Path) -> tuple[Path, Callable[[Path], object], str]:
    (folder / "config.yaml").write_text(to_yaml(compose(["preset=demo"])))
    return folder / "config.yaml", lambda file: RunFolder.resume(file.parent, []), "seed: 5"


def study(folder: Path) -> tuple[Path, Callable[[Path], object], str]:
    (folder / "study.yaml").write_text(STUDY)
    return folder / "study.yaml", lambda file: study_to_join([], file), "seed: 5"


@pytest.mark.parametrize("kind", [site, connection, federation, config, study])
def test_the_key_and_its_line_are_named(
    tmp_path: Path, kind: Callable[[Path], tuple[Path, Callable[[Path], object], str]]
) -> None:
    file, read, again = kind(tmp_path)
    read(file)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, again]) + "\n")
    key = again.partition(":")[0]
    with pytest.raises(ConfigError, match=rf"{file.name}: .*line {len(lines) + 1}: the key {key} stands twice"):
        read(file)


def test_a_study_that_arrives_is_refused(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    assert not hospital.ask(Action.HELLO).has_error()
    assert hospital.ask(Action.HELLO, experiment=f"{STUDY}\nseed: 5\n").has_error()
    assert hospital.entries()[-1]["event"] == "refused"


def test_a_result_that_arrives_is_refused() -> None:
    class Told(BaseModel):
        accuracy: float

    from flwr.app import RecordDict

    record = instruction_record(Instruction(run="demo", phase="hello"))
    record["result"] = '{"accuracy": 0.5, "accuracy": 0.9}'
    with pytest.raises(UnacceptableError, match="does not fit"):
        read_result(RecordDict({CONFIG: record}), Told)


def test_a_list_of_sites_is_refused(tmp_path: Path) -> None:
    file = RegistryFile(tmp_path / "registry.json")
    text = json.dumps(json.loads(Registry(federation="f").model_dump_json()))
    file.path.write_text(text)
    assert file.read().federation == "f"
    file.path.write_text(text.removesuffix("}") + ', "federation": "g"}')
    with pytest.raises(ConfigError, match=r"registry\.json: is damaged \(the key federation stands twice"):
        file.read()
