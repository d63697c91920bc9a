"""What must be true for a site to be of use: each check returns None, or what is wrong in one plain sentence."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from client.site import load_site
from common.errors import OncofedError
from common.system.disk import write_problem

Check = Callable[[], str | None]
"""Returns None if all is well, otherwise what is wrong and what to do about it."""


def check_data(site: Path) -> str | None:
    """Whether ``site.yaml`` can be used, the images are where it says, and the site can write what it has to keep."""
    try:
        settings = load_site(site)
    except OncofedError as error:
        return str(error)
    if not settings.path.is_dir() or not os.access(settings.path, os.R_OK | os.X_OK):
        return f"{settings.path}: the folder of the images is not there or cannot be read; mount it, or mend `path`"
    for what, folder in (("cache", settings.cache_dir), ("site", settings.folder)):
        if (problem := write_problem(what, folder)) is not None:
            return problem
    return None


def check_budget(site: Path) -> str | None:
    """Whether the privacy ledger can be relied on and something of the budget is left; without a budget all is well."""
    try:
        settings = load_site(site)
        if settings.privacy is None:
            return None
        # Imported here: the accountants take seconds, and a site without a budget does not need them.
        from client.privacy.budget import Budget

        own = Budget(settings)
        spent = own.epsilon()
    except OncofedError as error:
        return str(error)
    if not spent < own.cap:
        return f"the privacy budget is spent ({spent:.2f} of {own.cap:g}): nothing more is trained on these patients"
    return None


def contact_check(last_contact: Callable[[], float | None], *, within: float = 90.0) -> Check:
    """A check whether the coordinator was reached lately.

    Args:
        last_contact: ``time.monotonic()`` of the last contact; None before the first.
        within: seconds; a node says that it is there every 30.
    """

    def check() -> str | None:
        last = last_contact()
        if last is None:
            return "the coordinator has not been reached since the node was started"
        silent = time.monotonic() - last
        return None if silent <= within else f"the coordinator was last reached {silent:.0f} seconds ago"

    return check


def site_checks(site: Path, superlink: Check) -> dict[str, Check]:
    """The three services of a node, by name: ``data``, ``budget`` and ``superlink``."""
    return {"data": lambda: check_data(site), "budget": lambda: check_budget(site), "superlink": superlink}
