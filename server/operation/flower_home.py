"""The folder in which Flower finds this federation's SuperLink, and keeps nothing that must last."""

import os
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from common.system.child_process import reaching_itself
from common.system.files import write_bytes
from common.system.private_files import make_private_folder
from server.provision.provision import Places

SUPERLINK = "federation"
"""The SuperLink's name in Flower's configuration; there is one."""

NODES = "nodes.json"
"""In Flower's home: its number of each site's node, as the running server registered it."""


@dataclass(frozen=True)
class FlowerHome:
    """Flower's home of one federation.

    Attributes:
        places: of the federation.
        port: of the SuperLink on this machine.
    """

    places: Places
    port: int

    @property
    def path(self) -> Path:
        """The folder."""
        return self.places.folder / "flower"

    @property
    def authority(self) -> Path:
        """Whose certificates are trusted on this machine's own connections."""
        return self.places.authority / "ca.crt"

    def prepare(self) -> None:
        """Makes the folder and writes Flower's configuration."""
        make_private_folder(self.path)
        text = (
            f'[superlink]\ndefault = "{SUPERLINK}"\n\n[superlink.{SUPERLINK}]\naddress = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{self.authority.resolve()}"\n'
        )
        write_bytes(self.path / "config.toml", text.encode())

    def environment(self) -> dict[str, str]:
        """What Flower's programs are started with: our own ``flwr``, this home, no reports to anyone."""
        own = Path(sys.executable).parent
        return {
            **reaching_itself(os.environ),
            # Flower starts programs of its own by name.
            "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "FLWR_HOME": str(self.path.resolve()),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def asks(self, method: str, path: str) -> Any:
        """What the running SuperLink answers on this machine; None if it does not answer, or not with JSON.

        Args:
            method: ``GET`` or ``POST``.
            path: e.g. ``/oncofed/nodes``.
        """
        trust = ssl.create_default_context(cafile=str(self.authority))
        try:
            with httpx.Client(verify=trust, trust_env=False, timeout=10) as client:
                response = client.request(method, f"https://127.0.0.1:{self.port}{path}")
                return response.json() if response.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None
