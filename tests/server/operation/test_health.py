"""What ``oncofed-server health`` says of a guarded SuperLink, an enrolment service and an nginx that run."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from enrolment_service import served
from guarded_fleet import Fleet, guarded_fleet
from small_disk import small_disk

from common.system.command import run_command
from server.operation.health import health_command
from server.operation.quota import Quota
from server.provision.federation import FederationSettings
from server.provision.provision import Places, provision

SITES = ("hospital1", "hospital2")


@dataclass
class Served:
    """A federation that is served."""

    fleet: Fleet
    places: Places
    file: Path
    settings: FederationSettings
    said: list[str] = field(default_factory=list)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "4m") as folder:
        yield folder


@pytest.fixture
def running(disk: Path, tmp_path: Path) -> Iterator[Served]:
    # Root's rights are given up by nginx: its files lie where everybody may look.
    with guarded_fleet(tmp_path / "fleet", SITES, Quota(1 << 24, 1 << 25)) as fleet:
        values = {
            "name": "tumours",
            "address": fleet.address,
            "sites": [{"name": site, "organ": "brain"} for site in SITES],
            "serve": {key: fleet.ports[key] for key in ("superlink", "enrolment")},
        }
        file = tmp_path / "federation.yaml"
        file.write_text(json.dumps(values))
        places = Places(disk / "provision")
        (disk / "provision").mkdir()
        shutil.copytree(fleet.root / "authority", places.authority)
        shutil.copy(fleet.registry.path, places.registry.path)
        settings = FederationSettings.model_validate(values)
        provision(settings, places)
        yield Served(fleet, places, file, settings)


def asked(running: Served, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_command(lambda: health_command(running.file, running.places))
    told = capsys.readouterr()
    return code, told.out + told.err


def at_its_port(running: Served, name: str) -> FederationSettings:
    """Settings of an enrolment service at this federation's port."""
    address = f"localhost:{running.fleet.ports['enrolment']}"
    return running.settings.model_copy(update={"address": address, "name": name})


def test_each_part_is_asked_and_the_disk_is_written_to(running: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = asked(running, capsys)
    assert code == 3
    assert "enrolment  does not answer" in said
    with served(at_its_port(running, "tumours"), running.places, tls=False):
        code, said = asked(running, capsys)
        assert code == 0, said
        assert said.count("well") == 4
        assert "0 of 2 connected; not hospital1, hospital2" in said
        with pytest.raises(OSError, match="No space left"):
            (running.places.folder / "filling").write_bytes(bytes(8_000_000))
        code, said = asked(running, capsys)
        assert code == 3
        assert "the disk is full; make room" in said
        assert "disk not well" in said


def test_another_federations_service_at_the_port_does_not_count(
    running: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Places(tmp_path / "other")
    settings = at_its_port(running, "others")
    provision(settings, other)
    with served(settings, other, tls=False):
        code, said = asked(running, capsys)
    assert code == 3
    assert "another program answers" in said
