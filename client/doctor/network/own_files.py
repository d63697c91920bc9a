"""What the node itself brings: its key, the authority that it trusts, and the port at which it tells its health."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from client.doctor.examination import NetworkCheck, good, problem, warning
from client.health.service import ask_health
from common.protocol.node_keys import fingerprint, public_line, read_private_file
from common.system.file_lock import is_held
from common.system.private_files import readable_by_others

_LONG_BEFORE = timedelta(days=90)
"""Every site needs a new kit when the authority expires, which takes a federation some weeks."""


def look_at_key(key: Path, identity: Path) -> NetworkCheck:
    """The private key: there, nobody else's to read, and of the type that Flower takes; ``identity`` holds it too."""
    try:
        content = key.read_bytes()
        shared = [file for file in (key, identity) if file.exists() and readable_by_others(file)]
    except OSError as error:
        return problem(
            "key",
            f"{key}: the private key cannot be read ({error.strerror}); put it back from a backup, or join anew with a "
            "new kit in another folder",
        )
    if shared:
        return problem(
            "key",
            f"{shared[0]}: others on this machine can read the private key. chmod 600 it; if somebody may have done "
            "so, join anew with a new kit, so that this key is shut out",
        )
    try:
        line = public_line(read_private_file(content))
    except ValueError as error:
        return problem(
            "key", f"{key}: is {error}, which Flower needs; put it back from a backup, or join anew with a new kit"
        )
    return good("key", f"ECDSA on P-384, readable by its owner alone, {fingerprint(line)}")


def look_at_authority(certificate: Path) -> NetworkCheck:
    """The certificate of the authority, and how long it is valid."""
    try:
        authority = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        return problem("authority", f"{certificate}: cannot be read ({error}); put it back from the kit or a backup")
    expires, now = authority.not_valid_after_utc, datetime.now(UTC)
    if expires <= now:
        return problem(
            "authority",
            f"the federation's authority expired on {expires:%Y-%m-%d}; the coordinator must provision anew and send "
            "new kits. This machine's clock says " + f"{now:%Y-%m-%d}",
        )
    if expires - now < _LONG_BEFORE:
        return warning(
            "authority",
            f"the federation's authority expires on {expires:%Y-%m-%d}, and every site needs a new kit by then; remind "
            "the coordinator",
        )
    return good("authority", f"valid until {expires:%Y-%m-%d}")


def look_at_health_port(port: int, node_lock: Path) -> NetworkCheck:
    """Whether ``health_port`` is free for the node, or this site's node answers there already.

    Args:
        port: of this machine.
        node_lock: the file that a running node of this site holds.
    """
    try:
        with socket.create_server(("127.0.0.1", port)):
            return good("health port", f"127.0.0.1:{port} is free for the node")
    except PermissionError:
        return problem(
            "health port", f"127.0.0.1:{port} may not be used by this user; set `health_port` in site.yaml above 1023"
        )
    except OSError:
        pass
    if not is_held(node_lock):
        return problem(
            "health port",
            f"127.0.0.1:{port} is taken, and not by a node of this site; set another `health_port` in site.yaml",
        )
    said = ask_health(port, "", timeout=10.0)
    if said is None:
        return good("health port", f"a node runs and answers at 127.0.0.1:{port}: all is well")
    return warning(
        "health port",
        f"127.0.0.1:{port} is taken; if it is by this site's node, it says: {said}. If by another program, set another "
        "`health_port` in site.yaml",
    )
