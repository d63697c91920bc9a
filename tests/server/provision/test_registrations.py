"""The SuperLink is told which keys may connect, by the command line that Flower has for it."""

import json
from pathlib import Path

import pytest
from enrolment_service import federation

from common.enrolment import EnrolmentRequest
from common.errors import StudyError
from common.node_keys import new_key, public_line
from server.provision.enrolling import enrol
from server.provision.provision import Changes, Places, provision
from server.provision.registrations import Finished, Registration, SuperLinkNodes, registrations
from server.provision.registry import utc_now

SETTINGS = federation(8443)


class Flower:
    """Stands in for the ``flwr`` command: keeps the calls, and what stood in each key file."""

    def __init__(self, *answers: Finished) -> None:
        self.calls: list[list[str]] = []
        self.keys: list[str] = []
        self.answers = list(answers)

    def __call__(self, arguments):
        self.calls.append(list(arguments))
        if arguments[1] == "register":
            self.keys.append(Path(arguments[2]).read_text().strip())
        if self.answers:
            return self.answers.pop(0)
        return Finished(0, json.dumps({"success": True, "node-id": 100 + len(self.calls)}, indent=4) + "\n")


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path / "provision")
    provision(SETTINGS, places)
    return places


def join(places, site):
    """Enrols a site with a token made for the purpose; returns its key."""
    with places.registry.edit() as registry:
        token = registry.invite(site, "brain", 1, utc_now())
    key = public_line(new_key())
    enrol(places.registry, EnrolmentRequest(site=site, token=token, public_key=key), utc_now())
    return key


def test_only_enrolled_sites_are_registered(places):
    assert registrations(places.registry.read()) == []
    key = join(places, "hospital2")
    assert registrations(places.registry.read()) == [Registration("hospital2", key)]
    provision(SETTINGS, places, Changes(revoke=["hospital2"]))
    assert registrations(places.registry.read()) == []


def test_every_key_is_registered_once_and_again_with_a_new_superlink(places):
    keys = [join(places, site) for site in ("hospital1", "hospital2")]
    flower = Flower()
    nodes = SuperLinkNodes("hospitals", flower)
    nodes.apply(places.registry)
    nodes.apply(places.registry)
    assert flower.keys == keys
    first = flower.calls[0]
    assert [*first[:2], *first[3:]] == ["supernode", "register", "hospitals", "--name", "hospital1", "--format", "json"]
    again = Flower()
    SuperLinkNodes("hospitals", again).apply(places.registry)
    assert again.keys == keys


def test_a_revoked_key_is_taken_away_and_no_other(places):
    join(places, "hospital1")
    join(places, "hospital2")
    flower = Flower()
    nodes = SuperLinkNodes("hospitals", flower)
    nodes.apply(places.registry)
    provision(SETTINGS, places, Changes(revoke=["hospital2"]))
    nodes.apply(places.registry)
    assert flower.calls[2:] == [["supernode", "unregister", "102", "hospitals", "--format", "json"]]


def test_a_replaced_key_goes_before_the_new_one_comes(places):
    join(places, "hospital1")
    flower = Flower()
    nodes = SuperLinkNodes("hospitals", flower)
    nodes.apply(places.registry)
    new = join(places, "hospital1")
    nodes.apply(places.registry)
    assert [call[1] for call in flower.calls] == ["register", "unregister", "register"]
    assert flower.keys[-1] == new


@pytest.mark.parametrize(
    "answer",
    [
        Finished(1, "connection refused"),
        Finished(0, '{"success": false, "error-message": "no such federation"}'),
        Finished(0, "registered, probably"),
    ],
)
def test_a_refusal_of_flower_is_told_and_tried_again(places, answer):
    key = join(places, "hospital1")
    flower = Flower(answer)
    nodes = SuperLinkNodes("hospitals", flower)
    with pytest.raises(StudyError, match="hospital1: could not be registered"):
        nodes.apply(places.registry)
    nodes.apply(places.registry)
    assert flower.keys == [key, key]


def test_a_key_that_the_superlink_had_before_counts_as_registered(places):
    join(places, "hospital1")
    flower = Flower(Finished(1, '{"success": false, "error-message": "Public key already in use"}'))
    nodes = SuperLinkNodes("hospitals", flower)
    nodes.apply(places.registry)
    nodes.apply(places.registry)
    assert len(flower.calls) == 1
    provision(SETTINGS, places, Changes(revoke=["hospital1"]))
    with pytest.raises(StudyError, match="restart the SuperLink"):
        nodes.apply(places.registry)
