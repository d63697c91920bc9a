"""Whether another hospital has the same patients, found out without a name: keyed hashes that a coordinator compares.

The key is a secret of the hospitals (``shared_patients_key`` in ``site.yaml``): who has none learns of a list how many
of its hashes another list holds, and an upper bound of its length. Who has the key and the list can try IDs. So where
answers are guarded nothing is sent: that somebody is a patient here is what is protected.
"""

import hashlib
import hmac
import re
import secrets
import unicodedata
from pathlib import Path

from client.data.site_data import SiteData
from client.hello.notes import Notes
from common.errors import ConfigError, RefusalError
from common.protocol.records import LEAST_TOKENS, MOST_TOKENS, PatientTokens
from common.system.private_files import make_private_folder, write_private

_LEAST_BYTES = 32
_LEAST_KINDS = 8
"""Different bytes of a key: a file of zeros, or of one word again and again, is none."""
_PADDING = ".shared-patients-padding"


def patient_tokens(data: SiteData, notes: Notes) -> PatientTokens | None:
    """The hashes of this site's patients for one study; None where they are not to be compared, which a note may say.

    Raises:
        ConfigError: if the key cannot be used.
        RefusalError: if there are more patients than a list holds.
    """
    file = data.study.settings.shared_patients_key
    if file is None:
        return None
    if data.study.guarded:
        notes.append("its patients are not compared with other hospitals': who is a patient there would be told")
        return None
    if not data.cohort.patients_known:
        notes.append("its patients are not compared with other hospitals': its images name none")
        return None
    key = read_key(file)
    names = [part.patient for patient in data.cohort.patients for part in getattr(patient, "parts", (patient,))]
    if len(names) >= MOST_TOKENS:
        raise RefusalError("it has more patients than can be compared with other hospitals'")
    found = {_token(key, data.study.run, "patient", normalised(name)) for name in names}
    length = max(LEAST_TOKENS, 1 << len(found).bit_length())
    # The same each time a study asks: what two lists have in common would be the patients.
    own = _own_secret(data.study.settings.folder)
    number = 0
    while len(found) < length:
        found.add(_token(own, data.study.run, "padding", str(number)))
        number += 1
    return PatientTokens(key=_token(key, data.study.run, "key", ""), tokens=sorted(found))


def normalised(name: str) -> str:
    """A patient's ID without what differs between two systems that mean the same: case, spaces, punctuation, width.

    >>> normalised(" 0815-AB "), normalised("0815ab")
    ('0815ab', '0815ab')
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\W_]+", "", text) or text


def read_key(file: Path) -> bytes:
    """The key in ``file``, without white space around it: a line's end differs from machine to machine.

    Raises:
        ConfigError: if it cannot be read, or can be guessed.
    """
    prefix = f"site.yaml: shared_patients_key: {file}"
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{prefix}: cannot be read ({error.strerror}); name the file that hospitals share") from error
    if len(key) < _LEAST_BYTES or len(set(key)) < _LEAST_KINDS:
        raise ConfigError(
            f"{prefix}: can be guessed; it needs at least {_LEAST_BYTES} random bytes, e.g. openssl rand -hex 32 > "
            f"{file.name}, handed to the other hospitals and not through the coordinator"
        )
    return key


def _token(key: bytes, run: str, kind: str, text: str) -> str:
    """64 bits of HMAC-SHA256. Hashes of two studies have nothing in common: no patient can be followed."""
    return hmac.new(key, f"{run}\x1f{kind}\x1f{text}".encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:16]


def _own_secret(folder: Path) -> bytes:
    """A secret of this site alone, made once: other hospitals have the key, and must not tell padding by it."""
    file = folder / _PADDING
    if not file.exists():
        make_private_folder(folder)
        write_private(file, secrets.token_bytes(_LEAST_BYTES), replace=True)
    return file.read_bytes()
