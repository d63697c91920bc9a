"""``oncofed-client init`` as a hospital's operator gives it, over real TLS with a real enrolment service."""

import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from enrolment_service import SITES, federation, served
from joining import failed, state

from client.enrolment.command import init
from client.enrolment.connection import load_connection
from client.site import load_site
from common.errors import ConfigError
from common.protocol.node_keys import fingerprint, new_key, public_line
from server.provision.provision import Changes, provision


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


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed (Debian: openssh-client)")
def test_ssh_keygen_knows_the_key_and_its_public_half(client, places, settings, tmp_path):
    with served(settings, places):
        said = client(places.kit("hospital1"))
    key = tmp_path / "node" / "keys" / "node"
    derived = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == places.registry.read().sites["hospital1"].key.public.split()
    listed = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True, check=True).stdout
    assert listed.startswith("384 SHA256:")
    assert listed.split()[1] in said.out


NAMES = (".", "keys", "keys/node", "keys/node.pem")


def test_the_key_is_its_owners_alone(client, places, settings, tmp_path):
    with served(settings, places):
        client(places.kit("hospital1"))
    modes = {name: stat.S_IMODE((tmp_path / "node" / name).stat().st_mode) for name in NAMES}
    assert modes == {".": 0o700, "keys": 0o700, "keys/node": 0o600, "keys/node.pem": 0o600}
    assert sorted(file.name for file in (tmp_path / "node" / "keys").iterdir()) == ["node", "node.pem", "node.pub"]


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
    key = tmp_path / "node" / "joining" / "keys" / "node"
    key.chmod(0o644)
    with served(settings, places):
        failed(client(places.kit("hospital1")), "others on this machine can read the key")
    assert state(places) == "invited"


def test_a_folder_that_cannot_be_written_says_so(client, places, settings, tmp_path):
    (tmp_path / "node").write_text("a file")
    failed(client(places.kit("hospital1")), f"{tmp_path}/node.*cannot be written", "--folder")


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


def test_a_new_key_leaves_everything_else_as_it_is(client, places, settings, tmp_path):
    node = tmp_path / "node"
    with served(settings, places):
        client(places.kit("hospital1"))
        first = (node / "keys" / "node").read_bytes()
        (node / "audit.jsonl").write_text("the record\n")
        (node / "node-id").write_text("a" * 32)
        (node / "site.yaml").write_text((node / "site.yaml").read_text().replace("device: cpu", "device: cuda"))
        provision(settings, places, Changes(revoke=["hospital1"]))
        provision(settings, places, Changes(renew=["hospital1"]))
        refused = client(places.kit("hospital1"))
        assert "--new-key gives this site a new key" in refused.err
        said = client(places.kit("hospital1"), "node", "--new-key")
        assert (said.code, said.err) == (0, "")
        second = (node / "keys" / "node").read_bytes()
        # Whoever the new coordinator is, it is told nothing of what was charged for the earlier one.
        assert not (node / "node-id").exists()
        (node / "node-id").write_text("b" * 32)
        again = client(places.kit("hospital1"), "node", "--new-key")
    (retired,) = node.glob("keys-until-*")
    assert (retired / "node").read_bytes() == first
    assert second != first
    assert (node / "audit.jsonl").read_text() == "the record\n"
    assert load_site(node / "site.yaml").device == "cuda"
    assert places.registry.read().sites["hospital1"].state == "enrolled"
    # A kit that is used up: refused, and the key that works is back in its place.
    assert again.code == 2
    assert (node / "keys" / "node").read_bytes() == second
    assert (node / "node-id").read_text() == "b" * 32
    assert load_connection(node).site == "hospital1"
