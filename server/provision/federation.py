"""``federation.yaml``: the coordinator's own file about who takes part and where they meet."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from common.errors import ConfigError
from common.imaging.names import ORGANS
from common.protocol.enrolment import FEDERATION_NAME, SITE_NAME, Address, Organ, Reader
from common.system.safe_yaml import read_yaml, yaml_problem


class InvitedSite(BaseModel):
    """A hospital that is to take part.

    Attributes:
        name: its logical name, the same in every study.
        organ: ``brain``, ``lung`` or ``liver``; proposed to the site, which may change it.
        reader: the format of its data, if it is known; likewise.
        patients: how many it has told the coordinator of, so that a study's plan can say what will be measured there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=SITE_NAME)
    organ: Organ
    reader: Reader | None = None
    patients: int | None = Field(default=None, ge=1)


class Validity(BaseModel):
    """How long things are valid, in days.

    Attributes:
        authority: the certificate authority; every kit trusts it, so it must outlive the federation.
        server: a server certificate.
        token: an enrolment token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    authority: int = Field(default=3650, ge=1, le=36500)
    server: int = Field(default=365, ge=1, le=3650)
    token: int = Field(default=14, ge=1, le=365)


class Serving(BaseModel):
    """Where the coordinator's programs listen, on the machine on which ``oncofed-server start`` runs.

    Attributes:
        listen: for hospitals, ``port`` or ``address:port``; without it, where ``address`` leads to on this machine.
        superlink: port of Flower's SuperLink; 127.0.0.1 only.
        enrolment: port of the enrolment service; 127.0.0.1 only.
        site_mib: MiB of answers that one site may have here and no study has fetched yet.
        memory_mib: the same of all sites together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str | None = Field(default=None, pattern=r"^(([0-9.]+|\[[0-9a-fA-F:]+\]):)?[0-9]{1,5}$")
    superlink: int = Field(default=18440, ge=1, le=65535)
    enrolment: int = Field(default=18441, ge=1, le=65535)
    site_mib: int = Field(default=1024, ge=16)
    memory_mib: int = Field(default=8192, ge=16)


class FederationSettings(BaseModel):
    """A federation as its coordinator describes it.

    Attributes:
        name: short and lower case; a kit and a hospital's connection carry it.
        address: host and port that hospitals reach, e.g. ``fed.example.org:443``.
        sites: those that take part.
        validity: of certificates and tokens.
        serve: ports of the coordinator's machine.
        reference: folder of the coordinator's reference set by organ; a relative one counts from the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=FEDERATION_NAME)
    address: Address
    sites: Annotated[list[InvitedSite], Field(min_length=1)]
    validity: Validity = Validity()
    serve: Serving = Serving()
    reference: dict[str, Path] = {}

    @field_validator("reference")
    @classmethod
    def _known_organs(cls, value: dict[str, Path]) -> dict[str, Path]:
        unknown = sorted(set(value) - set(ORGANS))
        if unknown:
            raise ValueError(f"no organ is called {', '.join(unknown)}; known organs are {', '.join(ORGANS)}")
        return value

    @field_validator("sites")
    @classmethod
    def _different_names(cls, value: list[InvitedSite]) -> list[InvitedSite]:
        names = [site.name for site in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return value


def load_federation(path: Path) -> FederationSettings:
    """The settings in a ``federation.yaml``.

    Raises:
        ConfigError: naming the file, the key and what is wrong with it.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); docs/provisioning.md shows an example") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML ({yaml_problem(error)})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a list of `key: value` lines; docs/provisioning.md shows an example")
    try:
        settings = FederationSettings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path}: {problems}") from error
    here = path.expanduser().resolve().parent
    reference = {organ: here / folder.expanduser() for organ, folder in settings.reference.items()}
    return settings.model_copy(update={"reference": reference})
