"""What ``oncofed-client start`` refuses before anything runs."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.enrolment.connection import Connection, save_connection
from client.node.return_home import node_number, say_goodbye
from client.node.start import start
from client.site import SiteSettings, load_site, save_site
from common.errors import ConfigError
from common.file_lock import locked
from common.node_keys import new_key, private_file


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
        Connection(federation="tumours", site="north", address="127.0.0.1:9", enrolled=datetime.now(UTC)), folder
    )
    (folder / "ca.crt").write_text("")
    (folder / "keys" / "node").write_bytes(private_file(new_key()))
    (folder / "keys" / "node").chmod(0o600)
    return folder / "site.yaml"


def test_a_site_that_has_not_joined(site: Path) -> None:
    (site.parent / "connection.yaml").unlink()
    with pytest.raises(ConfigError, match="join first, with oncofed-client init"):
        start(site)


def test_a_name_that_is_not_the_one_it_joined_under(site: Path) -> None:
    save_site(load_site(site).model_copy(update={"name": "south"}), site)
    with pytest.raises(ConfigError, match="calls this site south, but it has joined as north"):
        start(site)


def test_a_key_that_is_gone_or_that_others_can_read(site: Path) -> None:
    key = site.parent / "keys" / "node"
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
