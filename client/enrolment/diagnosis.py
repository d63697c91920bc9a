"""Why a coordinator could not be reached, or is not trusted: from an exception to a sentence with the way out."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx

from common.system.outside import quoted

_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_HOST, _OTHER_ADDRESS = 62, 64
_OF_NAME_OR_TIME = {_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS}
"""OpenSSL's X509_V_ERR_ numbers."""


def not_reached(address: str, error: httpx.HTTPError) -> str:
    """What went wrong on the way to ``address``, and what to do about it; no full stop at the end."""
    if (untrusted := distrust(error)) is not None:
        return not_trusted(address, untrusted)
    if isinstance(error, httpx.ProxyError):
        return (
            f"{address}: the proxy that HTTPS_PROXY names did not open a way ({quoted(error)}); ask your network's "
            f"people to allow CONNECT to {address}"
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes(error)):
        return (
            f"{address} was reached but does not speak TLS as it should ({error}); ask the coordinator whether the "
            "address and port are right"
        )
    return (
        f"{address} cannot be reached ({str(error) or type(error).__name__}); check the name and port, that your "
        f"firewall lets this machine connect to {address}, whether HTTPS_PROXY must be set, and that the coordinator's "
        "server is running"
    )


def not_trusted(address: str, error: ssl.SSLCertVerificationError) -> str:
    """Why the certificate at ``address`` is not accepted, and what to do about it; no full stop at the end."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if error.verify_code == _EXPIRED:
        return (
            f"{address}: the server's certificate has expired. This machine's clock says {now}: if that is right, the "
            "coordinator must make a new one (oncofed-server provision --renew-server); otherwise set the clock (NTP)"
        )
    if error.verify_code == _NOT_YET_VALID:
        return (
            f"{address}: the server's certificate is not valid yet, so this machine's clock ({now}) is behind, or the "
            "coordinator's was ahead; set the clock (NTP)"
        )
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        return (
            f"{address}: the server's certificate is for another name; the coordinator must make one for this address "
            "(oncofed-server provision --renew-server)"
        )
    return (
        f"{address}: the server's certificate was not signed by the authority in the kit ({error.verify_message}). "
        "Either something on the way inspects TLS, then have this address excepted from it; or another server answers "
        "there, then ask the coordinator"
    )


def distrust(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The certificate's fault among the causes of ``error``; None if that was not it."""
    found = (cause for cause in causes(error) if isinstance(cause, ssl.SSLCertVerificationError))
    return next(found, None)


def of_another_authority(error: ssl.SSLCertVerificationError) -> bool:
    """Whether somebody else signed the certificate: neither its name nor its time is what is wrong."""
    return error.verify_code not in _OF_NAME_OR_TIME


def fault_of(error: ssl.SSLCertVerificationError) -> str:
    """The fault in a word: ``expired``, ``not_yet_valid``, ``other_name`` or ``other_authority``."""
    known = {
        _EXPIRED: "expired",
        _NOT_YET_VALID: "not_yet_valid",
        _OTHER_HOST: "other_name",
        _OTHER_ADDRESS: "other_name",
    }
    return known.get(error.verify_code, "other_authority")


def causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it came from, one after another."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
