"""The coordinator's list of sites: who was invited, who has joined with which key, who is shut out.

One JSON file. It is the only place that knows: Flower's SuperLink runs in memory and is told from here which keys to
let in. A token itself is never in it, only its hash.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from common.errors import ConfigError
from common.protocol.question_keys import QuestionKey
from common.system.file_lock import locked
from common.system.files import write_json
from common.system.private_files import make_private_folder
from common.system.safe_json import model_from_json


class TokenRecord(BaseModel):
    """What is kept of an enrolment token.

    Attributes:
        hash: SHA-256 in hexadecimal. The token holds 256 random bits, so a plain hash cannot be turned back.
        made: when.
        expires: from then on it is refused.
        used: when a site enrolled with it; None if none has.
    """

    model_config = ConfigDict(extra="forbid")

    hash: str
    made: AwareDatetime
    expires: AwareDatetime
    used: AwareDatetime | None = None


class KeyRecord(BaseModel):
    """The key that a site's node has.

    Attributes:
        public: one line as of :func:`common.protocol.node_keys.public_line`.
        enrolled: when.
    """

    model_config = ConfigDict(extra="forbid")

    public: str
    enrolled: AwareDatetime


class SiteRecord(BaseModel):
    """One site.

    Attributes:
        organ: as in ``federation.yaml`` when it was invited.
        state: ``invited`` (has no key yet), ``enrolled`` or ``revoked``.
        token: the newest one.
        key: the one that may connect; None unless ``enrolled``.
        retired: earlier keys; none of them is ever taken again.
        revoked: when it was last revoked.
    """

    model_config = ConfigDict(extra="forbid")

    organ: str
    state: Literal["invited", "enrolled", "revoked"] = "invited"
    token: TokenRecord
    key: KeyRecord | None = None
    retired: list[str] = []
    revoked: AwareDatetime | None = None


class QuestionKeyRecord(BaseModel):
    """The key that signs questions to hospitals.

    Attributes:
        public: as it stands in kits.
        made: when; a kit of before does not hold it.
    """

    model_config = ConfigDict(extra="forbid")

    public: QuestionKey
    made: AwareDatetime


class Registry(BaseModel):
    """All sites of a federation.

    Attributes:
        version: of the file's format.
        federation: its name.
        questions: the key that signs questions to hospitals; None before it was made.
        sites: by name.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    federation: str
    questions: QuestionKeyRecord | None = None
    sites: dict[str, SiteRecord] = {}

    def before_questions(self, site: str) -> bool:
        """Whether the newest kit of ``site`` was made before there was a key that signs questions."""
        return self.questions is not None and self.sites[site].token.made < self.questions.made

    def revoke(self, site: str, now: datetime) -> None:
        """Shuts ``site`` out: its key is retired and its token is void. Others are not touched."""
        record = self.sites[site]
        if record.key is not None:
            record.retired.append(record.key.public)
            record.key = None
        record.state = "revoked"
        record.revoked = now

    def invite(self, site: str, organ: str, days: int, now: datetime) -> str:
        """A new token for a site, new or known; an earlier one is void. An enrolled site's key stays until it is used.

        Returns:
            The token, which is kept nowhere.
        """
        token = secrets.token_urlsafe(32)
        kept = TokenRecord(hash=token_hash(token), made=now, expires=now + timedelta(days=days))
        record = self.sites.get(site)
        if record is None:
            self.sites[site] = SiteRecord(organ=organ, token=kept)
        else:
            record.token = kept
            if record.state == "revoked":
                record.state = "invited"
        return token


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def utc_now() -> datetime:
    """Now, to the second: times are for people to read."""
    return datetime.now(UTC).replace(microsecond=0)


class RegistryFile:
    """A registry on disk, changed by one process or thread at a time.

    Args:
        path: the JSON file; ``<path>.lock`` beside it is held meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether it was ever written."""
        return self.path.exists()

    def create(self, federation: str) -> None:
        """Writes a registry without sites, unless there is one.

        Raises:
            ConfigError: if it cannot be written.
        """
        with self._locked():
            if not self.exists():
                self._write(Registry(federation=federation))

    def read(self) -> Registry:
        """The registry as it is now.

        Raises:
            ConfigError: if it is missing or damaged.
        """
        try:
            return model_from_json(Registry, self.path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"{self.path}: the list of sites cannot be read ({error.strerror}); provision the federation first, or "
                "put the file back from your backup"
            ) from error
        except ValidationError as error:
            raise ConfigError(
                f"{self.path}: is damaged ({error.errors()[0]['msg']}); put it back from your backup"
            ) from error

    @contextmanager
    def edit(self) -> Iterator[Registry]:
        """The registry, to be changed; written when the block ends, and left as it was if the block raises.

        Raises:
            ConfigError: if it is missing or damaged, or cannot be written.
        """
        with self._locked():
            registry = self.read()
            before = registry.model_dump_json()
            yield registry
            if registry.model_dump_json() != before:
                self._write(registry)

    def _write(self, registry: Registry) -> None:
        try:
            write_json(self.path, json.loads(registry.model_dump_json()))
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be written ({error.strerror}); nothing was changed. Make room on the disk, or "
                "let this user write there"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            make_private_folder(lock.parent)
            held = ExitStack()
            held.enter_context(locked(lock))
        except OSError as error:
            raise ConfigError(f"{lock}: cannot be opened ({error.strerror}); let this user write there") from error
        with held:
            yield
