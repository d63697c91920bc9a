"""Opens a start-up kit; nothing of it is used before all of it was checked."""

import hashlib
import hmac
import io
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from pydantic import ValidationError

from common.errors import ConfigError
from common.protocol.enrolment import TOKEN, KitDescription, KitFile, checksums
from common.system.outside import printable
from common.system.safe_json import model_from_json

LARGEST_KIT = 1_000_000
LARGEST_FILE = 100_000
"""Bytes; a kit has a few thousand."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far this machine's clock may be behind the one by which the kit was made."""

ANEW = "ask the coordinator to send the kit again"


@dataclass(frozen=True)
class Kit:
    """A start-up kit whose files are what its checksums say.

    Attributes:
        description: whom it is for.
        token: its one-time token.
        certificate: the authority's certificate, as PEM.
        sha256: of the whole kit.
    """

    description: KitDescription
    token: str
    certificate: bytes
    sha256: str = field(compare=False)


def open_kit(path: Path, sha256: str | None = None) -> Kit:
    """Reads and checks a kit.

    Checksums inside a file show that it arrived whole, not who made it: for that the coordinator tells the hash of the
    whole kit over another channel.

    Args:
        path: the zip file.
        sha256: what its hash must be, in hexadecimal.

    Raises:
        ConfigError: if it cannot be read, was changed or is damaged, or if this machine's clock is behind it.
    """
    try:
        if path.stat().st_size > LARGEST_KIT:
            raise ConfigError(f"{path}: is too large to be a start-up kit; check that it is the right file")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the kit cannot be read ({error.strerror}); check the path") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None:
        wanted = re.sub(r"[\s:]", "", sha256).lower()
        if not hmac.compare_digest(found, wanted):
            raise ConfigError(
                f"{path}: its SHA-256 is {found}, not the one given: it is not the kit that the coordinator made. Do "
                f"not use it; {ANEW}"
            )
    files = _files(path, content)
    kit = _parsed(path, files, found)
    if kit.description.made > datetime.now(UTC) + CLOCK_TOLERANCE:
        raise ConfigError(
            f"this machine's clock says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, but {path} was made at "
            f"{kit.description.made.astimezone(UTC):%Y-%m-%d %H:%M} UTC; set the clock (NTP) and try again"
        )
    return kit


def _files(path: Path, content: bytes) -> dict[str, bytes]:
    """The kit's files, which are neither more nor fewer than they should be, and have the right checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(name.value for name in KitFile):
                raise ConfigError(f"{path}: does not hold the files of a start-up kit; check the file, or {ANEW}")
            if any(entry.file_size > LARGEST_FILE for entry in entries):
                raise ConfigError(f"{path}: holds a file too large for a start-up kit; {ANEW}")
            files = {entry.filename: archive.read(entry) for entry in entries}
    except (
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        NotImplementedError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        raise ConfigError(f"{path}: is damaged or not a zip file ({error}); {ANEW}") from error
    stated = files.pop(KitFile.CHECKSUMS)
    if stated != checksums(files):
        changed = [name for name in sorted(files) if checksums({name: files[name]}).strip() not in stated.splitlines()]
        raise ConfigError(
            f"{path}: was changed on its way ({', '.join(changed) or KitFile.CHECKSUMS} differs from its checksum). Do "
            f"not use it; {ANEW}"
        )
    return files


def _parsed(path: Path, files: dict[str, bytes], sha256: str) -> Kit:
    try:
        description = model_from_json(KitDescription, files[KitFile.DESCRIPTION])
        x509.load_pem_x509_certificate(files[KitFile.CERTIFICATE])
        token = files[KitFile.TOKEN].decode("ascii").strip()
        if not re.fullmatch(TOKEN, token):
            raise ValueError("the token has the wrong form")
    except (ValidationError, ValueError) as error:
        what = _what(error) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(
            f"{path}: cannot be understood ({what}); it may be of another version of oncofed than this machine's: "
            "agree on one with the coordinator"
        ) from error
    return Kit(description, token, files[KitFile.CERTIFICATE], sha256)


def _what(error: ValidationError) -> str:
    """The first fault of a description, with its key."""
    fault = error.errors()[0]
    return ": ".join([*(printable(part, 60) for part in fault["loc"]), str(fault["msg"])])
