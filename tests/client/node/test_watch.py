"""What an operator reads of a node's events, and what is no event."""

import os
import subprocess
import sys

import pytest

from client.node.causes import SENTENCES, Cause
from client.node.events import VARIABLE, NodeEvent, node_event, to_supervisor
from client.node.watch import NodeWatch
from common.study.progress import Event


def heard(*events: tuple[str, str]) -> tuple[NodeWatch, list[str]]:
    told: list[str] = []
    watch = NodeWatch("fed.example.org:443", told.append)
    for event, text in events:
        watch(Event(event, {"text": text}).to_line())
    return watch, told


def test_connection_is_told_once() -> None:
    watch, told = heard(
        ("unreachable", "network"), ("unreachable", "network"), ("contact", ""), ("connected", ""), ("connected", "")
    )
    assert told == [
        "fed.example.org:443 cannot be reached; it is tried again until it can",
        "connected to fed.example.org:443",
    ]
    assert watch.connected
    assert watch.cause == ""


def test_the_cause_of_an_end_is_remembered_until_the_coordinator_answers() -> None:
    watch, told = heard(("failed", "expired"), ("trouble", "the main loop failed"))
    assert "has expired" in watch.cause
    assert told == []
    watch, _ = heard(("failed", "not_let_in"), ("connected", ""))
    assert watch.cause == ""
    watch, _ = heard(("trouble", "the disk is full"))
    assert watch.cause == "the disk is full"
    assert set(SENTENCES) == set(Cause)


def test_our_own_refusal_is_kept_and_a_refused_bundle_told() -> None:
    watch, told = heard(("bundle refused", "it is not approved"), ("refused", "port 18470 is taken\n\x1b[2J"))
    assert watch.refusal == "port 18470 is taken  [2J"
    assert told == ["bundle refused: it is not approved"]


@pytest.mark.parametrize(
    "line",
    [
        *("", "error: stopped", "[]", "1", "[" * 100_000, "\0"),
        *(f'{{"time": "2030-01-31T12:00:00+00:00", {rest}}}' for rest in ('"event": []', '"event": "else"')),
        *('{"event": "failed", "text": "expired"}', '{"time": 1, "event": "failed"}'),
        '{"time": "2030-01-31T12:00:00+00:00", "event": "failed", "text": 5}',
    ],
)
def test_what_is_no_event_is_left_out(line: str) -> None:
    told: list[str] = []
    watch = NodeWatch("a:1", told.append)
    watch(line)
    assert (told, watch.refusal, watch.cause) == ([], "", "")


def test_a_nodes_programs_do_not_inherit_the_way_to_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = os.pipe()
    os.set_inheritable(its, True)
    monkeypatch.setenv(VARIABLE, str(its))
    tell = to_supervisor()
    program = f"import os; os.write({its}, b'x')"
    for given in ({}, {"close_fds": False}):
        child = subprocess.run(  # type: ignore[call-overload]
            [sys.executable, "-c", program], stderr=subprocess.DEVNULL, check=False, **given
        )
        assert child.returncode != 0
    assert VARIABLE not in os.environ
    tell(node_event(NodeEvent.REFUSED, "no\n\x1b[2Jpäge" + 10_000 * "\U0001f600"))
    os.close(its)
    told: list[str] = []
    watch = NodeWatch("a:1", told.append)
    watch.listen(ours).join(10)
    assert watch.refusal.startswith("no  [2Jpäge")


def test_a_supervisor_that_does_not_listen_or_is_gone_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = os.pipe()
    monkeypatch.setenv(VARIABLE, str(its))
    tell = to_supervisor()
    for _ in range(1000):
        tell(node_event(NodeEvent.TROUBLE, 900 * "x"))
    os.close(ours)
    tell(node_event(NodeEvent.TROUBLE, "nobody"))
    os.close(its)
