"""A real study of simulated sites with its live page, as the command runs it."""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from live_study import words
from tiny import TinyStudy

from common.errors import ConfigError
from simulation.overrides import RunOverrides

SHORT = ("federation.rounds=3", "classifier.federation.rounds=1", "study.arms=[real]")


def sections(address: str) -> Iterator[dict[str, str]]:
    """The page's sections at each event until the end is said."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)
    connection.request("GET", f"{parts.path}events")
    answer = connection.getresponse()
    while line := answer.readline().decode():
        if line.startswith("event: end"):
            return
        if line.startswith("data: "):
            yield {one["anchor"]: one["html"] for one in json.loads(line.removeprefix("data: "))}
    raise AssertionError("the connection ended without a word")


def test_a_study_is_seen_round_by_round_until_it_ends_and_is_seen_afterwards(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "simulation.cli", "run", *tiny_study.with_output(tmp_path, "name=seen", *SHORT)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    told: list[dict[str, str]] = []
    with subprocess.Popen(
        [*command, "dashboard=true"], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = next(found[1] for line in process.stdout if (found := re.match(r"dashboard: (\S+)$", line)))
        told.extend(sections(address))
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert words(told[0]["now"]) == "Now Not begun yet"
    rounds = [
        int(found[1]) for one in told if (found := re.search(r"(\d) of 3 rounds<", one.get("training-gan-cgan", "")))
    ]
    assert rounds == sorted(rounds)
    assert len(set(rounds)) > 1
    assert rounds[-1] == 3
    last = {anchor: words(html) for anchor, html in told[-1].items()}
    assert last["now"].startswith("Now Finished")
    assert "under report" in last["now"]
    assert list(last) == ["now", "sites", "training-classifier-real", "training-gan-cgan", "phases"]
    assert re.search(r"hospital1 – \d\d:\d\d:\d\d UTC yes brain: training and evaluation", last["sites"])
    assert "was chosen on the selection part" in last["training-gan-cgan"]
    assert 'aria-label="adversarial.' in told[-1]["training-gan-cgan"]
    everything = json.dumps(told)
    assert "case-" not in everything
    assert str(tmp_path) not in everything
    assert str(tiny_study.root) not in everything


def test_the_switch_is_none_of_the_studys_keys() -> None:
    given = RunOverrides.parse(["seed=2", "dashboard=true", "resume=runs/a", "resume=runs/b"])
    assert given == RunOverrides(["seed=2"], Path("runs/b"), True)
    assert not RunOverrides.parse(["dashboard=false"]).dashboard
    with pytest.raises(ConfigError, match='dashboard="maybe": is true or false'):
        RunOverrides.parse(["dashboard=maybe"])
