"""The key by which a site's node is known: ECDSA on NIST P-384, written as OpenSSH does, which Flower requires."""

import base64
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CURVE = ec.SECP384R1
LONGEST_LINE = 1024
"""Characters; a P-384 key takes about 160 and a comment."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key, from the operating system's randomness."""
    return ec.generate_private_key(CURVE())


def private_file(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as an OpenSSH private key file without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def read_private_file(content: bytes) -> ec.EllipticCurvePrivateKey:
    """The key in an OpenSSH private key file.

    Raises:
        ValueError: if it is something else, has a passphrase, or is of another type.
    """
    try:
        key = serialization.load_ssh_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not an OpenSSH private key without a passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVE):
        raise ValueError("not an ECDSA key on P-384")
    return key


def public_line(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half as one line, ``ecdsa-sha2-nistp384 AAAA…``, without a comment."""
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def checked_public_line(text: str) -> str:
    """A public key of the right type in its one form, without its comment, so that equal keys are equal texts.

    Raises:
        ValueError: if ``text`` is no OpenSSH public key or one of another type, a certificate included.
    """
    if len(text) > LONGEST_LINE or not text.isascii():
        raise ValueError("not an OpenSSH public key")
    try:
        key = serialization.load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("not an OpenSSH public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVE):
        raise ValueError("not an ECDSA key on P-384")
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def read_public_line(line: str) -> ec.EllipticCurvePublicKey:
    """The key of a line as of :func:`public_line`.

    Raises:
        ValueError: if it is something else.
    """
    key = serialization.load_ssh_public_key(checked_public_line(line).encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def key_serial(line: str) -> int:
    """The serial number of the certificate that belongs to a public key: 20 bytes, 152 bits of the key's SHA-256.

    >>> f"{key_serial('ecdsa-sha2-nistp384 AAAA'):040X}"
    '01709E80C88487A2411E1EE4DFB9F22A861492D2'
    """
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return int.from_bytes(b"\x01" + digest[:19])


def identity_file(key: ec.EllipticCurvePrivateKey, certificate: bytes) -> bytes:
    """Certificate and key in one PEM file, as OpenSSL wants them."""
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate + own


def fingerprint(line: str) -> str:
    """What ``ssh-keygen -l`` prints for a public key: ``SHA256:`` and 43 characters, for two people to compare.

    >>> fingerprint("ecdsa-sha2-nistp384 AAAA")
    'SHA256:cJ6AyISHokEeHuTfufIqhhSS0gxHZRUMDHlKvXD4FHw'
    """
    blob = base64.b64decode(line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
