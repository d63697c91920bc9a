"""A real node under its supervisor, before a coordinator that fails, hangs, is gone, or chooses its words with care."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from coordinator import HANGS, coordinator
from enrolment_service import free_port
from fleet import ACTIVATE, BROKEN, GONE, HEARTBEAT, PULL, ROOT, Started, joined_site, message, processes_of, well

from client.node.status import status

pytestmark = [pytest.mark.slow]

HOSTILE = "1\nerror: stopped for good\n\x1b[2J"


def test_what_a_coordinator_writes_is_never_taken_for_the_nodes_own_words(tmp_path: Path) -> None:
    port = free_port()
    site = joined_site(tmp_path, port)
    answers = {**well(), PULL: message(HOSTILE)}
    with coordinator(tmp_path / "tls", port, answers=answers) as known, Started(site) as started:
        started.wait_until(lambda: "POST /v1/fleet/get-run" in known.asked)
        first = known.asked.count(f"POST {ACTIVATE}")
        for node in started.nodes():
            node.kill()
        started.wait_until(lambda: known.asked.count(f"POST {ACTIVATE}") > first or started.process.poll() is not None)
        assert started.process.poll() is None, started.said
    assert "stopped for good" not in started.said
    log = (site.parent / "node.log").read_text()
    assert "RUN 7" in log
    assert "\x1b" not in log
    assert all(line[19:24] == " UTC " for line in log.splitlines())
    assert all(line[19:24] == " UTC " for line in started.said.splitlines())


def test_a_node_whose_main_loop_fails_ends_and_is_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    site = joined_site(tmp_path, port)
    answers = {**well(), PULL: GONE}
    with coordinator(tmp_path / "tls", port, answers=answers) as known, Started(site) as started:
        started.wait_until(lambda: known.asked.count(f"POST {ACTIVATE}") >= 2)
        assert "the node ended: the coordinator's server gave an answer that a node does not understand" in started.said
        ended = json.loads((site.parent / "start.json").read_text())
        assert ended["ended"].endswith(" UTC")
        started.wait_until(lambda: not started.nodes())
        status(site)
        assert "started again and again; it ended last at 20" in capsys.readouterr().out
    assert processes_of(site) == []


def test_a_server_in_trouble_for_a_moment_costs_a_node_nothing(tmp_path: Path) -> None:
    port = free_port()
    site = joined_site(tmp_path, port)
    answers = well()
    with coordinator(tmp_path / "tls", port, answers=answers) as known, Started(site) as started:
        started.wait_until(lambda: f"POST {PULL}" in known.asked)
        answers[PULL] = answers[HEARTBEAT] = BROKEN
        started.wait_until(
            lambda: "cannot be reached; it is tried again until it can (the coordinator's" in started.said
        )
        answers.update(well())
        started.wait_until(lambda: started.said.count("connected to") == 2)
        assert known.asked.count(f"POST {ACTIVATE}") == 1
        assert "ended" not in started.said
        assert started.process.send_signal(signal.SIGTERM) is None
        assert started.process.wait(40) == 0
    assert processes_of(site) == []


@pytest.mark.parametrize("what", ["hangs", "owns no such node"])
def test_a_node_that_lost_its_coordinator_is_started_again(tmp_path: Path, what: str) -> None:
    port = free_port()
    site = joined_site(tmp_path, port)
    answers = well()
    with (
        coordinator(tmp_path / "tls", port, answers=answers) as known,
        Started(site, patience=28 if what == "hangs" else None) as started,
    ):
        started.wait_until(lambda: f"POST {HEARTBEAT}" in known.asked)
        # What is asked meanwhile is answered: it is the heartbeat by which a coordinator knows its nodes.
        answers[HEARTBEAT] = HANGS if what == "hangs" else GONE
        if what != "hangs":
            started.wait_until(lambda: known.asked.count(f"POST {HEARTBEAT}") >= 2)
        else:
            started.wait_until(
                lambda: "the node ended: it had no contact with the coordinator for 28 s" in started.said
            )
        answers.update(well())
        started.wait_until(lambda: known.asked.count(f"POST {ACTIVATE}") >= 2)
    assert processes_of(site) == []


def test_a_node_that_nobody_answers_tries_on_and_says_so_once(tmp_path: Path) -> None:
    port = free_port()
    site = joined_site(tmp_path, port)
    with Started(site, patience=10) as started:
        started.wait_until(lambda: "cannot be reached; it is tried again until it can" in started.said)
        first = started.nodes()
        log = site.parent / "node.log"
        started.wait_until(lambda: log.read_text().count("retrying in") >= 4)
        with coordinator(tmp_path / "tls", port, answers=well()):
            started.wait_until(lambda: f"connected to localhost:{port}" in started.said)
        assert started.nodes() == first
        assert started.said.count("cannot be reached") == 1


@pytest.mark.parametrize("answer", [BROKEN, GONE, HANGS])
def test_the_guarded_node_alone_ends_with_all_that_it_started(tmp_path: Path, answer: tuple[int, str, bytes]) -> None:
    """Without a supervisor: a main loop that failed, and a stop while an answer is waited for."""
    port = free_port()
    site = joined_site(tmp_path, port)
    answers = {**well(), PULL: answer}
    program = "import sys; from client.node import contact; contact.PATIENCE = 2; "
    program += "from client.approval.guarded_node import main; main(sys.argv[1:])"
    folder = site.parent
    with coordinator(tmp_path / "tls", port, answers=answers) as known:
        node = subprocess.Popen(
            [
                *(sys.executable, "-c", program, str(site), "--superlink", f"localhost:{port}"),
                *("--root-certificates", str(folder / "ca.crt"), "--port", str(free_port())),
                *("--auth-supernode-private-key", str(folder / "keys" / "node")),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            if answer == HANGS:
                end = time.monotonic() + 60
                while f"POST {PULL}" not in known.asked or not processes_of(site):
                    assert time.monotonic() < end
                    time.sleep(0.1)
                node.terminate()
                assert node.wait(60) == 0
            else:
                assert node.wait(60) == 1
        finally:
            node.kill()
    # The program that starts studies looks for its parent five times a second.
    end = time.monotonic() + 10
    while processes_of(site) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes_of(site) == []
