"""``connection.yaml``: what a node needs to find its coordinator. It is written when the site has joined."""

from pathlib import Path

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from common.enrolment import FEDERATION_NAME, SITE_NAME, Address
from common.errors import ConfigError
from common.files import write_bytes
from common.safe_yaml import read_yaml

FILE = "connection.yaml"

HEADER = "# Written by oncofed-client init. Only `address` may need a change, if the coordinator moves.\n"


class Connection(BaseModel):
    """A site's connection to its federation.

    Attributes:
        federation: its name.
        site: this site's name.
        address: of the SuperLink, ``host:port``.
        certificate: the only authority that is trusted to name the coordinator.
        key: the private key that this node proves itself with; ``<key>.pub`` is its public half.
        enrolled: when.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    federation: str = Field(pattern=FEDERATION_NAME)
    site: str = Field(pattern=SITE_NAME)
    address: Address
    certificate: Path = Path("ca.crt")
    key: Path = Path("keys/node")
    enrolled: AwareDatetime


def save_connection(connection: Connection, folder: Path) -> None:
    """Writes ``connection.yaml`` into a node's folder; its paths count from there."""
    values = connection.model_dump(mode="json")
    write_bytes(folder / FILE, (HEADER + yaml.safe_dump(values, sort_keys=False)).encode())


def load_connection(folder: Path) -> Connection:
    """The connection in a node's folder, its paths made absolute.

    Raises:
        ConfigError: if the site has not joined yet, or the file is damaged.
    """
    file = folder / FILE
    try:
        values = read_yaml(file.read_text(encoding="utf-8"))
        read = Connection.model_validate(values)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: is missing; join first, with oncofed-client init KIT.zip --folder {folder}"
        ) from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{file}: {problems}; put it right, or back from your backup") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{file}: cannot be read ({str(error).splitlines()[0]}); put it back from a backup"
        ) from error
    here = folder.resolve()
    return read.model_copy(update={"certificate": here / read.certificate, "key": here / read.key})
