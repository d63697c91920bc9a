"""Which keys may connect: from the list of sites to Flower's own state."""

import os

import pytest
from enrolment_service import federation
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager

from common.protocol.enrolment import EnrolmentRequest
from common.protocol.node_keys import new_key, public_line
from common.system.files import read_table
from server.operation.guarded_superlink import Nodes
from server.provision.enrolling import enrol
from server.provision.provision import Changes, Places, provision
from server.provision.registrations import Registration, registrations
from server.provision.registry import utc_now

SETTINGS = federation(8443)


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path / "provision")
    provision(SETTINGS, places)
    return places


@pytest.fixture
def state():
    return LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory()).state()


def join(places, site):
    """Enrols a site with a token made for the purpose; returns its key."""
    with places.registry.edit() as registry:
        token = registry.invite(site, "brain", 1, utc_now())
    key = public_line(new_key())
    enrol(places.registry, EnrolmentRequest(site=site, token=token, public_key=key), utc_now())
    return key


def applied(nodes, places, state):
    # The clock of a file system may be too coarse for two changes in one test.
    times = places.registry.path.stat()
    os.utime(places.registry.path, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000))
    assert nodes.apply(state)
    return {node.name: node.status for node in state.get_node_info()}


def test_only_enrolled_sites_are_registered(places):
    assert registrations(places.registry.read()) == []
    key = join(places, "hospital2")
    assert registrations(places.registry.read()) == [Registration("hospital2", key)]
    provision(SETTINGS, places, Changes(revoke=["hospital2"]))
    assert registrations(places.registry.read()) == []


def test_who_joins_is_let_in_and_who_is_revoked_is_out_connected_or_not(places, state, tmp_path):
    nodes = Nodes(places.registry, tmp_path / "nodes.json")
    assert applied(nodes, places, state) == {}
    assert not nodes.apply(state)
    join(places, "hospital1")
    join(places, "hospital2")
    assert applied(nodes, places, state) == {"hospital1": "registered", "hospital2": "registered"}
    numbers = {one.site: number for one, number in nodes.numbers.items()}
    assert read_table(tmp_path / "nodes.json") == {site: str(number) for site, number in numbers.items()}
    assert state.activate_node(numbers["hospital1"], 30)
    assert nodes.seen(state)["hospital1"]["connected"] is True
    assert nodes.seen(state)["hospital2"] == {"connected": False, "since": None}
    provision(SETTINGS, places, Changes(revoke=["hospital1", "hospital2"]))
    assert applied(nodes, places, state) == {"hospital1": "unregistered", "hospital2": "unregistered"}
    assert nodes.seen(state) == {}
    with pytest.raises(KeyError):
        nodes.site_of(numbers["hospital1"])


def test_a_new_key_takes_the_old_ones_place(places, state, tmp_path):
    nodes = Nodes(places.registry, tmp_path / "nodes.json")
    join(places, "hospital1")
    applied(nodes, places, state)
    (old,) = nodes.numbers.values()
    join(places, "hospital1")
    applied(nodes, places, state)
    (new,) = nodes.numbers.values()
    assert new != old
    assert nodes.site_of(new) == "hospital1"


def test_a_new_superlink_is_told_again(places, state, tmp_path):
    join(places, "hospital1")
    for _ in range(2):
        fresh = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory()).state()
        nodes = Nodes(places.registry, tmp_path / "nodes.json")
        assert nodes.apply(fresh)
        assert len(fresh.get_node_info()) == 1
