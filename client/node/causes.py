"""Why a node could not go on with its coordinator: found from the exception itself, told as a sentence of ours."""

import ssl
from enum import StrEnum

import httpx

from client.enrolment.diagnosis import causes, distrust, fault_of


class Cause(StrEnum):
    """What went wrong between a node and its coordinator."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    OTHER_NAME = "other_name"
    OTHER_AUTHORITY = "other_authority"
    TLS = "tls"
    UNKNOWN = "unknown"
    NOT_LET_IN = "not_let_in"
    TOO_OFTEN = "too_often"
    SERVER = "server"
    ANSWER = "answer"
    NETWORK = "network"


SENTENCES = {
    Cause.EXPIRED: "the coordinator's certificate has expired, or this machine's clock is wrong; oncofed-client doctor "
    "tells which",
    Cause.NOT_YET_VALID: "the coordinator's certificate is not valid yet: this machine's clock is behind; set it (NTP)",
    Cause.OTHER_NAME: "the coordinator's certificate is for another name; the coordinator must make one for this "
    "address (oncofed-server provision --renew-server)",
    Cause.OTHER_AUTHORITY: "the coordinator's certificate was not signed by the authority in ca.crt: something on the "
    "way inspects TLS, or another server answers; oncofed-client doctor tells more",
    Cause.TLS: "TLS with the coordinator does not come about; oncofed-client doctor tells more",
    Cause.UNKNOWN: "the coordinator does not know this node: its server was started again, the site was revoked, or "
    "this machine's clock is minutes off (oncofed-client doctor)",
    Cause.NOT_LET_IN: "the coordinator does not let this node in: its key was revoked or replaced by a newer kit, or "
    "an earlier node of this site is taken for connected still, which passes within a minute",
    Cause.TOO_OFTEN: "the coordinator's server says that it is asked too often; tell the coordinator if that lasts",
    Cause.SERVER: "the coordinator's server is in trouble; tell the coordinator if that lasts",
    Cause.ANSWER: "the coordinator's server gave an answer that a node does not understand; oncofed-client doctor "
    "tells what answers there",
    Cause.NETWORK: "the coordinator cannot be reached; oncofed-client doctor tells more",
}


def cause_of(error: BaseException, method: str) -> Cause:
    """What an exception of ``flwr.supernode.fleet_http_client.FleetHttpClient`` means.

    Args:
        error: what its ``method`` raised.
        method: e.g. ``ActivateNode``.
    """
    if isinstance(error, httpx.HTTPStatusError):
        return _of_status(error.response.status_code, method)
    if (untrusted := distrust(error)) is not None:
        return Cause(fault_of(untrusted))
    if any(isinstance(one, ssl.SSLError) for one in causes(error)):
        return Cause.TLS
    return Cause.NETWORK if isinstance(error, httpx.TransportError) else Cause.ANSWER


def _of_status(code: int, method: str) -> Cause:
    if code == httpx.codes.UNAUTHORIZED:
        return Cause.UNKNOWN
    if code == httpx.codes.TOO_MANY_REQUESTS:
        return Cause.TOO_OFTEN
    if code >= 500:
        return Cause.SERVER
    # Flower says that a run has ended by 403, but not to a node that connects or says that it is there.
    refused = method == "ActivateNode" or code == httpx.codes.FORBIDDEN
    return Cause.NOT_LET_IN if refused else Cause.ANSWER
