"""A federation on this machine: its files, and its enrolment service behind real TLS."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from server.provision.authority import open_authority
from server.provision.federation import FederationSettings
from server.provision.provision import Places
from server.provision.rate_limit import RateLimit
from server.provision.registry import utc_now
from server.provision.service import configured, enrolment_app, welcoming

SITES = ({"name": "hospital1", "organ": "brain"}, {"name": "hospital2", "organ": "liver", "reader": "dicom"})


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def federation(port: int, host: str = "localhost", sites=SITES, **more) -> FederationSettings:
    """Settings of a federation on this machine."""
    values = {"name": "tumours", "address": f"{host}:{port}", "sites": list(sites), **more}
    return FederationSettings.model_validate(values)


@contextmanager
def served(
    settings: FederationSettings,
    places: Places,
    *,
    certificate: Path | None = None,
    tls: bool = True,
    limit: RateLimit | None = None,
    patience: float = 20.0,
) -> Iterator[None]:
    """The enrolment service at the federation's port, with the server certificate in ``certificate``."""
    port = int(settings.address.rpartition(":")[2])
    folder = certificate or places.server
    authority = open_authority(places.authority, settings.name, settings.validity.authority, utc_now())
    welcome = welcoming(settings.name, settings.address, authority)
    app = enrolment_app(places.registry, settings.name, welcome, limit=limit, patience=patience)
    config = configured(app, port)
    if tls:
        config.ssl_keyfile, config.ssl_certfile = folder / "server.key", folder / "server.crt"
    # It would speak on the terminal of the command that is tested.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < end, "the service did not start in time"
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)
