"""``connection.yaml``: what a node needs to find its coordinator. It is written when the site has joined."""

import ssl
from pathlib import Path

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConfigError
from common.protocol.enrolment import FEDERATION_NAME, SITE_NAME, Address
from common.protocol.question_keys import QuestionKey
from common.system.files import write_bytes
from common.system.safe_yaml import read_yaml, yaml_problem

FILE = "connection.yaml"
JOINING = "joining"
"""The folder in which an ``init`` keeps what it makes until all of it changes places with what is in use."""

HEADER = "# Written by oncofed-client init. Only `address` may need a change, if the coordinator moves.\n"


class Connection(BaseModel):
    """A site's connection to its federation.

    Attributes:
        federation: its name.
        site: this site's name.
        address: of the SuperLink, ``host:port``.
        certificate: the only authority that is trusted to name the coordinator.
        key: the private key that this node proves itself with; ``<key>.pub`` is its public half.
        identity: the same key, and the certificate by which the coordinator's proxy knows it, as one PEM file.
        questions: the key that the coordinator's questions are signed with; None if the site joined before they were.
        enrolled: when.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    federation: str = Field(pattern=FEDERATION_NAME)
    site: str = Field(pattern=SITE_NAME)
    address: Address
    certificate: Path = Path("ca.crt")
    key: Path = Path("keys/node")
    identity: Path = Path("keys/node.pem")
    questions: QuestionKey | None = None
    enrolled: AwareDatetime


def save_connection(connection: Connection, folder: Path) -> None:
    """Writes ``connection.yaml`` into a node's folder; its paths count from there."""
    values = connection.model_dump(mode="json")
    write_bytes(folder / FILE, (HEADER + yaml.safe_dump(values, sort_keys=False)).encode())


def load_connection(folder: Path) -> Connection:
    """The connection in a node's folder, its paths made absolute.

    Raises:
        ConfigError: if the site has not joined yet, or not to the end, or the file is damaged.
    """
    if (folder / JOINING / FILE).exists():
        raise ConfigError(
            f"{folder}: an init was interrupted when the coordinator had said yes; give the same command again, and it "
            "puts the new key in its place"
        )
    read, here = read_connection(folder / FILE), folder.resolve()
    return read.model_copy(update={name: here / getattr(read, name) for name in ("certificate", "key", "identity")})


def trusting_context(authority: Path, identity: Path) -> ssl.SSLContext:
    """TLS that trusts ``authority`` and no other, and shows the certificate in ``identity`` to it.

    Raises:
        ConfigError: if one of the files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(identity)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{identity}: the node's certificate, or {authority.name} beside it, cannot be used ({error}); put both "
            "back from your backup, or ask the coordinator for a new kit (init --new-key)"
        ) from error
    return context


def require_question_key(connection: Connection, folder: Path) -> str:
    """The key that the coordinator's questions are signed with.

    Raises:
        ConfigError: if the site joined before questions were signed.
    """
    if connection.questions is None:
        raise ConfigError(
            f"{folder / FILE}: questions: is missing, the key by which this site knows the coordinator's questions; it "
            "joined before they were signed. Ask the coordinator for a new kit (oncofed-server provision --renew "
            f"{connection.site}), and join again: oncofed-client init KIT.zip --folder {folder} --new-key"
        )
    return connection.questions


def read_connection(file: Path) -> Connection:
    """The connection in ``file``, its paths as they stand there.

    Raises:
        ConfigError: if it is missing or damaged.
    """
    try:
        return Connection.model_validate(read_yaml(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: is missing; join first, with oncofed-client init KIT.zip --folder {file.parent}"
        ) from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{file}: {problems}; put it right, or back from your backup") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{file}: cannot be read ({yaml_problem(error)}); put it right, or back from a backup"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: cannot be read ({str(error).splitlines()[0]}); put it back from a backup"
        ) from error
