"""The account of a hospital's privacy: what it was spent on, what is left, and what a study would cost."""

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from client.data.preparation import local_study
from client.data.site_data import SiteData
from client.privacy.accounting import Mechanism, prv_epsilon, rdp_epsilon
from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.coordinators_copy import kept_of
from client.privacy.ledger import Ledger, LedgerError
from client.privacy.node_id import node_id
from client.privacy.objections import Objections, objections
from client.privacy.plan import StudyPlan, plan_study
from client.privacy.witness import require_witnessed, witnesses
from client.site import SiteSettings
from common.errors import ConfigError, DataError
from common.study.privacy import MEANING, NOT_COVERED
from common.system.outside import say, say_json


@dataclass(frozen=True)
class Cost:
    """What a study would take of the budget."""

    plan: StudyPlan | None
    epsilon: float | None
    reason: str | None


def print_account(
    site: Path,
    settings: SiteSettings,
    overrides: Sequence[str],
    study: Path | None,
    *,
    as_json: bool = False,
    reopen: str | None = None,
) -> None:
    """Prints the account of a site that has a budget; see :func:`client.privacy.command.budget`.

    Raises:
        PrivacyError: if the ledger cannot be relied on; the text names the way out.
    """
    if reopen is not None:
        _reopen(settings, reopen)
    own = Budget(settings)
    cost = _cost(site, overrides, study, own) if overrides or study else None
    account = account_of(own, cost)
    if as_json:
        say_json(account, indent=1)
    else:
        _print(settings, account)


def account_of(own: Budget, cost: Cost | None = None) -> dict[str, Any]:
    """The whole account as plain values."""
    spent = own.spent()
    rdp = own.epsilon()
    account: dict[str, Any] = {
        "cap": own.cap,
        "delta": own.delta,
        "delta_total": own.delta_total,
        "patients": own.patients,
        "spent": rdp,
        "spent_prv": prv_epsilon(spent, own.delta) + own.ledger.assumed_epsilon,
        "left": max(0.0, own.cap - rdp),
        "assumed": own.ledger.assumed_epsilon,
        "mechanisms": [_line(one, own.delta) for one in spent],
        "charges": len(own.ledger.entries()),
        "ledger": str(own.ledger.files.ledger),
        "head": str(own.ledger.files.head),
        "not_covered": list(NOT_COVERED),
    }
    if cost is not None:
        plan = cost.plan
        account["study"] = {
            "possible": plan is not None,
            "reason": cost.reason,
            "sigma": plan.sigma if plan else None,
            "q": plan.rate if plan else None,
            "steps": dict(plan.steps) if plan else None,
            "epsilon": cost.epsilon,
        }
    return account


def _line(one: Mechanism, delta: float) -> dict[str, Any]:
    run, _, name = one.name.partition(": ")
    return {
        "run": run,
        "mechanism": name,
        "sigma": one.sigma,
        "q": one.q,
        "steps": one.steps,
        "epsilon": prv_epsilon([one], delta),
    }


def _cost(site: Path, overrides: Sequence[str], study: Path | None, own: Budget) -> Cost:
    """Plans a study without charging anything.

    Raises:
        ConfigError: if the study is not private.
        DataError: if this site's images cannot be used.
    """
    local = local_study(site, overrides, study)
    if not local.private:
        raise ConfigError("this study trains without differential privacy; write privacy=patient_dp")
    local.settings.log.addHandler(logging.NullHandler())
    try:
        plan = plan_study(SiteData.of(local), own)
    except BudgetSpentError:
        return Cost(None, None, "what is left does not suffice, with any noise")
    made = [Mechanism(name, plan.sigma, plan.rate, steps) for name, steps in plan.steps.items()]
    return Cost(plan, rdp_epsilon(made, own.delta), None)


