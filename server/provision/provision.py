"""Provisioning: makes what is missing, and leaves alone what is there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509

from common.errors import ConfigError
from common.protocol.enrolment import KitDescription, split_address
from common.protocol.question_keys import public_text
from common.system.private_files import make_private_folder
from server.provision.authority import Authority, make_server_certificate, open_authority, read_server_certificate
from server.provision.federation import FederationSettings, InvitedSite
from server.provision.kit import write_kit
from server.provision.question_key import make_question_key, read_question_key
from server.provision.registry import QuestionKeyRecord, Registry, RegistryFile, utc_now


@dataclass(frozen=True)
class Places:
    """Where a federation's files lie, below one folder of mode 0700.

    Attributes:
        folder: that folder. Back it up, and keep the backup as safe as the folder.
    """

    folder: Path

    @property
    def authority(self) -> Path:
        """``ca.key``, ``ca.crt``."""
        return self.folder / "authority"

    @property
    def server(self) -> Path:
        """``server.key``, ``server.crt``."""
        return self.folder / "server"

    @property
    def questions(self) -> Path:
        """The private key that signs questions to hospitals."""
        return self.folder / "questions.key"

    @property
    def registry(self) -> RegistryFile:
        """The list of sites."""
        return RegistryFile(self.folder / "registry.json")

    def kit(self, site: str) -> Path:
        """The start-up kit of a site."""
        return self.folder / "kits" / f"{site}.zip"


@dataclass(frozen=True)
class Changes:
    """What is to be done beside adding what is missing.

    Attributes:
        renew: sites that get a new token, and with it a new kit.
        revoke: sites that are shut out.
        renew_server: whether the server gets a new key and certificate.
    """

    renew: Sequence[str] = ()
    revoke: Sequence[str] = ()
    renew_server: bool = False


@dataclass
class Provisioned:
    """What was done.

    Attributes:
        authority: the federation's.
        server: the server's certificate.
        new_authority: whether it was made now.
        new_server: likewise.
        new_questions: likewise, the key that signs questions.
        kits: the SHA-256 of each kit that was written, by site.
        revoked: sites that were shut out now.
        registry: as it is now.
    """

    authority: Authority
    server: x509.Certificate
    new_authority: bool
    new_server: bool
    new_questions: bool
    kits: dict[str, str] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    registry: Registry = field(default_factory=lambda: Registry(federation=""))


def provision(
    settings: FederationSettings, places: Places, changes: Changes | None = None, now: datetime | None = None
) -> Provisioned:
    """Makes the authority, a server certificate and a kit for each new site; what is there is left alone.

    Args:
        settings: of ``federation.yaml``.
        places: where everything goes.
        changes: what is to be done besides.
        now: the time, for tests.

    Raises:
        ConfigError: if a site that is to be renewed or revoked is not known, or files are missing or do not match.
            Nothing was changed then.
    """
    changes, now = changes or Changes(), now or utc_now()
    host, _ = split_address(settings.address)
    make_private_folder(places.folder)
    new_authority = not (places.authority / "ca.crt").exists()
    if not new_authority and not places.registry.exists():
        raise ConfigError(
            f"{places.registry.path}: is missing, although the authority is there; put it back from your backup. "
            "Without it nobody knows which sites have joined: provision into a new folder (--out) to begin anew"
        )
    # The list comes first: an authority without it means that it was lost.
    places.registry.create(settings.name)
    with places.registry.edit() as registry:
        _check(settings, registry, changes, places)
        authority = open_authority(places.authority, settings.name, settings.validity.authority, now)
        new_questions = registry.questions is None
        _open_question_key(places, registry, now)
        certificate = None if changes.renew_server else read_server_certificate(places.server, authority, host)
        done = Provisioned(
            authority=authority,
            server=certificate
            or make_server_certificate(places.server, authority, host, settings.validity.server, now),
            new_authority=new_authority,
            new_server=certificate is None,
            new_questions=new_questions,
        )
        for name in changes.revoke:
            registry.revoke(name, now)
            places.kit(name).unlink(missing_ok=True)
            done.revoked.append(name)
        for site in settings.sites:
            if site.name not in registry.sites or site.name in changes.renew:
                done.kits[site.name] = _invite(site, settings, registry, places, authority, now)
        done.registry = registry
    return done


def _open_question_key(places: Places, registry: Registry, now: datetime) -> None:
    """Makes the key that signs questions where there was never one; otherwise it must be the one that kits name.

    Raises:
        ConfigError: if it is missing, unusable or another.
    """
    file = places.questions
    # A key that lies alone was written by a run that did not come to its end.
    new = registry.questions is None and not file.exists()
    public = public_text(make_question_key(file) if new else read_question_key(file))
    if registry.questions is None:
        registry.questions = QuestionKeyRecord(public=public, made=now)
    elif registry.questions.public != public:
        raise ConfigError(
            f"{file}: is not the key of {places.registry.path}; put both back from one and the same backup"
        )


def _check(settings: FederationSettings, registry: Registry, changes: Changes, places: Places) -> None:
    if registry.federation != settings.name:
        raise ConfigError(
            f"{places.registry.path}: belongs to the federation {registry.federation}, not to {settings.name}; choose "
            "another folder with --out, or put the name in federation.yaml right"
        )
    named = {site.name for site in settings.sites}
    for site in changes.renew:
        if site not in named:
            raise ConfigError(
                f"--renew {site}: federation.yaml names no such site; it names {', '.join(sorted(named))}"
            )
    for site in changes.revoke:
        if site not in registry.sites:
            known = ", ".join(sorted(registry.sites)) or "none yet"
            raise ConfigError(f"--revoke {site}: no such site was ever provisioned; known: {known}")
        if site in changes.renew:
            raise ConfigError(f"{site}: cannot be renewed and revoked at once; choose one")


def _invite(
    site: InvitedSite,
    settings: FederationSettings,
    registry: Registry,
    places: Places,
    authority: Authority,
    now: datetime,
) -> str:
    """Writes a site's kit; the registry, which knows its token, is written after it."""
    token = registry.invite(site.name, site.organ, settings.validity.token, now)
    assert registry.questions is not None
    description = KitDescription(
        federation=settings.name,
        site=site.name,
        address=settings.address,
        made=now,
        token_expires=registry.sites[site.name].token.expires,
        questions=registry.questions.public,
        organ=site.organ,
        reader=site.reader,
    )
    write_kit(places.kit(site.name), description, token, authority.pem)
    return hashlib.sha256(places.kit(site.name).read_bytes()).hexdigest()
