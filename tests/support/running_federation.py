"""A federation on this machine as its people run it: by the commands of the documentation, over TLS, through nginx."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny import TINY, write_site

BIN = Path(sys.executable).parent
STUDY = (
    *(item for item in TINY if not item.startswith(("site", "simulation."))),
    "study.arms=[real]",
    "classifier.federation.rounds=1",
)
"""A study of a minute: a GAN in two rounds, and one arm."""

EVERYTHING = "ONCOFED_TEST_EVERYTHING"
"""Environment variable that turns a skip for a missing program into a failure, as the continuous integration sets."""


def need_nginx() -> None:
    """Skips a test where nginx is not installed."""
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        reason = "nginx is not installed"
        if os.environ.get(EVERYTHING):
            pytest.fail(reason)
        pytest.skip(reason)


def weights(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Every network that a run kept, by file and key."""
    files = sorted((run / "checkpoints").rglob("round-*.safetensors"))
    return {str(file.relative_to(run)): load_file(file) for file in files}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningFederation:
    """Folders, commands and processes of a federation; every process is ended by :meth:`end`."""

    def __init__(self, root: Path, sites: Sequence[str]) -> None:
        self.root = root
        self.sites = list(sites)
        self.file = root / "federation.yaml"
        self.ports = {name: free_port() for name in ("public", "superlink", "enrolment")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.write({})

    def write(self, more: dict[str, object]) -> None:
        settings = {
            "name": "tumours",
            "address": f"localhost:{self.ports['public']}",
            "sites": [{"name": site, "organ": "brain"} for site in self.sites],
            "serve": {key: self.ports[key] for key in ("superlink", "enrolment")},
            **more,
        }
        self.file.write_text(yaml.safe_dump(settings))

    def command(self, program: str, *arguments: object, code: int | None = 0, seconds: float = 300) -> str:
        """Runs one of our commands in the root; its output, after a look at its exit code."""
        done = subprocess.run(
            [BIN / f"oncofed-{program}", *map(str, arguments)],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout
        return done.stdout

    def start(self, name: str, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Starts a command that runs on; its output is :meth:`said` of ``name``."""
        with (self.root / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                [BIN / f"oncofed-{program}", *map(str, arguments)],
                cwd=self.root,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes[name] = process
        return process

    def start_server(self) -> None:
        self.start("server", "server", "start", self.file)
        self.wait_for("server", "is served at")

    def join(self, site: str) -> Path:
        """Brings a site in with its kit; returns its ``site.yaml``, which names its images."""
        self.command("client", "init", f"provision/kits/{site}.zip")
        file = self.root / site / "site.yaml"
        values = yaml.safe_load(file.read_text())
        values |= {"path": str(self.root / "data" / site), "threads": 1, "health_port": free_port()}
        # The study of a minute has four training patients and rounds of eight slices.
        values |= {"min_update_patients": 2, "min_update_slices": 2}
        file.write_text(yaml.safe_dump(values))
        if not (self.root / "data" / site).exists():
            write_site(self.root / "data" / site, 10, seed=self.sites.index(site) + 1)
        return file

    def reference(self) -> Path:
        folder = self.root / "reference"
        for number, part in enumerate(("pretraining", "selection", "final"), start=10):
            if not (folder / part).exists():
                write_site(folder / part, 4, seed=number)
        return folder

    def start_node(self, site: str) -> None:
        before = self.said(site).count("connected to")
        self.start(site, "client", "start", f"{site}/site.yaml")
        self.wait_until(lambda: self.said(site).count("connected to") > before, f"{site} connected")

    def said(self, name: str) -> str:
        file = self.root / f"{name}.out"
        return file.read_text(errors="replace") if file.exists() else ""

    def wait_for(self, name: str, pattern: str, seconds: float = 120) -> None:
        """Waits until the output of ``name`` matches a regular expression."""
        self.wait_until(lambda: re.search(pattern, self.said(name)) is not None, f"{name}: {pattern}", seconds)

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                outputs = {file.name: file.read_text(errors="replace")[-3000:] for file in self.root.glob("*.out")}
                raise AssertionError(f"in vain: {what}\n" + "\n".join(f"== {n}\n{text}" for n, text in outputs.items()))
            time.sleep(0.2)

    def events(self, run: str) -> list[dict[str, object]]:
        """What the study has told of its progress."""
        file = self.root / "runs" / run / "progress.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(60)

    def below(self, name: str, words: str) -> list[psutil.Process]:
        """Processes that ``name`` started, directly or not, by a part of their command line."""
        found = psutil.Process(self.processes[name].pid).children(recursive=True)
        named = []
        for process in found:
            with contextlib.suppress(psutil.Error):
                if words in " ".join(process.cmdline()):
                    named.append(process)
        return named

    def environment(self) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "PATH": os.defpath, "PYTHONUNBUFFERED": "1"}

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
