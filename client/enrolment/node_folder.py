"""The folder of a site's node, and whether a kit may join in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from client.enrolment.connection import FILE as CONNECTION
from client.enrolment.connection import read_connection
from client.enrolment.kit import Kit
from client.site import load_site
from common.errors import ConfigError
from common.system.file_lock import locked
from common.system.private_files import make_private_folder
from common.system.safe_yaml import read_yaml


@dataclass(frozen=True)
class NodeFolder:
    """Where the files of a node lie.

    Attributes:
        path: the folder, mode 0700.
    """

    path: Path

    @property
    def site(self) -> Path:
        """The hospital's settings."""
        return self.path / "site.yaml"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds what a running node and another ``init`` hold.

        Raises:
            ConfigError: if one of them does.
        """
        make_private_folder(self.path)
        folders = {self.path.resolve()}
        if self.site.exists():
            folders.add(load_site(self.site).folder.resolve())
        with ExitStack() as held:
            for folder in sorted(folders):
                for name in ("start.lock", "node.lock"):
                    folder.mkdir(parents=True, exist_ok=True)
                    try:
                        held.enter_context(locked(folder / name, wait=False))
                    except BlockingIOError as error:
                        raise ConfigError(
                            f"{self.path}: its node runs, or another init does; stop it, or wait for it"
                        ) from error
            yield

    def require_own_settings(self, kit: Kit) -> None:
        """Refuses a ``site.yaml`` that is another site's, or cannot be used.

        Raises:
            ConfigError: saying why.
        """
        if not self.site.exists():
            return
        name = _site_name(self.site)
        if name != kit.description.site:
            raise ConfigError(
                f"{self.site}: is the site {name}, but the kit is for {kit.description.site}; choose another --folder, "
                "or put the name right"
            )
        load_site(self.site)

    def require_free(self, kit: Kit, *, new_key: bool) -> None:
        """Refuses a folder that has joined already, unless it is to get a new key for the same site and federation.

        Raises:
            ConfigError: saying why.
        """
        file = self.path / CONNECTION
        if not file.exists():
            return
        if not new_key:
            raise ConfigError(
                f"{self.path}: has joined a federation already, and its key is not overwritten. Choose another "
                "--folder; with a new kit, --new-key gives this site a new key and leaves all else as it is"
            )
        joined, brings = read_connection(file), kit.description
        if (joined.federation, joined.site) != (brings.federation, brings.site):
            raise ConfigError(
                f"{self.path}: has joined the federation {joined.federation} as {joined.site}, but the kit is for "
                f"{brings.site} in {brings.federation}; use the right kit, or another --folder"
            )


def _site_name(file: Path) -> str:
    try:
        values = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read; put it right, or move it away and a new one is written") from error
    return str(values.get("name")) if isinstance(values, dict) else "without a name"
