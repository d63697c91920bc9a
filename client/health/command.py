"""``oncofed-client health``: asks this site's running node whether it is well."""

from pathlib import Path

from client.health.service import ask_health, identity
from client.site import load_site
from common.errors import DataError
from common.system.outside import say, say_json

_SERVICES = {"data": "images and cache", "budget": "privacy budget", "superlink": "coordinator"}


def health(site: Path, *, as_json: bool = False) -> None:
    """Prints one line for each service.

    Args:
        site: the hospital's ``site.yaml``.
        as_json: one JSON object on standard output, and nothing else.

    Raises:
        ConfigError: if ``site.yaml`` is wrong.
        DataError: if something is not well, or no node runs; exit code 3.
    """
    settings = load_site(site)
    whose = identity(settings)
    wrong = {name: ask_health(settings.health_port, name, whose=whose) for name in _SERVICES}
    if as_json:
        say_json({name: {"well": reason is None, "reason": reason} for name, reason in wrong.items()})
    else:
        for name, what in _SERVICES.items():
            say(f"{name:10} {what}: {wrong[name] or 'well'}")
    if any(wrong.values()):
        raise DataError(f"{settings.name}: {', '.join(name for name in wrong if wrong[name])} not well")