def _reopen(settings: SiteSettings, reason: str) -> None:
    if not reason.strip():
        raise ConfigError("--reopen needs a reason, which the new ledger keeps")
    assert settings.privacy is not None
    files = settings.ledger_files()
    others = _other_ledgers(settings)
    if not files.ledger.exists() and not files.head.exists() and not others:
        raise DataError(f"{files.ledger}: there is no ledger to begin anew")
    if _is_sound(settings):
        raise ConfigError(
            f"{files.ledger}: is sound, so it was left as it is. --reopen is for a ledger that is refused; it counts "
            "the whole cap as spent"
        )
    aside = Ledger.reopen(files, settings.name, reason, settings.privacy.epsilon, others)
    say(f"The old files are kept in {aside}.", stream=sys.stderr)
    say(
        f"A new ledger counts the whole cap of {settings.privacy.epsilon:g} as spent: nothing can be trained until the "
        "hospital raises `privacy.epsilon` in site.yaml above it.",
        stream=sys.stderr,
    )


def _other_ledgers(settings: SiteSettings) -> frozenset[str]:
    """Ids of all ledgers that something on this machine says these patients were charged to.

    What cannot be read says nothing here: a ledger is begun anew because of what cannot be read.
    """
    found: set[str] = set()
    with suppress(LedgerError):
        found |= set(kept_of(settings.patient_register(), node_id(settings.folder)).ledgers)
    with suppress(LedgerError):
        found |= {witness.ledger for witness in witnesses(settings) if witness.count}
    return frozenset(found) | _objections(settings).claimants


def _objections(settings: SiteSettings) -> Objections:
    try:
        return objections(settings.ledger_files().refused)
    except LedgerError:
        return Objections()


def _is_sound(settings: SiteSettings) -> bool:
    """Whether the ledger fits its head and all witnesses, and no other ledger claims its patients."""
    try:
        require_witnessed(settings, Ledger(settings.ledger_files(), settings.name))
    except LedgerError:
        return False
    return not _objections(settings).claimants


def _print(settings: SiteSettings, account: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(
        f"{settings.name}: epsilon {account['spent']:.2f} of {account['cap']:g} is spent, {account['left']:.2f} is "
        f"left (delta {account['delta']:.0e}, {account['patients']} patients declared).",
    )
    if account["assumed"]:
        console.print(
            f"{account['assumed']:g} of it counts as spent because the ledger was begun anew. A budget that is assumed "
            f"has a delta of its own, each time: all of it together holds at a delta of {account['delta_total']:.0e}.",
        )
    if account["mechanisms"]:
        table = Table("run", "training", "steps", "sigma", "q", "epsilon alone")
        table.columns[1].overflow = "fold"
        for column in table.columns[2:]:
            column.justify = "right"
        for one in account["mechanisms"]:
            table.add_row(
                one["run"],
                one["mechanism"],
                str(one["steps"]),
                f"{one['sigma']:.3f}",
                f"{one['q']:.4f}",
                f"{one['epsilon']:.2f}",
            )
        console.print(table)
        console.print(
            f"All of it together: {account['spent']:.2f} as the cap counts it (RDP), {account['spent_prv']:.2f} by the "
            "tighter accountant (PRV). Trainings on the same patients cost less together than one by one.",
        )
    else:
        console.print("No training is charged in this ledger yet.")
    if "study" in account:
        _print_study(console, account)
    console.print(f"\n{MEANING}\nWhat it does not cover:")
    for sentence in account["not_covered"]:
        console.print(f"  - {sentence}")
    console.print(f"ledger: {account['ledger']}\nits head: {account['head']}", highlight=False, soft_wrap=True)


def _print_study(console: Console, account: dict[str, Any]) -> None:
    study = account["study"]
    if not study["possible"]:
        console.print(f"\nThe study cannot be trained here: {study['reason']}.")
        return
    after = account["spent"] + study["epsilon"]
    console.print(
        f"\nThe study would take an epsilon of {study['epsilon']:.2f} at most (with what is spent no more than "
        f"{min(after, account['cap']):.2f} of {account['cap']:g}), with noise sigma {study['sigma']:.3f} in every step "
        f"and each patient in a step with probability {study['q']:.4f}:",
    )
    for name, steps in study["steps"].items():
        console.print(f"  {name}: {steps} steps")
