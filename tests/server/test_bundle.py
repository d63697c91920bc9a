"""The app bundle through a real SuperLink and a real SuperNode on loopback."""

import json
import os
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

from client.site import SiteSettings, save_site
from common.results.study import Results
from common.system.bundle import PACKAGES, stage_bundle

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(arguments: list[str], home: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Flower process with a home of its own; it and its children are gone afterwards."""
    environment = {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    with log.open("wb") as output:
        running = subprocess.Popen(
            [str(BIN / arguments[0]), *arguments[1:]],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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


def wait_for_port(port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on port {port}")


def test_the_bundle_holds_the_release_and_nothing_else(tmp_path: Path) -> None:
    folder = stage_bundle(tmp_path / "app")
    assert {path.name for path in folder.iterdir()} == {*PACKAGES, "pyproject.toml"}
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} == {".py", ".yaml", ".toml"}
    assert (folder / "configs" / "preset" / "demo.yaml").is_file()


def test_the_bundle_builds_to_the_same_bytes_twice(tmp_path: Path) -> None:
    bundles = []
    for name in ("first", "second"):
        stage_bundle(tmp_path / name / "app")
        subprocess.run(
            [str(BIN / "flwr"), "build", "--app", "app"],
            cwd=tmp_path / name,
            env={**os.environ, "FLWR_HOME": str(tmp_path / name / "home")},
            check=True,
            capture_output=True,
        )
        bundles.append(next((tmp_path / name).glob("*.fab")).read_bytes())
    assert bundles[0] == bundles[1]
    assert len(bundles[0]) < 10_000_000


@pytest.mark.slow
def test_a_study_runs_through_a_superlink_and_a_supernode(tmp_path: Path) -> None:
    data = write_site(tmp_path / "data", 10, seed=1)
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(tmp_path / "reference" / part, 4, seed=number)
    home = tmp_path / "hospital1"
    settings = SiteSettings(
        name="hospital1", reader="brats", organ="brain", path=data, folder=home, cache_dir=home / "cache", threads=1
    )
    save_site(settings, home / "site.yaml")
    key = joined(home, "hospital1")
    overrides = [
        *(item for item in TINY if not item.startswith("site.")),
        f"reference.brain.path={tmp_path / 'reference'}",
        f"simulation.cache_dir={tmp_path / 'cache'}",
        "strategy.quorum=1",
        "study.arms=[real]",
        "federation.rounds=1",
        "classifier.federation.rounds=1",
    ]
    run_dir = tmp_path / "runs" / "bundle"
    # A TOML string in JSON's notation: the overrides themselves are a JSON list inside it.
    (tmp_path / "run.toml").write_text(
        f"overrides = {json.dumps(json.dumps(overrides))}\noutput = {json.dumps(str(run_dir))}\nsites = 1\n"
        f"question-key = {json.dumps(str(key))}\n"
    )
    port, node_port = free_port(), free_port()
    for name in ("link", "node"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        )
    app = stage_bundle(tmp_path / "app")
    link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(node_port)]
    with ExitStack() as stack:
        stack.enter_context(
            process([*link, "--disable-runtime-dependency-installation"], tmp_path / "link", tmp_path / "link.log")
        )
        wait_for_port(port, 60)
        node_config = f"site-config='{home / 'site.yaml'}'"
        stack.enter_context(process([*node, "--node-config", node_config], tmp_path / "node", tmp_path / "node.log"))
        submit = ["flwr", "run", str(app), "here", "--stream", "--run-config", str(tmp_path / "run.toml")]
        running = stack.enter_context(process(submit, tmp_path / "link", tmp_path / "run.log"))
        finished = run_dir / "results.json"
        end = time.monotonic() + 270
        while time.monotonic() < end and not (finished.exists() and '"finished": "' in finished.read_text()):
            assert running.poll() in (None, 0), (tmp_path / "run.log").read_text()
            time.sleep(0.5)
    results = Results.model_validate_json(finished.read_text())
    assert results.run.finished is not None, (tmp_path / "run.log").read_text()
    assert results.gans["cgan"].rounds[0].contributors == ["hospital1"]
    assert results.arms["hospital1"]["real"]["accuracy"].value is not None
    assert results.sites["hospital1"].patients is None
