"""``oncofed-client init`` as a hospital's operator gives it, over real TLS with a real enrolment service."""

import hashlib
import re
import socket
import ssl
import stat
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from enrolment_service import SITES, federation, free_port, served

from client.cli import main
from client.enrolment.command import init
from client.enrolment.connection import load_connection
from client.enrolment.kit import open_kit
from client.enrolment.request import EnrolmentError, request_enrolment
from client.site import load_site
from common.enrolment import checksums
from common.errors import ConfigError
from common.node_keys import fingerprint, new_key, public_line
from server.provision.authority import make_server_certificate, open_authority
from server.provision.provision import Changes, Places, provision
from server.provision.registry import utc_now


@dataclass(frozen=True)
class Said:
    """What the command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "provision")


@pytest.fixture
def settings(places):
    settings = federation(free_port())
    provision(settings, places)
    return settings


@pytest.fixture
def client(capsys, tmp_path):
    """Runs ``init`` with a site's kit into ``<tmp_path>/<folder>``."""

    def run(kit, folder="node", *more):
        with pytest.raises(SystemExit) as exit_:
            main(["init", str(kit), "--folder", str(tmp_path / folder), *more])
        said = capsys.readouterr()
        return Said(int(exit_.value.code or 0), said.out, said.err)

    return run


def state(places, site="hospital1"):
    return places.registry.read().sites[site].state


def repacked(kit, target, change, *, honest=False):
    """A copy of a kit with ``change`` made to its files; ``honest`` makes its checksums fit again."""
    with zipfile.ZipFile(kit) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if honest:
        del files["SHA256SUMS"]
        files["SHA256SUMS"] = checksums(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def failed(said, *parts):
    """The command ended with one readable paragraph that says all of ``parts``."""
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert re.search(part, said.err), said.err
    assert said.out == ""


# ---------------------------------------------------------------- joining


def test_a_site_joins_with_a_key_that_is_made_here(client, places, settings, tmp_path):
    with served(settings, places):
        said = client(places.kit("hospital1"))
    assert (said.code, said.err) == (0, "")
    connection = load_connection(tmp_path / "node")
    assert (connection.federation, connection.site, connection.address) == ("tumours", "hospital1", settings.address)
    assert connection.key == tmp_path / "node" / "keys" / "node"
    assert connection.certificate.read_bytes() == (places.authority / "ca.crt").read_bytes()
    record = places.registry.read().sites["hospital1"]
    assert record.state == "enrolled"
    assert fingerprint(record.key.public) in said.out
    assert load_site(tmp_path / "node" / "site.yaml").name == "hospital1"


def test_ssh_keygen_knows_the_key_and_its_public_half(client, places, settings, tmp_path):
    with served(settings, places):
        said = client(places.kit("hospital1"))
    key = tmp_path / "node" / "keys" / "node"
    derived = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == places.registry.read().sites["hospital1"].key.public.split()
    listed = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True, check=True).stdout
    assert listed.startswith("384 SHA256:")
    assert listed.split()[1] in said.out


def test_the_key_is_its_owners_alone(client, places, settings, tmp_path):
    with served(settings, places):
        client(places.kit("hospital1"))
    modes = {name: stat.S_IMODE((tmp_path / "node" / name).stat().st_mode) for name in (".", "keys", "keys/node")}
    assert modes == {".": 0o700, "keys": 0o700, "keys/node": 0o600}
    assert sorted(file.name for file in (tmp_path / "node" / "keys").iterdir()) == ["node", "node.pub"]


def test_the_coordinator_never_sees_the_private_key(client, places, settings, tmp_path):
    with served(settings, places):
        client(places.kit("hospital1"))
    secret = (tmp_path / "node" / "keys" / "node").read_bytes().splitlines()[1:-1]
    for file in [file for file in places.folder.rglob("*") if file.is_file()]:
        assert not [line for line in secret[3:] if line in file.read_bytes()]


def test_two_sites_join_at_once(places, settings, tmp_path):
    with served(settings, places), ThreadPoolExecutor(2) as pool:
        sites = ("hospital1", "hospital2")
        list(pool.map(lambda site: init(places.kit(site), tmp_path / site), sites))
    keys = {site: places.registry.read().sites[site].key.public for site in sites}
    assert len(set(keys.values())) == 2
    for site in sites:
        assert (tmp_path / site / "keys" / "node.pub").read_text() == f"{keys[site]} {site}\n"


def test_settings_that_are_there_are_left_alone(client, places, settings, tmp_path):
    (tmp_path / "node").mkdir()
    own = "name: hospital1\nreader: dicom\norgan: brain\npath: /images\n"
    (tmp_path / "node" / "site.yaml").write_text(own)
    with served(settings, places):
        assert client(places.kit("hospital1")).code == 0
    assert (tmp_path / "node" / "site.yaml").read_text() == own


