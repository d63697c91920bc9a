"""``oncofed-client budget``: what this hospital's privacy was spent on, what is left, and what a study would cost."""

from collections.abc import Sequence
from pathlib import Path

from client.site import load_site
from client.site_paths import require_usable_paths
from common.errors import ConfigError


def budget(
    site: Path, overrides: Sequence[str], study: Path | None, *, as_json: bool = False, reopen: str | None = None
) -> None:
    """Prints the account of a site.

    Args:
        site: its ``site.yaml``.
        overrides, study: a study whose cost is wanted; none by default.
        as_json: one JSON object on standard output, and nothing else.
        reopen: the reason for which the ledger is begun anew.

    Raises:
        ConfigError: if ``site.yaml`` is wrong or sets no budget.
        PrivacyError: if the ledger cannot be relied on; the text names the way out.
    """
    settings = load_site(site)
    require_usable_paths(settings)
    if settings.privacy is None:
        raise ConfigError(
            f"{site}: sets no privacy budget, so there is no account. Add to it, with your own numbers, the line "
            "privacy: {epsilon: 8.0, patients: 200}: the cap over everything ever trained on these patients, and the "
            "number of training patients, which is declared public"
        )
    # Imported here: without a budget nothing needs the accountants, which take seconds.
    from client.privacy.account import print_account

    print_account(site, settings, overrides, study, as_json=as_json, reopen=reopen)
