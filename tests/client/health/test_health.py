"""The health service as a supervisor and as the command ask it."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from small_disk import small_disk

from client.cli import main
from client.health.checks import Check, check_budget, check_data, contact_check, site_checks
from client.health.service import HealthService, ask_health, identity
from client.privacy.budget import Budget
from client.site import load_site
from common.errors import ConfigError


@contextmanager
def running(checks: dict[str, Check], port: int = 0, whose: str = "") -> Iterator[int]:
    service = HealthService(checks, port, whose)
    service.start()
    try:
        yield service.port
    finally:
        service.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def site_file(folder: Path, *lines: str, port: int | None = None) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    file = folder / "site.yaml"
    given = ["name: north", "reader: brats", "organ: brain", "path: data", *lines]
    file.write_text("\n".join([*given, f"health_port: {port or 18470}"]) + "\n")
    return file


def test_any_grpc_probe_is_answered() -> None:
    with running({"data": lambda: None, "budget": lambda: "it is spent"}) as port:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)

            def status(service: str) -> int:
                return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)

            assert status("data") == health_pb2.HealthCheckResponse.SERVING
            assert status("budget") == status("") == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError) as error:
                status("else")
            assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert ask_health(port, "data") is None
        assert ask_health(port, "budget") == "it is spent"
        assert ask_health(port, "") == "budget: it is spent"


def test_each_question_is_answered_anew_and_a_check_that_fails_is_not_well() -> None:
    said: list[str | None] = [None, "gone: ä"]
    with running({"data": lambda: said.pop(0)}) as port:
        assert ask_health(port, "data") is None
        assert ask_health(port, "data") == "gone: ä"
        assert ask_health(port, "data") == "could not be found out (IndexError)"


def test_it_is_reached_from_this_machine_alone() -> None:
    with running({}) as port:
        rows = [line for file in ("tcp", "tcp6") for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]]
        mine = {
            row.split()[1].split(":")[0] for row in rows if f":{port:04X} " in row.split(" 0A ")[0] and " 0A " in row
        }
        # IPv4's loopback, plain or as IPv6 writes it.
        assert mine
        assert mine <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_port_that_is_taken_is_an_error_that_names_the_key() -> None:
    with running({}) as port, pytest.raises(ConfigError, match="health_port"):
        HealthService({}, port)


def test_nobody_there_is_told_as_such() -> None:
    assert "is it started?" in str(ask_health(free_port(), "data"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: None, None),
        (lambda site: site.write_text("name: ["), "is not valid YAML"),
        (lambda site: (site.parent / "data").rmdir(), "folder of the images"),
        (lambda site: (site.parent / "cache").write_text(""), "cannot be written"),
    ],
)
def test_what_is_wrong_with_the_data(tmp_path: Path, change: Callable[[Path], object], said: str | None) -> None:
    site = site_file(tmp_path)
    change(site)
    found = check_data(site)
    assert (found is None) if said is None else said in str(found)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


@pytest.mark.parametrize("which", ["folder", "cache_dir"])
def test_a_full_disk_is_not_well(tmp_path: Path, disk: Path, which: str) -> None:
    site = site_file(tmp_path, f"{which}: {disk}")
    assert check_data(site) is None
    with pytest.raises(OSError, match="No space left"):
        (disk / "filling").write_bytes(bytes(2_000_000))
    assert "the disk is full; make room" in str(check_data(site))
    (disk / "filling").unlink()
    assert check_data(site) is None
    assert [file for file in disk.rglob("*") if file.is_file()] == []


def test_another_sites_node_at_the_port_does_not_speak_for_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    files = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        files.append(site_file(tmp_path / folder, port=port))
    stopped, runs = files
    with running(site_checks(runs, lambda: None), port, identity(load_site(runs))):
        assert exit_code("health", runs) == 0
        capsys.readouterr()
        assert exit_code("health", stopped) == 3
        assert f"another program answers at 127.0.0.1:{port}, not this site's node" in capsys.readouterr().out
        assert exit_code("status", runs) == exit_code("status", stopped) == 0
        said = capsys.readouterr().out
    assert [line.split(None, 1)[1] for line in said.splitlines() if line.startswith("  node ")] == [
        "runs",
        f"does not run; oncofed-client start {stopped}",
    ]


def exit_code(command: str, site: Path) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([command, str(site)])
    return int(exit_.value.code or 0)


def test_what_is_wrong_with_the_budget(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert check_budget(site_file(home)) is None
    site = site_file(home, "privacy: {epsilon: 8.0, patients: 40}")
    assert check_budget(site) is None
    Budget(load_site(site)).charge(run="r", mechanism="m", sigma=2.0, q=0.1, steps=100, run_cap=inf)
    assert check_budget(site) is None
    spent = Budget(load_site(site)).epsilon()
    site = site_file(home, f"privacy: {{epsilon: {spent / 2}, patients: 40}}")
    assert "budget is spent" in str(check_budget(site))
    load_site(site).ledger_files().ledger.write_text("nothing\n")
    assert "line 1 was changed" in str(check_budget(site))


def test_a_coordinator_that_was_not_heard_of_lately_is_not_well() -> None:
    assert "has not been reached" in str(contact_check(lambda: None)())
    assert contact_check(time.monotonic)() is None
    assert "100 seconds ago" in str(contact_check(lambda: time.monotonic() - 100)())


def test_the_command_says_it_in_plain_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    site = site_file(tmp_path, port=port)

    def command(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(["health", str(site), *more])
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    code, out, err = command()
    assert code == 3
    assert f"no node answers at 127.0.0.1:{port}" in out
    assert "north: data, budget, superlink not well" in err
    with running(site_checks(site, lambda: None), port, identity(load_site(site))):
        code, out, err = command()
        assert (code, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()] == ["data", "budget", "superlink"]
        assert out.count(": well") == 3
        (tmp_path / "data").rmdir()
        code, out, _ = command("--json")
        assert code == 3
        answer = json.loads(out)
        assert not answer["data"]["well"]
        assert "folder of the images" in answer["data"]["reason"]
        assert answer["budget"] == {"well": True, "reason": None}
