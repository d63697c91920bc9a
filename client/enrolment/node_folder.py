"""The folder of a site's node: settings, key, certificate. A key in it is never overwritten."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from client.enrolment.connection import FILE as CONNECTION
from client.enrolment.kit import Kit
from client.privacy.node_id import NODE_ID
from common.errors import ConfigError
from common.files import write_bytes
from common.node_keys import identity_file, new_key, private_file, public_line, read_private_file
from common.private_files import make_private_folder, readable_by_others, write_private
from common.safe_yaml import read_yaml


@dataclass(frozen=True)
class NodeFolder:
    """Where the files of a node lie.

    Attributes:
        path: the folder, mode 0700.
    """

    path: Path

    @property
    def key(self) -> Path:
        """The private key, OpenSSH, mode 0600; its public half lies beside it as ``node.pub``."""
        return self.path / "keys" / "node"

    @property
    def certificate(self) -> Path:
        """The authority that is trusted."""
        return self.path / "ca.crt"

    @property
    def site(self) -> Path:
        """The hospital's settings."""
        return self.path / "site.yaml"

    def check_free(self, kit: Kit) -> None:
        """Refuses a folder that has joined already, or whose ``site.yaml`` is another site's.

        Raises:
            ConfigError: saying which.
        """
        if (self.path / CONNECTION).exists():
            raise ConfigError(
                f"{self.path}: has joined a federation already, and its key is not overwritten. Choose another "
                "--folder; with a new kit, --new-key gives this site a new key and leaves all else as it is"
            )
        if self.site.exists():
            name = _site_name(self.site)
            if name != kit.description.site:
                raise ConfigError(
                    f"{self.site}: is the site {name}, but the kit is for {kit.description.site}; choose another "
                    "--folder, or put the name right"
                )

    def retire_key(self, now: datetime) -> str | None:
        """Puts the key and the connection of a site that has joined aside, for a new one; all else stays.

        An init that is interrupted afterwards goes on as any other: there is nothing to put aside a second time.

        Returns:
            What :meth:`restore_key` brings them back by; None if there was nothing.

        Raises:
            ConfigError: if they cannot be moved.
        """
        if not (self.path / CONNECTION).exists():
            return None
        stamp = f"{now:%Y%m%dT%H%M%S}"
        try:
            # The connection goes last: without it, this would not be looked at again.
            if self.key.parent.exists():
                self.key.parent.rename(self.path / f"keys-until-{stamp}")
            # What the next coordinator is told of the privacy ledger must count nothing that was done for this one.
            if (self.path / NODE_ID).exists():
                (self.path / NODE_ID).rename(self.path / f"{NODE_ID}-until-{stamp}")
            (self.path / CONNECTION).rename(self.path / f"connection-until-{stamp}.yaml")
        except OSError as error:
            raise ConfigError(f"{self.path}: the earlier key cannot be put aside ({error.strerror})") from error
        return stamp

    def restore_key(self, stamp: str) -> None:
        """Brings back what :meth:`retire_key` put aside, in place of a key that the coordinator did not take."""
        shutil.rmtree(self.key.parent, ignore_errors=True)
        (self.path / f"keys-until-{stamp}").rename(self.key.parent)
        if (self.path / f"{NODE_ID}-until-{stamp}").exists():
            (self.path / f"{NODE_ID}-until-{stamp}").replace(self.path / NODE_ID)
        (self.path / f"connection-until-{stamp}.yaml").rename(self.path / CONNECTION)

    def write_settings(self, kit: Kit) -> bool:
        """Writes the certificate, and ``site.yaml`` if there is none; returns whether it did the latter."""
        make_private_folder(self.path)
        write_bytes(self.certificate, kit.certificate)
        if self.site.exists():
            return False
        write_bytes(self.site, kit.site)
        return True

    def open_key(self, site: str) -> str:
        """The public line of this node's key, which is made if there is none.

        A key that is there was left by an init that did not come to its end; it is used again.

        Raises:
            ConfigError: if the key there cannot be used, or others may read it.
        """
        make_private_folder(self.key.parent)
        if not self.key.exists():
            try:
                write_private(self.key, private_file(new_key()))
            except FileExistsError as error:
                raise ConfigError(f"{self.key}: another init is running in this folder; wait for it") from error
        if readable_by_others(self.key):
            raise ConfigError(
                f"{self.key}: others on this machine can read the key. Delete {self.key.parent} and try again, and a "
                "new key is made"
            )
        try:
            line = public_line(read_private_file(self.key.read_bytes()))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.key}: cannot be used ({error}). Move {self.key.parent} away and try again, and a new key is "
                "made"
            ) from error
        write_bytes(self.key.with_suffix(".pub"), f"{line} {site}\n".encode())
        return line

    def write_identity(self, certificate: str) -> None:
        """Keeps the certificate that the coordinator made for this node's key, together with the key."""
        key = read_private_file(self.key.read_bytes())
        write_private(self.key.with_suffix(".pem"), identity_file(key, certificate.encode()), replace=True)


def _site_name(file: Path) -> str:
    try:
        values = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read; put it right, or move it away and a new one is written") from error
    return str(values.get("name")) if isinstance(values, dict) else "without a name"
