"""The enrolment service as anyone may call it."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from enrolment_service import SITES, federation, free_port, served

from common.protocol.enrolment import LARGEST_MESSAGE, Refusal
from common.protocol.node_keys import fingerprint, key_serial, new_key, public_line, read_public_line
from server.provision.provision import Changes, Places, provision
from server.provision.rate_limit import RateLimit
from server.provision.registry import utc_now

MANY = RateLimit(count=10_000)


class Federation:
    """A provisioned federation whose service answers in plain HTTP, as it does behind the proxy."""

    def __init__(self, folder):
        self.settings = federation(free_port())
        self.places = Places(folder / "provision")
        provision(self.settings, self.places)

    def token(self, site="hospital1"):
        with zipfile.ZipFile(self.places.kit(site)) as archive:
            return archive.read("token").decode().strip()

    def post(self, content, **headers):
        port = self.settings.address.rpartition(":")[2]
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        return httpx.post(f"http://127.0.0.1:{port}/enrol", content=data, headers=headers, trust_env=False, timeout=30)

    def enrol(self, site="hospital1", token=None, key=None, **headers):
        key = key or public_line(new_key())
        return self.post({"site": site, "token": token or self.token(site), "public_key": key}, **headers)

    def record(self, site="hospital1"):
        return self.places.registry.read().sites[site]


@pytest.fixture
def own(tmp_path):
    return Federation(tmp_path)


def refused(response, reason):
    assert response.json()["error"] == reason.value
    assert 400 <= response.status_code < 600


def open_ssh(key):
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def test_a_site_is_enrolled_with_its_key(own):
    key = public_line(new_key())
    with served(own.settings, own.places, tls=False):
        response = own.enrol(key=f"{key} root@hospital1")
    assert response.status_code == 200
    answer = response.json()
    assert (answer["federation"], answer["address"]) == ("tumours", own.settings.address)
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    assert certificate.serial_number == key_serial(key)
    assert certificate.public_key() == read_public_line(key)
    record = own.record()
    assert (record.state, record.key.public) == ("enrolled", key)
    assert own.record("hospital2").state == "invited"


def test_the_same_key_may_ask_again_and_another_may_not(own):
    key = public_line(new_key())
    with served(own.settings, own.places, tls=False):
        assert own.enrol(key=key).status_code == 200
        before = own.record()
        assert own.enrol(key=key).status_code == 200
        refused(own.enrol(), Refusal.USED_TOKEN)
    assert own.record() == before


def test_of_two_keys_at_once_one_gets_the_token(own):
    keys = [public_line(new_key()) for _ in range(8)]
    with served(own.settings, own.places, tls=False, limit=MANY), ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda key: own.enrol(key=key).status_code, keys))
    assert sorted(statuses) == [200] + [403] * 7
    assert own.record().key.public == keys[statuses.index(200)]


def test_two_sites_at_once_are_both_enrolled(own):
    with served(own.settings, own.places, tls=False), ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(lambda site: own.enrol(site).status_code, ("hospital1", "hospital2")))
    assert statuses == [200, 200]
    assert {own.record(site).state for site in ("hospital1", "hospital2")} == {"enrolled"}


def test_a_site_that_does_not_exist_is_answered_as_a_wrong_token_is(own):
    with served(own.settings, own.places, tls=False):
        wrong = own.enrol("hospital1", token=own.token("hospital2"))
        nobody = own.enrol("hospital9", token=own.token("hospital2"))
    refused(wrong, Refusal.UNKNOWN_TOKEN)
    assert (nobody.status_code, nobody.content) == (wrong.status_code, wrong.content)


def test_what_a_stranger_is_told_of_a_revoked_or_enrolled_site_is_the_same(own):
    with served(own.settings, own.places, tls=False):
        assert own.enrol("hospital1").status_code == 200
        stranger = "A" * 43
        enrolled = own.enrol("hospital1", token=stranger)
        provision(own.settings, own.places, Changes(revoke=["hospital1"]))
        revoked = own.enrol("hospital1", token=stranger)
    assert enrolled.content == revoked.content
    refused(enrolled, Refusal.UNKNOWN_TOKEN)


def test_an_expired_token_is_refused(tmp_path):
    own = Federation(tmp_path)
    provision(own.settings, own.places, Changes(renew=["hospital1"]), now=utc_now() - timedelta(days=14, seconds=1))
    with served(own.settings, own.places, tls=False):
        refused(own.enrol(), Refusal.EXPIRED_TOKEN)
    assert own.record().key is None


def test_a_revoked_site_stays_out_until_it_is_invited_anew_and_with_another_key(own):
    key = public_line(new_key())
    token = own.token()
    with served(own.settings, own.places, tls=False):
        assert own.enrol(key=key).status_code == 200
        provision(own.settings, own.places, Changes(revoke=["hospital1"]))
        refused(own.enrol(token=token, key=key), Refusal.REVOKED)
        provision(own.settings, own.places, Changes(renew=["hospital1"]))
        refused(own.enrol(key=key), Refusal.KEY_IN_USE)
        assert own.enrol().status_code == 200


def test_a_renewed_site_keeps_its_key_until_it_brings_a_new_one(own):
    with served(own.settings, own.places, tls=False):
        assert own.enrol().status_code == 200
        old = own.record().key.public
        provision(own.settings, own.places, Changes(renew=["hospital1"]))
        assert (own.record().state, own.record().key.public) == ("enrolled", old)
        assert own.enrol().status_code == 200
    assert own.record().key.public != old
    assert own.record().retired == [old]


def test_one_key_is_one_site(own):
    key = public_line(new_key())
    with served(own.settings, own.places, tls=False):
        assert own.enrol("hospital1", key=key).status_code == 200
        refused(own.enrol("hospital2", key=key), Refusal.KEY_IN_USE)


@pytest.mark.parametrize(
    "key",
    [
        open_ssh(rsa.generate_private_key(65537, 2048)),
        open_ssh(ed25519.Ed25519PrivateKey.generate()),
        open_ssh(ec.generate_private_key(ec.SECP256R1())),
        "ecdsa-sha2-nistp384 AAAA",
        new_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
        "hospital1",
    ],
    ids=["rsa", "ed25519", "p256", "cut off", "pem", "text"],
)  # fmt: skip
def test_only_p384_keys_are_taken(own, key):
    with served(own.settings, own.places, tls=False):
        refused(own.enrol(key=key), Refusal.KEY_TYPE)
        assert own.record().token.used is None
        assert own.enrol().status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"site": "hospital1"}',
        {"site": 1, "token": "A" * 43, "public_key": "x"},
        {"site": "../x", "token": "A" * 43, "public_key": "x"},
        {"site": "hospital1", "token": "A" * 43, "public_key": "x", "state": "enrolled"},
        {"site": "hospital1", "token": "", "public_key": "x"},
        b'{"site": ' + b"[" * 3000,
    ],
)
def test_anything_else_is_malformed(own, content):
    with served(own.settings, own.places, tls=False):
        refused(own.post(content), Refusal.MALFORMED)


def test_a_large_request_is_cut_short_whether_or_not_it_says_so(own):
    port = own.settings.address.rpartition(":")[2]
    with served(own.settings, own.places, tls=False):
        refused(own.post(b"x" * (LARGEST_MESSAGE + 1)), Refusal.TOO_LARGE)
        chunks = httpx.post(f"http://127.0.0.1:{port}/enrol", content=iter([b"x" * 1000] * 9), trust_env=False)
        refused(chunks, Refusal.TOO_LARGE)


def test_a_request_that_does_not_end_is_given_up(own):
    port = int(own.settings.address.rpartition(":")[2])
    with (
        served(own.settings, own.places, tls=False, patience=0.3),
        socket.create_connection(("127.0.0.1", port), 30) as one,
    ):
        one.sendall(b"POST /enrol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert one.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_caller_who_hangs_up_does_no_harm(own, caplog):
    port = int(own.settings.address.rpartition(":")[2])
    with served(own.settings, own.places, tls=False):
        with socket.create_connection(("127.0.0.1", port), 30) as one:
            one.sendall(b"POST /enrol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert own.enrol().status_code == 200
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


def test_only_post_and_only_this_path(own):
    base = f"http://127.0.0.1:{own.settings.address.rpartition(':')[2]}"
    with served(own.settings, own.places, tls=False):
        assert httpx.get(f"{base}/enrol", trust_env=False).status_code == 405
        assert {httpx.post(f"{base}/{path}", trust_env=False).status_code for path in ("", "docs", "v1/control")} == {
            404
        }


def test_an_address_that_asks_too_often_must_wait_and_others_need_not(own):
    with served(own.settings, own.places, tls=False, limit=RateLimit(count=3)):
        # What stands before the last entry was written by the caller, and does not make it another.
        answers = [own.enrol(token="A" * 43, **{"x-forwarded-for": f"10.0.0.{n}, 192.0.2.1"}) for n in range(5)]
        assert [answer.status_code for answer in answers] == [403, 403, 403, 429, 429]
        refused(answers[-1], Refusal.TOO_MANY)
        assert own.enrol(**{"x-forwarded-for": "192.0.2.2"}).status_code == 200


def test_the_limit_forgets_after_its_window_and_remembers_a_bounded_number():
    now = [0.0]
    limit = RateLimit(count=1, seconds=60, addresses=2, clock=lambda: now[0])
    assert [limit.allows("a"), limit.allows("a")] == [True, False]
    now[0] = 60.0
    assert limit.allows("a")
    assert [limit.allows(name) for name in ("b", "c", "a")] == [True, True, True]


def test_the_log_names_the_site_and_no_token(own, caplog):
    with caplog.at_level(logging.INFO, "oncofed.enrolment"), served(own.settings, own.places, tls=False):
        own.enrol("hospital1", token="A" * 43)
        key = public_line(new_key())
        own.enrol("hospital1", key=key)
    assert '"hospital1": not enrolled (unknown_token)' in caplog.text
    assert f"hospital1: enrolled, key {fingerprint(key)}" in caplog.text
    assert own.token() not in caplog.text
    assert "AAAAAAAA" not in caplog.text


def test_a_damaged_registry_enrols_nobody_and_says_nothing_of_it(own):
    own.places.registry.path.write_text("{")
    with served(own.settings, own.places, tls=False):
        response = own.enrol()
    refused(response, Refusal.UNAVAILABLE)
    assert str(own.places.folder) not in response.text


@pytest.mark.parametrize("given", [True, False], ids=["port", "federation.yaml"])
def test_the_command_serves_on_loopback_alone(tmp_path, given):
    port = free_port()
    file = tmp_path / "federation.yaml"
    values = {"name": "tumours", "address": f"localhost:{port}", "sites": list(SITES)}
    file.write_text(yaml.safe_dump(values if given else values | {"serve": {"enrolment": port}}))
    own = Federation.__new__(Federation)
    own.settings, own.places = federation(port), Places(tmp_path / "provision")
    provision(own.settings, own.places)
    command = [sys.executable, "-c", "from server.cli import main; main()", "serve-enrolment", str(file)]
    command += ["--port", str(port)] if given else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as service:
        try:
            assert b"127.0.0.1" in service.stdout.readline()
            _wait_for(own, service)
            assert own.enrol().status_code == 200
            rows = [
                line.split()
                for table in ("tcp", "tcp6")
                for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
            ]
            # Field 1 is the own address in hexadecimal, with its port; state 0A is listening.
            places = [row[1].split(":") for row in rows if row[3] == "0A"]
            assert {address for address, at in places if int(at, 16) == port} == {"0100007F"}
        finally:
            os.kill(service.pid, signal.SIGINT)
            said = service.communicate(timeout=60)[0].decode()
    assert "hospital1: enrolled" in said
    assert "Traceback" not in said


def _wait_for(own, service):
    end = time.monotonic() + 60
    while time.monotonic() < end and service.poll() is None:
        try:
            own.post(b"")
            return
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("the service did not start")
