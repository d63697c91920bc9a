"""Everything between this node and its coordinator, in the order in which one thing needs another."""

from pathlib import Path

from client.doctor.examination import Network, NetworkCheck, problem
from client.doctor.network.own_files import look_at_authority, look_at_health_port, look_at_key
from client.doctor.network.route import look_at_route
from client.doctor.network.server import look_at_server
from client.enrolment.connection import FILE, Connection, load_connection, require_question_key
from client.site import SiteSettings
from common.errors import ConfigError


def look_at_network(folder: Path, settings: SiteSettings) -> Network | None:
    """What the node needs to reach its coordinator; None if the site has not joined a federation yet.

    The coordinator is asked nothing but what it shows to anyone: nothing of the site is sent.

    Args:
        folder: that of ``site.yaml``, with ``connection.yaml`` beside it once the site has joined.
        settings: of ``site.yaml``.
    """
    if not (folder / FILE).exists():
        return None
    try:
        connection = load_connection(folder)
    except ConfigError as error:
        return Network(federation="", address="", checks=[problem("connection", str(error))])
    checks = [
        *_same_site(connection, settings),
        *_question_key(connection, folder),
        look_at_key(connection.key, connection.identity),
        look_at_health_port(settings.health_port, settings.folder / "node.lock"),
    ]
    authority, route = look_at_authority(connection.certificate), look_at_route(connection.address)
    checks += [authority, *route]
    # Without an authority nobody could be trusted, and without a way nobody answers.
    if all(check.state != "problem" for check in (authority, *route)):
        checks += look_at_server(connection.address, connection.certificate, connection.identity)
    return Network(federation=connection.federation, address=connection.address, checks=checks)


def _same_site(connection: Connection, settings: SiteSettings) -> list[NetworkCheck]:
    if connection.site == settings.name:
        return []
    return [
        problem(
            "site",
            f"site.yaml is of {settings.name}, but the site that joined is {connection.site}; put the name in "
            "site.yaml right",
        )
    ]


def _question_key(connection: Connection, folder: Path) -> list[NetworkCheck]:
    try:
        require_question_key(connection, folder)
    except ConfigError as error:
        return [problem("questions", str(error))]
    return []
