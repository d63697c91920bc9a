"""The key with which a coordinator signs what it asks of hospitals: Ed25519, told in 44 characters of base64."""

import base64
import binascii
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import AfterValidator


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half as it stands in a kit."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """The key that :func:`public_text` told.

    Raises:
        ValueError: if it is none.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ValueError("not an Ed25519 key in base64") from error


def _checked(text: str) -> str:
    public_key(text)
    return text


QuestionKey = Annotated[str, AfterValidator(_checked)]
"""A public key in the form of :func:`public_text`."""