def test_another_sites_settings_stop_it_before_the_token_is_used(client, places, settings, tmp_path):
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "site.yaml").write_text("name: hospital2\n")
    with served(settings, places):
        failed(client(places.kit("hospital1")), "is the site hospital2, but the kit is for hospital1")
    assert state(places) == "invited"
    assert not (tmp_path / "node" / "keys").exists()


def test_a_kit_of_before_is_good_after_the_others_were_renewed_revoked_and_added(client, places, settings, tmp_path):
    """Also after the server was rebuilt: it has a new key and certificate from the same authority."""
    kit = tmp_path / "old.zip"
    kit.write_bytes(places.kit("hospital1").read_bytes())
    with served(settings, places):
        assert client(places.kit("hospital2"), "hospital2").code == 0
    more = federation(int(settings.address.split(":")[1]), sites=(*SITES, {"name": "hospital3", "organ": "lung"}))
    provision(more, places, Changes(revoke=["hospital2"], renew_server=True))
    provision(more, places, Changes(renew=["hospital3"]))
    with served(more, places):
        assert client(kit).code == 0
    assert [state(places, f"hospital{n}") for n in (1, 2, 3)] == ["enrolled", "revoked", "invited"]


def test_an_answer_that_was_lost_is_given_again(client, places, settings, tmp_path):
    with served(settings, places):
        assert client(places.kit("hospital1")).code == 0
        key = (tmp_path / "node" / "keys" / "node").read_bytes()
        (tmp_path / "node" / "connection.yaml").unlink()
        assert client(places.kit("hospital1")).code == 0
    assert (tmp_path / "node" / "keys" / "node").read_bytes() == key


def test_a_folder_that_has_joined_is_not_touched(client, places, settings, tmp_path):
    with served(settings, places):
        assert client(places.kit("hospital1")).code == 0
        before = {f: f.read_bytes() for f in (tmp_path / "node").rglob("*") if f.is_file()}
        provision(settings, places, Changes(renew=["hospital1"]))
        failed(client(places.kit("hospital1")), "has joined a federation already", "--folder")
    assert {f: f.read_bytes() for f in (tmp_path / "node").rglob("*") if f.is_file()} == before


def test_a_key_that_others_can_read_is_not_enrolled(client, places, settings, tmp_path):
    client(places.kit("hospital1"))  # nobody answers yet: the key is made and stays
    key = tmp_path / "node" / "keys" / "node"
    key.chmod(0o644)
    with served(settings, places):
        failed(client(places.kit("hospital1")), "others on this machine can read the key")
    assert state(places) == "invited"


def test_a_folder_that_cannot_be_written_says_so(client, places, settings, tmp_path):
    (tmp_path / "node").write_text("a file")
    failed(client(places.kit("hospital1")), f"{tmp_path}/node.*cannot be written", "--folder")


# ---------------------------------------------------------------- refused by the coordinator


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
        key = (tmp_path / "node" / "keys" / "node").read_bytes()
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


# ---------------------------------------------------------------- TLS and the way there


def test_another_authority_gets_no_token(client, places, settings, tmp_path):
    """A server that bears the right name, with an authority of the same name, but another key."""
    other = Places(tmp_path / "other")
    provision(settings, other)
    with served(settings, places, certificate=other.server):
        said = client(places.kit("hospital1"))
        failed(said, "not signed by the authority in the kit", "inspects TLS", "The token was not sent")
    assert state(places) == "invited"


def test_an_authority_that_the_machine_trusts_is_not_enough(client, places, settings, tmp_path, monkeypatch):
    other = Places(tmp_path / "other")
    provision(settings, other)
    monkeypatch.setenv("SSL_CERT_FILE", str(other.authority / "ca.crt"))
    with served(settings, places, certificate=other.server):
        failed(client(places.kit("hospital1")), "not signed by the authority in the kit")


def test_an_expired_certificate_names_both_ways_out(client, tmp_path):
    old = Places(tmp_path / "old")
    settings = federation(free_port(), validity={"server": 1, "token": 30})
    provision(settings, old, now=utc_now() - timedelta(days=3))
    with served(settings, old):
        failed(
            client(old.kit("hospital1")), "certificate has expired", "clock says 20", "--renew-server", "set the clock"
        )
        provision(settings, old, Changes(renew_server=True))
    with served(settings, old):
        assert client(old.kit("hospital1")).code == 0


