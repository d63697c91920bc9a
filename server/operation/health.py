"""``oncofed-server health``: whether the server's parts answer and what it writes is kept, for supervisors."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

from common.errors import ConfigError, DataError
from common.protocol.enrolment import FEDERATION_HEADER, PATH
from common.system.disk import write_problem
from common.system.outside import say
from server.operation.connections import SiteConnection, connections
from server.operation.flower_home import FlowerHome
from server.operation.proxy import listeners
from server.operation.studies import started_studies
from server.operation.superlink import answers
from server.provision.federation import FederationSettings, load_federation
from server.provision.provision import Places

NO_ANSWER = "does not answer"


def health_command(file: Path, places: Places) -> None:
    """Says how the server's parts are, and which sites it hears of; sites that are away are none of its faults.

    Raises:
        DataError: naming what is not well; exit code 3.
    """
    settings = load_federation(file)
    home = FlowerHome(places, settings.serve.superlink)
    if not home.authority.exists():
        raise ConfigError(f"{places.folder}: is not provisioned")
    parts = {
        "superlink": None if answers(home) else NO_ANSWER,
        "enrolment": _enrolment(settings),
        "proxy": _proxy(settings, home),
        "disk": _disk(places),
    }
    for part, problem in parts.items():
        say(f"{part:10} {problem or 'well'}")
    say(f"{'sites':10} {_sites(connections(home))}")
    wrong = [part for part, problem in parts.items() if problem is not None]
    if wrong:
        raise DataError(f"{settings.name}: {', '.join(wrong)} not well")


def _sites(known: Mapping[str, SiteConnection]) -> str:
    if not known:
        return "unknown: nobody has joined, or the SuperLink does not say"
    away = [site for site, connection in known.items() if not connection.connected]
    return f"{len(known) - len(away)} of {len(known)} connected{'; not ' if away else ''}{', '.join(away)}"


def _disk(places: Places) -> str | None:
    """What cannot be written: the federation's own folder, or where its newest study lies."""
    problem = write_problem("federation", places.folder)
    newest = started_studies(places)[-1:]
    return problem or next((write_problem("study", one.folder) for one in newest if one.folder.is_dir()), None)


def _enrolment(settings: FederationSettings) -> str | None:
    try:
        url = f"http://127.0.0.1:{settings.serve.enrolment}{PATH}"
        answer = httpx.get(url, trust_env=False, timeout=5)
    except httpx.HTTPError:
        return NO_ANSWER
    if answer.headers.get(FEDERATION_HEADER) != settings.name:
        return f"another program answers at 127.0.0.1:{settings.serve.enrolment}; serve.enrolment chooses another port"
    return None


def _proxy(settings: FederationSettings, home: FlowerHome) -> str | None:
    """Whether nginx answers on this machine, with a certificate of this federation's authority."""
    try:
        where = listeners(settings.serve.listen, settings.address)[0]
    except ConfigError as error:
        return str(error)
    host, _, port = where.rpartition(":")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    trust = ssl.create_default_context(cafile=str(home.authority))
    # The certificate names the public address; what listens here is asked by its number.
    trust.check_hostname = False
    url, asker = f"https://{host}:{port}/", {"user-agent": "oncofed-server health"}
    try:
        status = httpx.get(url, verify=trust, trust_env=False, timeout=5, headers=asker).status_code
    except httpx.HTTPError:
        return NO_ANSWER
    return None if status == 404 else f"answers with {status}, where it should say 404"
