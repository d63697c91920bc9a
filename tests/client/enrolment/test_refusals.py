"""What the coordinator refuses, and what a hospital's operator reads then."""

from datetime import timedelta

import pytest
from enrolment_service import served
from joining import failed, state

from client.enrolment.kit import open_kit
from client.enrolment.request import EnrolmentError, request_enrolment
from server.provision.provision import Changes, provision
from server.provision.registry import utc_now


def test_a_used_token_is_told_as_an_alarm(client, places, settings):
    with served(settings, places):
        assert client(places.kit("hospital1"), "first").code == 0
        first = places.registry.read()
        failed(
            client(places.kit("hospital1"), "second"), "used already, with another key", "tell the coordinator at once"
        )
    assert places.registry.read() == first


def test_an_expired_token_asks_for_a_new_kit_and_goes_on_with_it(client, places, settings, tmp_path):
    provision(settings, places, Changes(renew=["hospital1"]), now=utc_now() - timedelta(days=15))
    with served(settings, places):
        failed(client(places.kit("hospital1")), "token has expired", r"--renew hospital1")
        key = (tmp_path / "node" / "joining" / "keys" / "node").read_bytes()
        provision(settings, places, Changes(renew=["hospital1"]))
        assert client(places.kit("hospital1")).code == 0
    assert (tmp_path / "node" / "keys" / "node").read_bytes() == key


def test_a_replaced_kit_is_not_known(client, places, settings, tmp_path):
    old = tmp_path / "old.zip"
    old.write_bytes(places.kit("hospital1").read_bytes())
    provision(settings, places, Changes(renew=["hospital1"]))
    with served(settings, places):
        failed(client(old), "does not know this token", "newest kit")


def test_a_revoked_site_does_not_join(client, places, settings, tmp_path):
    kit = tmp_path / "kit.zip"
    kit.write_bytes(places.kit("hospital1").read_bytes())
    provision(settings, places, Changes(revoke=["hospital1"]))
    with served(settings, places):
        failed(client(kit), "has revoked this site", "Ask the coordinator")
    assert state(places) == "revoked"


def test_a_key_of_another_type_is_refused_over_tls(places, settings):
    kit = open_kit(places.kit("hospital1"))
    with served(settings, places), pytest.raises(EnrolmentError, match="ECDSA on P-384"):
        request_enrolment(kit, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    assert state(places) == "invited"
