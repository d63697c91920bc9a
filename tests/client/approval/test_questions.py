"""A joined site acts on its coordinator's own questions: none that others sent, changed, kept back or sent again."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from signed_hospital import SignedHospital

from client.approval.questions import LONGEST_WAY
from client.enrolment.clock import MOST_BEHIND
from client.enrolment.connection import load_connection, save_connection
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, SiteHello, read_result
from common.protocol.signed_questions import SIGNATURE
from server.signing import SigningGrid
from simulation.grid import FIRST_NODE

Change = Callable[[SignedHospital, Message], object]


@pytest.fixture
def site(tmp_path: Path) -> SignedHospital:
    return SignedHospital(tmp_path)


def refused(site: SignedHospital, message: Message, reason: str) -> None:
    """The message is answered with ``reason`` and nothing else, was not worked on, and is in the record."""
    before = len(site.entries())
    reply = site.send(message)
    assert reply.has_error()
    assert reply.error.reason.startswith("hospital1: ")
    assert reason in reply.error.reason
    asked, answer = site.entries()[before:]
    assert (asked["event"], answer["event"]) == ("asked", "refused")
    assert answer["reason"] in reply.error.reason
    assert not (site.settings.folder / "runs").exists()


def test_a_question_of_the_coordinator_is_answered(site: SignedHospital) -> None:
    reply = site.send(site.signed(site.question()))
    assert read_result(reply.content, SiteHello).site == "hospital1"
    assert set(reply.content) == {CONFIG}


def test_another_hospitals_message_is_not_acted_on(site: SignedHospital) -> None:
    """As one hospital sends it to another through the coordinator's server, saying that it is node 1."""
    forged = site.question(Action.SITE_MODEL)
    assert forged.metadata.src_node_id == 1
    refused(site, forged, "does not carry its coordinator's signature")


def test_a_signature_by_another_key_is_none(site: SignedHospital) -> None:
    other = SigningGrid(site.grid, Ed25519PrivateKey.generate())
    refused(site, other._signed(site.question()), "was not signed by its coordinator")


def arrays(value: float = 1.0) -> ArrayRecord:
    return ArrayRecord({"g.a": Array(np.full((2, 3), value, np.float32)), "g.b": Array(np.zeros(3, np.float32))})


def whole(site: SignedHospital) -> Message:
    content = site.question().content
    content[ARRAYS] = arrays()
    content["numbers"] = MetricRecord({"x": 1.0, "y": [1, 2]})
    content["more"] = ConfigRecord({"text": "a", "bytes": b"a", "flag": True, "list": ["a", "b"]})
    return site.question(content=content)


def swap_arrays(record: ArrayRecord) -> None:
    record["g.a"], record["g.b"] = record["g.b"], record["g.a"]


CHANGES: dict[str, Change] = {
    "a number in an array": lambda _, m: m.content.__setitem__(ARRAYS, arrays(2.0)),
    "an array's name": lambda _, m: m.content[ARRAYS].__setitem__("g.c", m.content[ARRAYS].pop("g.b")),
    "two arrays": lambda _, m: swap_arrays(m.content[ARRAYS]),
    "an array's shape": lambda _, m: setattr(m.content[ARRAYS]["g.a"], "shape", (3, 2)),
    "an array's type": lambda _, m: setattr(m.content[ARRAYS]["g.a"], "dtype", "int32"),
    "an array's form": lambda _, m: setattr(m.content[ARRAYS]["g.a"], "stype", "other"),
    "an array less": lambda _, m: m.content[ARRAYS].pop("g.b"),
    "a record less": lambda _, m: m.content.pop("numbers"),
    "a record more": lambda _, m: m.content.__setitem__("images", arrays()),
    "a record's name": lambda _, m: m.content.__setitem__("other", m.content.pop("more")),
    "a figure": lambda _, m: m.content["numbers"].__setitem__("x", 1.0000001),
    "a figure's kind": lambda _, m: m.content["numbers"].__setitem__("x", 1),
    "a list": lambda _, m: m.content["more"].__setitem__("list", ["b", "a"]),
    "a text for bytes": lambda _, m: m.content["more"].__setitem__("bytes", "61"),
    "a number for a flag": lambda _, m: m.content["more"].__setitem__("flag", 1),
    "the instruction": lambda _, m: m.content[CONFIG].__setitem__("phase", "other"),
    "the study": lambda _, m: m.content[CONFIG].__setitem__("experiment", m.content[CONFIG]["experiment"] + "\n"),
    "a key of the instruction": lambda _, m: m.content[CONFIG].__setitem__("proximal-mu", 5.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_on_the_way_is_noticed(site: SignedHospital, name: str) -> None:
    message = site.signed(whole(site))
    CHANGES[name](site, message)
    refused(site, message, "holds something else than what was signed")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("action", lambda m: setattr(m.metadata, "message_type", Action.PRIVACY)),
        ("group", lambda m: m.metadata.__dict__.__setitem__("_group_id", "7")),
    ],
)
def test_a_signature_counts_for_its_own_question(
    site: SignedHospital, what: str, change: Callable[[Message], object]
) -> None:
    message = site.signed(site.question())
    change(message)
    refused(site, message, f"signed for another {what}")


