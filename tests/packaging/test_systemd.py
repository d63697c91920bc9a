"""The systemd units, by the judgement of systemd's own tools."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "packaging" / "systemd"
UNITS = ("oncofed-node", "oncofed-coordinator")
HEALTH = "oncofed-node-health"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


def unit(name: str) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FOLDER / f"{name}.service")
    return parser


def analyse(*arguments: str | Path) -> None:
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


@pytest.fixture(params=[*UNITS, HEALTH, "with a GPU"])
def runnable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a unit whose program is there: systemd complains of one that is not."""
    name = UNITS[0] if request.param == "with a GPU" else request.param
    text = (FOLDER / f"{name}.service").read_text()
    command = unit(name)["Service"]["ExecStart"].split()[0]
    copy = tmp_path / f"{name}.service"
    copy.write_text(text.replace(command, sys.executable))
    if name == HEALTH:
        shutil.copy(FOLDER / f"{HEALTH}.timer", tmp_path)
    if request.param == "with a GPU":
        (tmp_path / f"{name}.service.d").mkdir()
        shutil.copy(FOLDER / "gpu.conf", tmp_path / f"{name}.service.d")
    return copy


@needs_systemd
def test_systemd_understands_every_line(runnable: Path) -> None:
    analyse("verify", runnable)


@needs_systemd
def test_systemd_rates_the_exposure_below_three_of_ten(runnable: Path) -> None:
    analyse("security", "--offline=true", "--threshold=30", "--no-pager", runnable)


@pytest.mark.parametrize("name", UNITS)
def test_a_service_comes_back_by_itself_and_leaves_nothing_behind(name: str) -> None:
    service = unit(name)["Service"]
    assert service["Restart"] == "always"
    assert float(service["RestartSec"]) >= 10
    assert service["KillMode"] == "control-group"
    assert service["UMask"] == "0077"
    assert service["StateDirectoryMode"] == "0700"
    assert service["User"] not in ("root", "")
    program, command, file, *_ = service["ExecStart"].split()
    assert Path(program).name == {"oncofed-node": "oncofed-client"}.get(name, "oncofed-server")
    assert command == "start"
    assert file.startswith(service["ReadWritePaths"] + "/")
    assert service["ReadWritePaths"] == f"/var/lib/{service['StateDirectory']}"


def test_the_node_is_asked_whether_it_is_well_and_may_ask_no_other_machine() -> None:
    node, health = (unit(name)["Service"] for name in (UNITS[0], HEALTH))
    assert health["ExecStart"] == node["ExecStart"].replace(" start ", " health ")
    assert (health["User"], health["IPAddressDeny"], health["IPAddressAllow"]) == (node["User"], "any", "localhost")


@pytest.mark.parametrize("name", UNITS)
def test_system_calls_are_those_of_a_service_and_what_setpriv_needs(name: str) -> None:
    lines = (FOLDER / f"{name}.service").read_text().splitlines()
    filters = [line.partition("=")[2] for line in lines if line.startswith("SystemCallFilter=")]
    # In this order: what is taken away by the second is given back by the third.
    assert filters == ["@system-service", "~@privileged", "capset"]


def test_only_the_coordinator_may_open_a_privileged_port() -> None:
    node, coordinator = (unit(name)["Service"] for name in UNITS)
    assert (node["AmbientCapabilities"], node["CapabilityBoundingSet"]) == ("", "")
    assert coordinator["AmbientCapabilities"] == coordinator["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not here")
def test_the_users_of_the_units_are_those_that_are_made() -> None:
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", str(FOLDER / "sysusers.conf")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = {line.split()[1] for line in (FOLDER / "sysusers.conf").read_text().splitlines() if line.startswith("u ")}
    assert made == {unit(name)["Service"]["User"] for name in UNITS}
