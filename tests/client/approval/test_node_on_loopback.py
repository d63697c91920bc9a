"""The launcher itself: a real SuperLink sends one bundle that is not approved, then the release."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from joining import joined
from tiny import TINY, write_site

from client.audit.log import read_audit
from client.health.service import ask_health
from client.site import SiteSettings, load_site, save_site
from common.system import bundle as module
from common.system.bundle import stage_bundle

BIN = Path(sys.executable).parent
ROOT = Path(module.__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], home: Path, log: Path, path: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process with a Flower home of its own; it and its children are gone afterwards."""
    environment = {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": path or os.environ["PATH"],
    }
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, 15)
                try:
                    running.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, 9)


@pytest.mark.slow
def test_a_node_refuses_an_unapproved_bundle_and_runs_the_release(tmp_path: Path) -> None:
    home = tmp_path / "north"
    settings = SiteSettings(
        name="north",
        reader="brats",
        organ="brain",
        path=write_site(tmp_path / "data", 10, seed=1),
        folder=home,
        cache_dir=home / "cache",
        threads=1,
        health_port=free_port(),
    )
    site = home / "site.yaml"
    save_site(settings, site)
    key = joined(home, "north")
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(tmp_path / "reference" / part, 4, seed=number)
    overrides = [
        *(item for item in TINY if not item.startswith("site.")),
        f"reference.brain.path={tmp_path / 'reference'}",
        f"simulation.cache_dir={tmp_path / 'cache'}",
        "strategy.quorum=1",
    ]
    (tmp_path / "run.toml").write_text(
        f"overrides = {json.dumps(json.dumps(overrides))}\noutput = {json.dumps(str(tmp_path / 'run'))}\nsites = 1\n"
        f"question-key = {json.dumps(str(key))}\n"
    )
    port, node_port = free_port(), free_port()
    link_home = tmp_path / "link"
    link_home.mkdir()
    (link_home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    changed = stage_bundle(tmp_path / "changed")
    mark = tmp_path / "ran"
    (changed / "client" / "app.py").write_text(f"open({str(mark)!r}, 'w')\n" + (ROOT / "client/app.py").read_text())
    link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    node = [sys.executable, "-m", "client.approval.guarded_node", str(site), "--insecure"]
    node += ["--superlink", f"127.0.0.1:{port}", "--port", str(node_port)]

    with_ours = f"{BIN}{os.pathsep}{os.environ['PATH']}"

    def events() -> list[str]:
        return [str(entry["event"]) for entry in read_audit(load_site(site).audit_files())[0]]

    def wait_for(event: str) -> None:
        end = time.monotonic() + 150
        while event not in events():
            assert time.monotonic() < end, (tmp_path / "node.log").read_text()[-4000:]
            time.sleep(0.5)

    with ExitStack() as stack:
        stack.enter_context(
            process([*link, "--disable-runtime-dependency-installation"], link_home, tmp_path / "link.log", with_ours)
        )
        stack.enter_context(process(node, tmp_path / "unused", tmp_path / "node.log", os.defpath))
        wait_for("node started")
        submit = ["flwr", "run", str(changed), "here", "--run-config", str(tmp_path / "run.toml")]
        stack.enter_context(process(submit, link_home, tmp_path / "first.log", with_ours))
        wait_for("bundle refused")
        assert not (home / "flower" / "apps").exists()
        assert ask_health(settings.health_port, "superlink") is None
        assert ask_health(settings.health_port, "data") is None
        # Only then the release: the SuperLink starts one ServerApp after another.
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        submit[2] = str(stage_bundle(tmp_path / "release"))
        stack.enter_context(process(submit, link_home, tmp_path / "second.log", with_ours))
        wait_for("answered")
    assert "bundle accepted" in events()
    assert "asked" not in events()[: events().index("bundle accepted")]
    assert (home / "flower" / "apps").exists()
    assert not mark.exists()