def test_a_certificate_that_is_not_valid_yet_points_at_the_clock(client, places, settings, tmp_path):
    authority = open_authority(places.authority, settings.name, 1, utc_now())
    make_server_certificate(tmp_path / "future", authority, "localhost", 5, utc_now() + timedelta(days=1))
    with served(settings, places, certificate=tmp_path / "future"):
        failed(client(places.kit("hospital1")), "not valid yet", "clock .* is behind", "NTP")


def test_a_kit_from_the_future_points_at_the_clock(client, tmp_path):
    places, settings = Places(tmp_path / "p"), federation(free_port())
    provision(settings, places, now=utc_now() + timedelta(hours=2))
    failed(client(places.kit("hospital1")), "this machine's clock says", "set the clock")


def test_a_certificate_for_another_name_says_so(client, places, settings, tmp_path):
    authority = open_authority(places.authority, settings.name, 1, utc_now())
    make_server_certificate(tmp_path / "named", authority, "fed.example.org", 5, utc_now())

    def elsewhere(files):
        files["kit.json"] = files["kit.json"].replace(b"localhost", b"127.0.0.2")

    kit = repacked(places.kit("hospital1"), tmp_path / "kit.zip", elsewhere, honest=True)
    port = int(settings.address.split(":")[1])
    with tls_server(tmp_path / "named", port, b"", host="127.0.0.2"):
        failed(client(kit), "certificate is for another name", "--renew-server")


def test_no_route_says_what_to_check(client, places, settings):
    failed(client(places.kit("hospital1")), f"{settings.address} cannot be reached", "firewall", "HTTPS_PROXY")
    assert state(places) == "invited"


def test_a_name_that_is_not_known_says_what_to_check(client, tmp_path):
    places = Places(tmp_path / "p")
    provision(federation(443, host="fed.invalid"), places)
    failed(client(places.kit("hospital1")), "fed.invalid:443 cannot be reached", "check the name")


def test_a_server_without_tls_gets_no_token(client, places, settings):
    with served(settings, places, tls=False):
        failed(client(places.kit("hospital1")), "does not speak TLS")
    assert state(places) == "invited"


