"""The command ``serve-enrolment``."""

import logging
from pathlib import Path

from common.enrolment import EnrolmentReply
from common.errors import ConfigError
from server.provision.command import places_of
from server.provision.federation import load_federation
from server.provision.service import PORT, enrolment_app, serve


def serve_command(file: Path, out: Path | None, port: int = PORT) -> None:
    """Runs the enrolment service until it is interrupted."""
    settings, registry = load_federation(file), places_of(file, out).registry
    known = registry.read().federation
    if known != settings.name:
        raise ConfigError(f"{registry.path}: belongs to the federation {known}, not to {settings.name}; check --out")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    print(
        f"enrolment for {settings.name} on http://127.0.0.1:{port}; sites reach it through the proxy only", flush=True
    )
    serve(enrolment_app(registry, EnrolmentReply(federation=settings.name, address=settings.address)), port)