def test_a_question_to_another_site_or_of_another_run_is_not_acted_on(site: SignedHospital) -> None:
    """Another hospital sends on what it was asked itself."""
    theirs = Message(site.question().content, dst_node_id=FIRST_NODE + 1, message_type="query.hello")
    signed = site.signed(theirs)
    refused(site, site.question(content=signed.content), "signed for another node")
    earlier = site.question()
    earlier.metadata.__dict__["_run_id"] = 2
    kept = site.coordinator._signed(earlier)
    refused(site, site.question(content=kept.content), "signed for another node or run")


def test_a_question_is_worked_on_once(site: SignedHospital) -> None:
    message = site.signed(site.question())
    copy = site.question(content=RecordDict(dict(message.content)))
    assert not site.send(message).has_error()
    before = len(site.entries())
    assert "the question is a copy" in site.send(copy).error.reason
    assert [entry["event"] for entry in site.entries()[before:]] == ["asked", "refused"]
    # What the coordinator sends again after a crash is signed anew.
    assert not site.send(site.signed(site.question())).has_error()


def test_a_question_that_was_kept_back_or_is_of_another_time_is_refused(site: SignedHospital) -> None:
    now, longest = time.time(), LONGEST_WAY.total_seconds()
    refused(site, site.signed(site.question(), now - longest - 60), "signed too long ago")
    refused(site, site.signed(site.question(), now + MOST_BEHIND.total_seconds() + 60), "signed in the future")
    for clock in (now - longest + 60, now + MOST_BEHIND.total_seconds() - 60):
        assert not site.send(site.signed(site.question(), clock)).has_error()


@pytest.mark.parametrize("questions", [None, "gone"])
def test_a_site_without_the_key_answers_nothing_and_says_what_helps(
    site: SignedHospital, questions: str | None
) -> None:
    if questions is None:
        connection = load_connection(site.file.parent)
        save_connection(connection.model_copy(update={"questions": None}), site.file.parent)
    else:
        (site.file.parent / "connection.yaml").unlink()
    refused(site, site.signed(site.question()), "its hospital must join again, with a new kit")
    log = (site.settings.folder / "log.jsonl").read_text()
    assert ("--renew hospital1" in log and "--new-key" in log) or "join first" in log


@pytest.mark.parametrize(
    "record",
    [
        ConfigRecord({}),
        ConfigRecord({"statement": "{}", "signature": "text"}),
        ConfigRecord({"statement": b"{}", "signature": b"s" * 64}),
        ConfigRecord({"statement": "x" * 100_000, "signature": b""}),
        MetricRecord({"signature": 1.0}),
        arrays(),
    ],
)
def test_what_only_looks_like_a_signature_is_none(
    site: SignedHospital, record: ConfigRecord | MetricRecord | ArrayRecord
) -> None:
    content = site.question().content
    content[SIGNATURE] = record
    refused(site, site.question(content=content), "its coordinator")


def test_numbers_that_cannot_be_noted_stop_the_work(site: SignedHospital) -> None:
    (site.settings.folder / "questions-seen.txt").mkdir()
    reply = site.send(site.signed(site.question()))
    assert reply.error.reason == "hospital1: it failed; its own log says why"
    assert [entry["event"] for entry in site.entries()] == ["asked", "failed"]
