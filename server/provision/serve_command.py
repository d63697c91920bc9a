"""The command ``serve-enrolment``."""

import logging
from pathlib import Path

from common.errors import ConfigError
from common.system.outside import say
from server.provision.authority import open_authority
from server.provision.command import places_of
from server.provision.federation import load_federation
from server.provision.registry import utc_now
from server.provision.service import enrolment_app, serve, welcoming


def serve_command(file: Path, out: Path | None, port: int | None = None) -> None:
    """Runs the enrolment service until it is interrupted; ``port`` stands in for ``serve.enrolment``."""
    settings, places = load_federation(file), places_of(file, out)
    known = places.registry.read().federation
    if known != settings.name:
        raise ConfigError(
            f"{places.registry.path}: belongs to the federation {known}, not to {settings.name}; check --out"
        )
    port = port or settings.serve.enrolment
    authority = open_authority(places.authority, settings.name, settings.validity.authority, utc_now())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    say(f"enrolment for {settings.name} on http://127.0.0.1:{port}; sites reach it through the proxy only")
    serve(enrolment_app(places.registry, settings.name, welcoming(settings.name, settings.address, authority)), port)
