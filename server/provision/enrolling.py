"""The decision whether a site is enrolled: pure rules on the registry, without a network."""

import hmac
from dataclasses import dataclass
from datetime import datetime

from common.protocol.enrolment import EnrolmentRequest, Refusal
from common.protocol.node_keys import checked_public_line
from server.provision.registry import KeyRecord, Registry, RegistryFile, token_hash


class EnrolmentRefusedError(Exception):
    """A site is not enrolled. It says nothing about other sites, not even whether they exist.

    Args:
        reason: the word that travels.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Enrolled:
    """A site that may connect.

    Attributes:
        site: its name.
        public_key: one line.
        again: whether it had been enrolled with this token and key before, and lost the answer.
    """

    site: str
    public_key: str
    again: bool


def enrol(file: RegistryFile, request: EnrolmentRequest, now: datetime) -> Enrolled:
    """Enrols a site and uses up its token, in one step on the disk.

    The same token with the same key is answered again, so that an answer lost on the way does no harm. With another
    key it is refused: then somebody else has used it.

    Args:
        file: the registry.
        request: what the site sent.
        now: the time at the coordinator.

    Raises:
        EnrolmentRefusedError: saying why not; nothing was changed.
        ConfigError: if the registry cannot be read or written.
    """
    with file.edit() as registry:
        record = registry.sites.get(request.site)
        # Compared also where there is no such site, so that the answer's time does not tell.
        known = hmac.compare_digest(token_hash(request.token), record.token.hash if record else token_hash(""))
        if record is None or not known:
            raise EnrolmentRefusedError(Refusal.UNKNOWN_TOKEN)
        try:
            key = checked_public_line(request.public_key)
        except ValueError as error:
            raise EnrolmentRefusedError(Refusal.KEY_TYPE) from error
        if record.state == "revoked":
            raise EnrolmentRefusedError(Refusal.REVOKED)
        if record.token.used is not None:
            if record.key is not None and record.key.public == key:
                return Enrolled(request.site, key, again=True)
            raise EnrolmentRefusedError(Refusal.USED_TOKEN)
        if record.token.expires <= now:
            raise EnrolmentRefusedError(Refusal.EXPIRED_TOKEN)
        if _was_used(registry, key):
            raise EnrolmentRefusedError(Refusal.KEY_IN_USE)
        if record.key is not None:
            record.retired.append(record.key.public)
        record.key = KeyRecord(public=key, enrolled=now)
        record.token.used = now
        record.state = "enrolled"
    return Enrolled(request.site, key, again=False)


def _was_used(registry: Registry, key: str) -> bool:
    """Whether any site has, or ever had, this key: a key names one site, and a retired one stays retired."""
    return any(
        key in record.retired or (record.key is not None and record.key.public == key)
        for record in registry.sites.values()
    )
