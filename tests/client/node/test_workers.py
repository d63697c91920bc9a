"""Messages are worked on by processes that need not import everything anew, each with its bundle's own code."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from coordinator import coordinator
from enrolment_service import free_port
from fleet import PUSH, ROOT, Started, Study, joined_site, processes_of
from flwr.cli.build import build_fab_from_disk

from client.approval.allow_list import approve_bundle
from client.audit.log import read_audit
from client.node import warm
from client.site import load_site
from common.system.bundle import PACKAGES, stage_bundle

SEEN = """
import sys
with open({mark!r}, "a") as mark:
    print("warm" if "torch" in sys.modules else "cold", sys.modules["client"].__file__, file=mark)
"""


@pytest.mark.slow
def test_each_message_runs_its_bundles_own_code_warm_or_cold(tmp_path: Path) -> None:
    """The bundle is one that the hospital has approved and that differs from the installed release."""
    mark = tmp_path / "mark"
    app = stage_bundle(tmp_path / "app")
    (app / "client" / "app.py").write_text(SEEN.format(mark=str(mark)) + (app / "client" / "app.py").read_text())
    bundle = build_fab_from_disk(app)
    port = free_port()
    site = joined_site(tmp_path, port)
    settings = load_site(site)
    approve_bundle(settings, hashlib.sha256(bundle).hexdigest(), {}, reviewed=True)
    study = Study(bundle)

    def server() -> list[psutil.Process]:
        return [one for one in processes_of(site) if "serve" in one.cmdline()]

    def answered(count: int) -> bool:
        return known.asked.count(f"POST {PUSH}") == count

    with coordinator(tmp_path / "tls", port, answers=study.answers) as known, Started(site) as started:
        for number in (1, 2):
            study.send()
            started.wait_until(lambda number=number: answered(number), 200)
        for one in server():
            one.kill()
        study.send()
        started.wait_until(lambda: answered(3), 200)
        for node in started.nodes():
            node.kill()
        started.wait_until(lambda: started.said.count("connected to") == 2)
        started.wait_until(lambda: len(server()) == 1)
    own = site.parent / "flower" / "apps"
    ways, files = zip(*(line.split() for line in mark.read_text().splitlines()), strict=True)
    assert ways == ("warm", "warm", "cold")
    assert all(Path(file).is_relative_to(own) for file in files)
    events = [entry["event"] for entry in read_audit(settings.audit_files())[0]]
    assert events.count("asked") == events.count("refused") == 3
    assert started.said.count("asked: query.hello") == started.said.count("refused: query.hello, ") == 3
    assert processes_of(site) == []


def test_without_a_server_the_program_runs_as_it_would(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", warm.__file__, "ask", tmp_path, "/bin/echo", "--token", "a b"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "--token a b\n"


def test_what_is_imported_beforehand_is_all_that_a_message_needs_of_others_and_nothing_of_ours(tmp_path: Path) -> None:
    program = f"""
import importlib.util, json, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("warm", {warm.__file__!r})
warm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(warm)
packages = {list(PACKAGES)!r}
warm._import(Path({str(ROOT)!r}), packages)
safe, before = warm._unsafe(packages) is None, set(sys.modules)
import client.app
print(json.dumps([safe, sorted(set(sys.modules) - before), warm._unsafe(packages)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    safe, imported, problem = json.loads(done.stdout.splitlines()[-1])
    assert safe
    assert {name.split(".")[0] for name in imported} <= set(PACKAGES)
    assert "would stand in for a bundle's own" in problem
