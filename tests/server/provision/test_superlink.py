"""From provisioning to a node that Flower lets in: a real SuperLink, with our certificate and our list of keys."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from enrolment_service import federation, free_port, served

from client.enrolment.command import init
from client.enrolment.connection import load_connection
from server.provision.provision import Changes, Places, provision
from server.provision.registrations import SuperLinkNodes

FLOWER = Path(sys.executable).parent


@contextmanager
def running(command, log, env):
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def wait_until(condition, process, log, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.3)


@pytest.mark.slow
def test_an_enrolled_node_is_let_in_and_a_revoked_one_is_not(tmp_path, monkeypatch):
    places, settings = Places(tmp_path / "provision"), federation(free_port())
    provision(settings, places)
    with served(settings, places):
        for site in ("hospital1", "hospital2"):
            init(places.kit(site), tmp_path / site)
    # Flower starts programs of its own by their names.
    monkeypatch.setenv("PATH", f"{FLOWER}:{os.environ['PATH']}")
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setenv("FLWR_DISABLE_UPDATE_CHECK", "1")
    (tmp_path / "flwr").mkdir()
    certificate = places.authority / "ca.crt"
    (tmp_path / "flwr" / "config.toml").write_text(
        f'[superlink.hospitals]\naddress = "{settings.address}"\nroot-certificates = "{certificate}"\n'
    )
    host, port = "127.0.0.1", settings.address.split(":")[1]
    superlink = [FLOWER / "flower-superlink", "--host", host, "--port", port, "--ssl-ca-certfile", certificate]
    superlink += ["--ssl-certfile", places.server / "server.crt", "--ssl-keyfile", places.server / "server.key"]
    superlink += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    log, env = tmp_path / "superlink.log", dict(os.environ)

    def answers():
        try:
            return httpx.get(f"https://{settings.address}/health", verify=False, trust_env=False).status_code < 500
        except httpx.HTTPError:
            return False

    def node(site):
        connection = load_connection(tmp_path / site)
        command = [FLOWER / "flower-supernode", "--superlink", connection.address, "--port", str(free_port())]
        command += ["--root-certificates", connection.certificate, "--auth-supernode-private-key", connection.key]
        return running(command, tmp_path / f"{site}.log", env)

    def says(site, text):
        return lambda: text in (tmp_path / f"{site}.log").read_text()

    with running(superlink, log, env) as process:
        wait_until(answers, process, log)
        nodes = SuperLinkNodes("hospitals")
        nodes.apply(places.registry)
        assert all(nodes.nodes.values())
        with node("hospital1") as first, node("hospital2") as second:
            wait_until(says("hospital1", "SuperNode ID"), first, tmp_path / "hospital1.log")
            wait_until(says("hospital2", "SuperNode ID"), second, tmp_path / "hospital2.log")
            provision(settings, places, Changes(revoke=["hospital2"]))
            nodes.apply(places.registry)
            assert [known.site for known in nodes.nodes] == ["hospital1"]
            second.wait(60)  # Flower ends it, with exit code 0
            assert first.poll() is None
        with node("hospital2") as second:
            assert second.wait(60) != 0
        assert says("hospital2", "Failed to activate SuperNode")()
        again = SuperLinkNodes("hospitals")
        again.apply(places.registry)
        assert list(again.nodes.values()) == [None]
