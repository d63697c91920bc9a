"""What ``oncofed-client start`` refuses before anything runs."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.enrolment.connection import Connection, load_connection, save_connection
from client.node.return_home import node_number, say_goodbye
from client.node.start import start
from client.site import SiteSettings, load_site, save_site
from common.errors import ConfigError
from common.protocol.node_keys import new_key, private_file
from common.protocol.question_keys import public_text
from common.system.file_lock import locked


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "north"
    (folder / "keys").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    settings = SiteSettings(
        name="north", reader="brats", organ="brain", path=tmp_path / "images", folder=folder, cache_dir=folder / "cache"
    )
    save_site(settings, folder / "site.yaml")
    # Nobody listens there: the discard port.
    save_connection(
        Connection(
            federation="tumours",
            site="north",
            address="127.0.0.1:9",
            enrolled=datetime.now(UTC),
            questions=public_text(Ed25519PrivateKey.generate()),
        ),
        folder,
    )
    (folder / "ca.crt").write_text("")
    (folder / "keys" / "node").write_bytes(private_file(new_key()))
    (folder / "keys" / "node").chmod(0o600)
    (folder / "keys" / "node.pem").write_text("")
    (folder / "keys" / "node.pem").chmod(0o600)
    return folder / "site.yaml"


def test_a_site_that_has_not_joined(site: Path) -> None:
    (site.parent / "connection.yaml").unlink()
    with pytest.raises(ConfigError, match="join first, with oncofed-client init"):
        start(site)


def test_a_site_that_joined_before_questions_were_signed(site: Path) -> None:
    connection = load_connection(site.parent)
    save_connection(connection.model_copy(update={"questions": None}), site.parent)
    with pytest.raises(ConfigError, match=r"questions: is missing.*--renew north.*--new-key"):
        start(site)


def test_a_join_that_was_interrupted(site: Path) -> None:
    (site.parent / "joining").mkdir()
    save_connection(load_connection(site.parent), site.parent / "joining")
    with pytest.raises(ConfigError, match=r"an init was interrupted.*give the same command again"):
        start(site)


def test_a_link_in_place_of_the_nodes_log(site: Path, tmp_path: Path) -> None:
    (site.parent / "node.log").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match=r"node\.log: is a link"):
        start(site)
    assert not (tmp_path / "precious").exists()


def test_a_name_that_is_not_the_one_it_joined_under(site: Path) -> None:
    save_site(load_site(site).model_copy(update={"name": "south"}), site)
    with pytest.raises(ConfigError, match="calls this site south, but it has joined as north"):
        start(site)


@pytest.mark.parametrize("name", ["node", "node.pem"])
def test_a_key_that_is_gone_or_that_others_can_read(site: Path, name: str) -> None:
    key = site.parent / "keys" / name
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="others on this machine can read the key"):
        start(site)
    key.unlink()
    with pytest.raises(ConfigError, match="is missing; put it back from your backup"):
        start(site)


def test_a_second_one(site: Path) -> None:
    with locked(site.parent / "start.lock"), pytest.raises(ConfigError, match="a node of north runs already"):
        start(site)


def test_a_goodbye_that_nobody_hears_stops_nothing(site: Path) -> None:
    settings, connection = (
        load_site(site),
        Connection.model_validate(
            {
                "federation": "tumours",
                "site": "north",
                "address": "127.0.0.1:9",
                "enrolled": datetime.now(UTC),
                "certificate": site.parent / "ca.crt",
                "key": site.parent / "keys" / "node",
            }
        ),
    )
    number = node_number(settings)
    assert not say_goodbye(number, connection)
    number.parent.mkdir(parents=True)
    number.write_text("not a number")
    assert not say_goodbye(number, connection)
