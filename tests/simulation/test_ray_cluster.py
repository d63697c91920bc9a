"""A study on a Ray cluster of two machines, which are two Ray nodes on this one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tiny import TinyStudy

from simulation.run import run

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
ENVIRONMENT = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
STUDY = """
import json, sys, ray
from ray._private.state import actors
from simulation.run import run
folder = run(json.loads(sys.argv[1]))
if not ray.is_initialized():
    ray.init(address=sys.argv[2], log_to_driver=False)
used = [actor for actor in actors().values() if actor["ActorClassName"] == "ClientAppActor"]
nodes = sorted({actor["Address"]["NodeID"] for actor in used})
print(json.dumps([str(folder), nodes]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def node(log: Path, *options: str) -> Iterator[None]:
    """One machine of a cluster, with one processor; all its processes are gone afterwards."""
    command = [str(RAY), "start", "--block", "--num-cpus=1", "--object-store-memory=100000000", *options]
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=ENVIRONMENT, start_new_session=True
        )
        try:
            end = time.monotonic() + 60
            while "Ray runtime started" not in log.read_text():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_machines_train_the_weights_of_one(tiny_study: TinyStudy, tmp_path: Path) -> None:
    quick = ("study.arms=[real,blob]", "strategy=fedprox")
    here = run(tiny_study.with_output(tmp_path, *quick, "name=here"))
    address = f"127.0.0.1:{free_port()}"
    overrides = tiny_study.with_output(
        tmp_path, *quick, "name=there", "simulation.engine=ray", f"simulation.ray_address={address}"
    )
    with ExitStack() as cluster:
        # Unix sockets lie in there: the path must be short.
        sockets = cluster.enter_context(TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True))
        head = ("--head", f"--port={address.split(':')[1]}", "--include-dashboard=false", f"--temp-dir={sockets}")
        cluster.enter_context(node(tmp_path / "head.log", *head))
        cluster.enter_context(node(tmp_path / "second.log", f"--address={address}"))
        done = subprocess.run(
            [sys.executable, "-c", STUDY, json.dumps(overrides), address],
            env=ENVIRONMENT,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    there, nodes = json.loads(done.stdout.splitlines()[-1])
    assert len(nodes) == 2
    files = [file.relative_to(here) for file in sorted((here / "checkpoints").rglob("*.safetensors"))]
    assert len(files) >= 3
    assert [file for file in files if (here / file).read_bytes() != (Path(there) / file).read_bytes()] == []