def test_a_proxy_that_refuses_is_named(client, places, settings, monkeypatch):
    class Refuses(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    proxy = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    try:
        with served(settings, places):
            failed(client(places.kit("hospital1")), "HTTPS_PROXY", "CONNECT")
    finally:
        proxy.shutdown()
        proxy.server_close()


@contextmanager
def tls_server(certificate, port, answer, host="127.0.0.1"):
    """Something at the federation's address that speaks TLS and says ``answer`` to everyone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "server.crt", certificate / "server.key")
    listening = socket.create_server((host, port))

    def talk():
        while True:
            try:
                raw, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as connection:
                    asked = b""
                    # A body that is left unread would reset the connection, and the answer with it.
                    while not asked.endswith(b"}"):
                        part = connection.recv(65536)
                        if not part:
                            break
                        asked += part
                    connection.sendall(answer)
            except OSError:
                continue

    threading.Thread(target=talk, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", r"HTTP 502\).*the proxy passes /enrol on"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", r"HTTP 200\)"),
        (b'HTTP/1.1 403 No\r\nContent-Length: 23\r\n\r\n{"error": "\x1b[2Jcleared"}', r"HTTP 403\)"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, r"HTTP 200\)"),
        (b"HTTP/1.1 307 Go\r\nLocation: https://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", r"HTTP 307\)"),
        (b"no http at all\r\n\r\n", "cannot be reached"),
    ],
    ids=["gateway", "empty", "escape", "endless", "elsewhere", "noise"],
)
def test_a_strange_answer_is_not_believed(client, places, settings, tmp_path, answer, message):
    with tls_server(places.server, int(settings.address.split(":")[1]), answer):
        said = client(places.kit("hospital1"))
    failed(said, message)
    assert "\x1b" not in said.err
    assert not (tmp_path / "node" / "connection.yaml").exists()


def test_an_answer_of_another_federation_is_not_taken(client, places, settings, tmp_path):
    body = b'{"federation": "others", "address": "localhost:1"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with tls_server(places.server, int(settings.address.split(":")[1]), answer):
        failed(client(places.kit("hospital1")), "belongs to the federation others, the kit to tumours")
    assert not (tmp_path / "node" / "connection.yaml").exists()


def test_a_clock_that_is_off_is_told_though_the_site_has_joined(client, places, settings, tmp_path):
    """Flower refuses a node whose clock is more than five minutes off."""
    said = (utc_now() - timedelta(minutes=12)).astimezone(UTC)
    body = f'{{"federation": "tumours", "address": "{settings.address}"}}'.encode()
    head = f"HTTP/1.1 200 OK\r\nDate: {said:%a, %d %b %Y %H:%M:%S} GMT\r\nContent-Length: {len(body)}\r\n\r\n"
    with tls_server(places.server, int(settings.address.split(":")[1]), head.encode() + body):
        result = client(places.kit("hospital1"))
    assert result.code == 0
    assert "clock is 12 min ahead of the coordinator's" in result.out
    assert abs(load_connection(tmp_path / "node").enrolled - said) < timedelta(seconds=30)


# ---------------------------------------------------------------- the kit


@pytest.mark.parametrize("name", ["kit.json", "token", "ca.crt", "site.yaml", "README.txt"])
def test_a_changed_file_is_named_and_nothing_is_written(client, places, settings, tmp_path, name):
    kit = repacked(
        places.kit("hospital1"), tmp_path / "kit.zip", lambda files: files.update({name: files[name] + b" "})
    )
    failed(client(kit), rf"{name} differs from its checksum", "Do not use it")
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.pop("token"),
        lambda files: files.update({"../../evil": b""}),
        lambda files: files.update({"keys/node": b""}),
        lambda files: files.update({"README.txt": b"0" * 200_000}),
        lambda files: files.update({"ca.crt": b"not a certificate"}),
        lambda files: files.update({"token": b"short\n"}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b'"version": 1', b'"version": 2')}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b"hospital1", b"../escape")}),
    ],
    ids=["missing", "path", "key", "bomb", "certificate", "token", "version", "name"],
)
def test_a_kit_that_is_none_is_refused_though_its_checksums_fit(client, places, settings, tmp_path, change):
    kit = repacked(places.kit("hospital1"), tmp_path / "kit.zip", change, honest=True)
    failed(client(kit), "kit.zip: ")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kit.zip", "provision"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"plain"])
def test_a_file_that_is_no_zip_is_refused(client, tmp_path, content):
    (tmp_path / "kit.zip").write_bytes(content)
    failed(client(tmp_path / "kit.zip"), "damaged or not a zip file")


def test_a_kit_cut_short_anywhere_is_refused(places, settings, tmp_path):
    whole = places.kit("hospital1").read_bytes()
    cut = tmp_path / "kit.zip"
    for end in range(0, len(whole) - 1, 97):
        cut.write_bytes(whole[:end])
        with pytest.raises(ConfigError):
            open_kit(cut)


def test_no_flipped_byte_changes_what_is_read(places, settings, tmp_path):
    whole, flipped = places.kit("hospital1").read_bytes(), tmp_path / "kit.zip"
    right = open_kit(places.kit("hospital1"))
    for position in range(0, len(whole), 41):
        flipped.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            assert open_kit(flipped) == right  # e.g. the time of an entry
        except ConfigError:
            continue


def test_the_hash_told_on_the_telephone_is_checked(client, places, settings, tmp_path):
    kit = places.kit("hospital1")
    digest = hashlib.sha256(kit.read_bytes()).hexdigest()
    # Whoever makes a kit of his own can make its checksums fit; this he cannot.
    change = {"site.yaml": b"name: hospital1\nshare_site_model: true\n"}
    forged = repacked(kit, tmp_path / "forged.zip", lambda files: files.update(change), honest=True)
    assert open_kit(forged).site == change["site.yaml"]
    with served(settings, places):
        failed(client(forged, "node", "--sha256", digest), "not the kit that the coordinator made")
        assert client(kit, "node", "--sha256", digest.upper()).code == 0


# ---------------------------------------------------------------- connection.yaml


def test_a_folder_that_has_not_joined_says_how(tmp_path):
    with pytest.raises(ConfigError, match=r"connection\.yaml: is missing; join first, with oncofed-client init"):
        load_connection(tmp_path)


def test_a_damaged_connection_names_the_key(tmp_path):
    values = {"federation": "f", "site": "s", "address": "nowhere", "enrolled": "2026-01-01T00:00:00Z"}
    (tmp_path / "connection.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"connection\.yaml: address: .*host:port"):
        load_connection(tmp_path)


def test_flower_reads_the_key_files(client, places, settings, tmp_path):
    """As ``flower-supernode`` and ``flwr supernode register`` do."""
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key
    from flwr.cli.supernode.register import try_load_public_key

    with served(settings, places):
        assert client(places.kit("hospital1")).code == 0
    key = tmp_path / "node" / "keys" / "node"
    private = load_ssh_private_key(key.read_bytes(), None)
    assert b"BEGIN PUBLIC KEY" in try_load_public_key(key.with_suffix(".pub"))
    assert public_line(private) == places.registry.read().sites["hospital1"].key.public
    assert public_line(private) != public_line(new_key())
