"""What a site may still spend: its ledger, and the cap in its ``site.yaml``, which nothing from outside can raise."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from client.privacy.accounting import Mechanism, delta_of, plan_sigma, rdp_epsilon
from client.privacy.coordinators_copy import enter
from client.privacy.known_patients import ClaimedError, claim
from client.privacy.ledger import Ledger
from client.privacy.node_id import node_id
from client.privacy.objections import object_to
from client.privacy.witness import require_witnessed
from client.site import SiteSettings
from common.errors import PrivacyError, RefusalError


class BudgetSpentError(RefusalError):
    """What was asked for would exceed the cap. The text may leave, so it holds no figure."""

    def __init__(self, what: str = "its privacy budget is spent") -> None:
        super().__init__(what)


class StudySpentError(BudgetSpentError):
    """What was asked for would exceed what the study itself may spend, its reserve included."""

    def __init__(self) -> None:
        super().__init__("the study's own epsilon is spent here, its reserve included")


class Budget:
    """The budget of one site, over every model, study and restart, and over all nodes that share its ledger.

    Raises:
        PrivacyError: if ``site.yaml`` sets none, or the ledger cannot be relied on or is behind a witness.
    """

    def __init__(self, settings: SiteSettings) -> None:
        own = settings.privacy
        if own is None:
            raise PrivacyError(
                f"the site.yaml of {settings.name} sets no privacy budget; add `privacy: {{epsilon: …, patients: …}}`"
            )
        self.cap = own.epsilon
        self.patients = own.patients
        self.delta = delta_of(own.patients)
        self.ledger = Ledger(settings.ledger_files(), settings.name, node_id(settings.folder))
        require_witnessed(settings, self.ledger)
        self._settings = settings
        self._log = settings.log

    def spent(self, run: str | None = None) -> list[Mechanism]:
        """What was paid for, merged by mechanism, noise and sampling rate; of one run, or of all.

        Args:
            run: of this node alone: another node's study may bear the same name. None: every run of every node, and
                names then begin with the run's.
        """
        entries = self.ledger.entries()
        return merged(entries if run is None else self._own(entries), run)

    def charges(self, run: str) -> int:
        """How often this node has charged for a run."""
        return sum(entry["run"] == run for entry in self._own(self.ledger.entries()))

    def _own(self, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        # Lines of earlier releases name no node; only one could charge a ledger then.
        return [entry for entry in entries if entry.get("node", self.ledger.node) == self.ledger.node]

    def epsilon(self) -> float:
        """Everything that counts as spent, composed, as the gate sees it (RDP)."""
        return rdp_epsilon(self.spent(), self.delta) + self.ledger.assumed_epsilon

    @property
    def delta_total(self) -> float:
        """Delta of all that counts as spent: a budget that was assumed was spent at a delta of its own, each time."""
        return min(1.0, (1 + self.ledger.times_assumed) * self.delta)

    def claim(self, names: Sequence[str]) -> None:
        """Writes down that these patients are paid for by this ledger; before their first charge.

        Args:
            names: the patients that are trained on, as their reader calls them; they stay in the hospital, as keyed
                fingerprints.

        Raises:
            LedgerError: if one of them has another ledger already, or that cannot be written down.
        """
        try:
            claim(self._settings.patient_register(), self.ledger.id, names, self.ledger.replaces())
        except ClaimedError as error:
            # For --reopen, should the other ledger be lost.
            with suppress(OSError):
                object_to(self.ledger.files.refused, claimants=error.claimants)
            raise
        enter(self._settings, self.ledger)

    def charge(self, *, run: str, mechanism: str, sigma: float, q: float, steps: int, run_cap: float) -> None:
        """Pays for ``steps``; when this returns, that is on the disk.

        Args:
            run: the study's run.
            mechanism: ``<phase>/<optimiser>``.
            sigma, q, steps: see :class:`Mechanism`.
            run_cap: epsilon of all of this run's charges: what was planned, and the reserve for rounds that are
                repeated.

        Raises:
            StudySpentError: if the study would exceed its own epsilon; nothing is written then.
            BudgetSpentError: if the cap does not allow it; nothing is written then.
            PrivacyError: for figures that no training can have; nothing is written then.
            LedgerError: if the ledger cannot be relied on or written.
        """
        paid = Mechanism(mechanism, sigma, q, steps)

        def gate(entries: Sequence[Mapping[str, Any]], assumed: float) -> None:
            of_run = rdp_epsilon(merged(self._own(entries), run), self.delta)
            after = rdp_epsilon(merged(entries, None), self.delta) + assumed
            for would_be, cap, spent in ((of_run, run_cap, StudySpentError()), (after, self.cap, BudgetSpentError())):
                # Put so that a figure that is no number refuses too.
                if not would_be <= cap:
                    of = {"run": run, "mechanism": mechanism, "steps": steps, "would_be": would_be, "cap": cap}
                    self._log.warning("%s", spent, extra=of)
                    raise spent

        self.ledger.charge(
            {"run": run, "mechanism": mechanism, "sigma": paid.sigma, "q": paid.q, "steps": paid.steps}, gate
        )

    def plan(self, planned: Sequence[tuple[str, float, int]], epsilon: float) -> float:
        """The noise with which ``planned`` (name, q, steps) stays within ``epsilon`` alone, and with all before within
        the cap.

        Raises:
            BudgetSpentError: if what is left does not suffice with any noise.
        """
        try:
            alone = plan_sigma([], planned, epsilon, self.delta)
            together = plan_sigma(self.spent(), planned, self.cap - self.ledger.assumed_epsilon, self.delta)
        except PrivacyError as error:
            self._log.warning("no noise fits the budget", extra={"reason": str(error)})
            raise BudgetSpentError from error
        return max(alone, together)


def merged(entries: Sequence[Mapping[str, Any]], run: str | None) -> list[Mechanism]:
    """Charges of one run by mechanism; with ``run`` None of all runs, named ``<run>: <mechanism>``."""
    steps: dict[tuple[str, float, float], int] = {}
    for entry in entries:
        if run is not None and entry["run"] != run:
            continue
        name = entry["mechanism"] if run is not None else f"{entry['run']}: {entry['mechanism']}"
        key = (str(name), float(entry["sigma"]), float(entry["q"]))
        steps[key] = steps.get(key, 0) + int(entry["steps"])
    return [Mechanism(name, sigma, q, count) for (name, sigma, q), count in steps.items()]
