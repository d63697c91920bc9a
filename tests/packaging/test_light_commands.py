"""What is asked every minute, by people and by supervisors, costs next to nothing: no torch, no readers, no Flower."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from enrolment_service import federation, free_port

from client.audit.log import AuditFiles, AuditLog
from client.health.service import HealthService, identity
from client.site import load_site
from common.study.config import compose, to_yaml
from server.operation.studies import keep_study
from server.progress_log import ProgressLog
from server.provision.provision import Places, provision
from server.run_lock import alone_in

MOST_MEMORY = 100_000
"""kB that a command may take."""

HEAVY = (
    *("torch", "torchvision", "numpy", "scipy", "skimage", "sklearn", "monai", "matplotlib", "opacus", "safetensors"),
    *("pydicom", "highdicom", "nibabel", "SimpleITK", "PIL", "nilearn"),
    *("flwr", "ray", "hydra", "omegaconf", "starlette", "uvicorn", "jinja2"),
)

RUNNER = """
import atexit, json, re, sys
from pathlib import Path

def tell():
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    Path(sys.argv[1]).write_text(json.dumps({"modules": sorted(sys.modules), "peak": int(peak)}))

atexit.register(tell)
side, *words = sys.argv[2:]
from importlib import import_module
import_module(f"{side}.cli").main(words)
"""
"""Gives a command of ours in this process, and leaves what it imported and took; the system's own count of a child's
memory begins with that of the process that started it."""

COMMANDS = {
    "client status": (0, "record      1 entries, whole"),
    "client health": (3, "coordinator: it cannot be reached"),
    "client audit": (0, "The chain is whole"),
    "client budget": (2, "sets no privacy budget"),
    "server status": (0, "NOT served"),
    "server health": (3, "superlink  does not answer"),
    "server enrolments": (0, "hospital1"),
    "server stop": (2, "the server does not answer"),
}
"""Exit code and a piece of what is said. No server runs: what is asked of a running one is asked elsewhere."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A site whose node answers, and a federation of which a study is at work; the settings by side."""
    root = tmp_path_factory.mktemp("light")
    places = Places(root / "provision")
    made = federation(free_port(), serve={"superlink": free_port(), "enrolment": free_port()})
    (root / "federation.yaml").write_text(json.dumps(made.model_dump(mode="json")))
    provision(made, places)
    run = root / "runs" / "pilot"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(to_yaml(compose(["site=none", "preset=demo"])))
    (run / "results.json").write_text(json.dumps({"sites": {"hospital1": {"quarantined": 2}}}))
    ProgressLog(run).write("began", flower_run="7")
    keep_study(places, run, ("hospital1",), "7", datetime.now(UTC))

    port = free_port()
    site = root / "hospital1" / "site.yaml"
    site.parent.mkdir()
    site.write_text(
        f"name: hospital1\nreader: brats\norgan: brain\npath: data\nhealth_port: {port}\n"
        "allowed_actions: [query.hello, train.gan]\nhours: 20:00-06:00\n"
    )
    checks = {"data": lambda: None, "budget": lambda: None, "superlink": lambda: "it cannot be reached"}
    node = HealthService(checks, port, identity(load_site(site)))
    AuditLog(AuditFiles(site.parent / "audit.jsonl", root / ".hospital1-audit-head.json")).write("node started")
    node.start()
    with alone_in(run):
        yield {"client": site, "server": root / "federation.yaml"}
    node.stop()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_light_command_imports_nothing_heavy_and_takes_little_memory(
    command: str, settings: dict[str, Path], tmp_path: Path
) -> None:
    side, word = command.split()
    told = tmp_path / "told.json"
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, told, side, word, settings[side]],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    code, piece = COMMANDS[command]
    assert done.returncode == code, done.stderr
    assert piece in done.stdout + done.stderr
    took = json.loads(told.read_text())
    assert {module.partition(".")[0] for module in took["modules"]} & set(HEAVY) == set()
    assert took["peak"] < MOST_MEMORY
