"""The private half of the key with which this coordinator signs its questions to hospitals.

Its public half is in every kit. Who has it, and a way to a node, can ask that node as the coordinator does; without
it every site needs a new kit.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ConfigError
from common.system.private_files import readable_by_others, write_private


def make_question_key(file: Path) -> Ed25519PrivateKey:
    """A new key, in a file of mode 0600 that is not there yet."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(file, pem)
    return key


def read_question_key(file: Path) -> Ed25519PrivateKey:
    """The key in ``file``.

    Raises:
        ConfigError: if it is missing or unusable, or others may read it.
    """
    try:
        if readable_by_others(file):
            raise ConfigError(f"{file}: others can read the key; `chmod 600 {file}` if nobody has")
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{file}: the key that signs questions to hospitals cannot be read; put it back from your backup. Without "
            "it every site needs a new kit, from a new folder (--out)"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{file}: is not an Ed25519 key; put the key that signs questions back from your backup")
    return key
