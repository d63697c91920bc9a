"""What an ``init`` makes, beside the files that are in use, until the coordinator has said yes.

Everything lies in the folder ``joining`` of the node's folder: the new key from the beginning, and once the coordinator
has enrolled it, the certificate, the settings and the connection. Then they change places with what is in use. The
connection is written last and moved last, so wherever an init is killed, the next one knows what is left to do: before
the connection was written, nothing in use has been touched; after it, the rest is moved without asking anyone.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from client.enrolment.connection import FILE as CONNECTION
from client.enrolment.connection import JOINING, Connection, read_connection, save_connection
from client.enrolment.kit import Kit
from client.enrolment.site_template import site_template, usual_reader
from client.privacy.node_id import NODE_ID
from common.errors import ConfigError
from common.protocol.enrolment import KitDescription
from common.protocol.node_keys import identity_file, new_key, private_file, public_line, read_private_file
from common.system.files import write_bytes
from common.system.private_files import make_private_folder, readable_by_others, write_private

KEYS, CERTIFICATE, SITE = "keys", "ca.crt", "site.yaml"
_KIT = "kit"
"""The SHA-256 of the kit that the coordinator has said yes to."""


@dataclass(frozen=True)
class Attempt:
    """An ``init`` that is under way, or was interrupted.

    Attributes:
        node: the node's folder.
    """

    node: Path

    @property
    def folder(self) -> Path:
        """Where everything lies meanwhile."""
        return self.node / JOINING

    @property
    def site(self) -> Path:
        """The settings to be, where the site has none."""
        return self.folder / SITE

    def begin(self, proposed: KitDescription) -> None:
        """Makes the folder, and the settings if the site has none."""
        make_private_folder(self.folder)
        if not (self.node / SITE).exists():
            reader = usual_reader(proposed.organ, proposed.reader)
            write_bytes(self.site, site_template(proposed.site, proposed.organ, reader).encode())

    def open_key(self, site: str) -> str:
        """The public line of the key that is to be enrolled, which is made if there is none.

        One that is there was left by an init that did not come to its end, perhaps for want of an answer that was a
        yes; it is used again.

        Raises:
            ConfigError: if the key there cannot be used, or others may read it.
        """
        key = self.folder / KEYS / "node"
        in_place = self.node / KEYS / "node"
        if in_place.exists() and not key.exists() and not (self.node / CONNECTION).exists():
            key = in_place
        make_private_folder(key.parent)
        if not key.exists():
            write_private(key, private_file(new_key()))
        if readable_by_others(key):
            raise ConfigError(
                f"{key}: others on this machine can read the key. Delete {key.parent} and try again, and a new key is "
                "made"
            )
        try:
            line = public_line(read_private_file(key.read_bytes()))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{key}: cannot be used ({error}). Move {key.parent} away and try again, and a new key is made"
            ) from error
        write_bytes(key.with_suffix(".pub"), f"{line} {site}\n".encode())
        return line

    def decide(self, connection: Connection, kit: Kit, certificate: str) -> None:
        """Writes down that the coordinator has said yes to ``kit``.

        Args:
            certificate: the one that it made for this node's key, as PEM.
        """
        key = self.folder / KEYS / "node"
        if not key.exists():
            key = self.node / KEYS / "node"
        identity = identity_file(read_private_file(key.read_bytes()), certificate.encode())
        write_private(key.with_suffix(".pem"), identity, replace=True)
        write_bytes(self.folder / CERTIFICATE, kit.certificate)
        write_bytes(self.folder / _KIT, kit.sha256.encode())
        save_connection(connection, self.folder)

    def decided(self) -> tuple[Connection, str] | None:
        """What an init that was interrupted had written down by :meth:`decide`; None if it had not come to that."""
        if not (self.folder / CONNECTION).exists():
            return None
        return read_connection(self.folder / CONNECTION), (self.folder / _KIT).read_text()

    def take_over(self, connection: Connection) -> None:
        """Puts everything in its place. What was in use stays beside it, marked with the time of the new connection.

        It may be interrupted anywhere, and done again from the beginning.
        """
        stamp = f"{connection.enrolled:%Y%m%dT%H%M%S}"
        self._exchange(KEYS, f"{KEYS}-until-{stamp}")
        if (self.node / CONNECTION).exists() and (self.node / NODE_ID).exists():
            # What a coordinator is told of the privacy ledger must count nothing that was done for the last one.
            _put_aside(self.node / NODE_ID, self.node / f"{NODE_ID}-until-{stamp}")
        self._exchange(CERTIFICATE, f"ca-until-{stamp}.crt")
        if not (self.node / SITE).exists() and self.site.exists():
            self.site.rename(self.node / SITE)
        self._exchange(CONNECTION, f"connection-until-{stamp}.yaml")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _exchange(self, name: str, aside: str) -> None:
        new, place = self.folder / name, self.node / name
        if not new.exists():
            return
        if place.exists():
            _put_aside(place, self.node / aside)
        new.rename(place)


def _put_aside(path: Path, aside: Path) -> None:
    free = aside
    while free.exists():
        free = free.with_name(f"{free.name}-")
    path.rename(free)
