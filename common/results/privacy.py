"""What a study says of its privacy: what each site spent on it, who refused, and what an audit found."""

import math
from statistics import NormalDist
from typing import Annotated

from pydantic import Field

from common.figures.record import Record


class MechanismSpent(Record):
    """Steps of one optimiser on one site's patients.

    Attributes:
        mechanism: ``<phase>/<optimiser>``, e.g. ``gan/cgan/discriminator``.
        sigma: standard deviation of the noise, in units of the clipping bound.
        q: probability that a patient takes part in a step.
        steps: how many were paid for, those of repeated rounds included.
        epsilon: of this mechanism alone (PRV).
    """

    mechanism: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_/.-]{0,119}$")
    sigma: float = Field(gt=0)
    q: float = Field(gt=0, le=1)
    steps: int = Field(ge=0)
    epsilon: float = Field(ge=0)


class LedgerWitness(Record):
    """How far a site's ledger had come; the coordinator keeps it and sends it back at the next hello.

    It says nothing to anyone but the site: whether its ledger was set back since. Only charges of this node are
    counted, and a node has one coordinator, so it tells nothing of studies that other nodes of the hospital are in.

    Attributes:
        node: random number of the node.
        count: charges of this node, by steps of its trainings.
        hash: of the newest of them, with all that stands before it in the ledger; empty without any.
        mac: the site's own signature of it (HMAC-SHA256).
    """

    node: str = Field(pattern=r"^[0-9a-f]{32}$")
    count: int = Field(ge=0, le=10**9)
    hash: str = Field(pattern=r"^([0-9a-f]{64})?$")
    mac: str = Field(pattern=r"^[0-9a-f]{64}$")


class PrivacyStatement(Record):
    """A site's reply: what this study cost its patients. Figures of other studies stay at the site.

    Attributes:
        delta: of every epsilon here.
        patients: the number of training patients that the hospital declared public.
        max_grad_norm: largest norm of one patient's gradient.
        mechanisms: what the study spent, by mechanism.
        models: epsilon of each model, all its mechanisms and runs composed (PRV); the classifier's arms are one.
        epsilon: all of them composed, by the tight accountant (PRV).
        epsilon_rdp: the same by the accountant that the budget is kept with (RDP), which is never lower.
        witness: how far the site's ledger had come; kept by the coordinator beside its runs, and in no result of one.
    """

    delta: float = Field(gt=0, lt=1)
    patients: int = Field(ge=1)
    max_grad_norm: float = Field(gt=0)
    mechanisms: list[MechanismSpent] = Field(max_length=200)
    models: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}$")], float] = Field(
        default={}, max_length=200
    )
    epsilon: float = Field(ge=0)
    epsilon_rdp: float = Field(ge=0)
    witness: LedgerWitness | None = None


class PrivacyRefusal(Record):
    """A site that did not train in a round."""

    site: str
    phase: str
    round: int
    reason: str


class MechanismTests(Record):
    """Whether an audited step is the stated mechanism, by what was seen of planted patients.

    Attributes:
        draws: how often one of them took part in a step.
        sensitivity: what one adds to a step it takes part in, in units of the clipping bound: 1 as stated. None if
            none was ever drawn.
        noise: standard deviation of the noise, in units of the stated one: 1 as stated.
        p: probability, under the stated mechanism, of what was seen or worse, by test
            (:func:`client.privacy.mechanism.mechanism_tests`); a test that had nothing to go by is missing.
    """

    draws: int = Field(ge=0)
    sensitivity: float | None
    noise: float | None
    p: dict[str, float]


class AuditBound(Record):
    """What a one-run audit of one training step found.

    Attributes:
        mechanism: whose step, as the study trains it.
        claimed: epsilon of the audited steps by the accountant.
        bound: lower bound of epsilon from ``canaries`` canaries; above ``claimed`` the step leaks more than is claimed.
        canaries: how many, each included with probability 1/2.
        guesses: how many the auditor made for the bound.
        right: how many of them were right.
        steps, sigma, q, delta: of the audited training.
        false_alarm: largest probability that any test of the whole audit, of all its training steps together, calls
            a fault where there is none. None in audits of before, whose bounds had 95% confidence each.
        level: the share of it that each single test has, those behind the bound included.
        stated: tests of the mechanism on the same canaries. None in audits of before.
    """

    mechanism: str
    claimed: float
    bound: float
    canaries: int
    guesses: int
    right: int
    steps: int
    sigma: float
    q: float
    delta: float
    false_alarm: float | None = None
    level: float | None = None
    stated: MechanismTests | None = None

    @property
    def holds(self) -> bool:
        """Whether the audit found nothing beyond what is claimed, and no other mechanism than the stated one."""
        return not self.findings

    @property
    def findings(self) -> list[str]:
        """What speaks against the step, in plain words; empty if nothing does."""
        found = ["more leaks than is claimed"] if self.bound > self.claimed else []
        if self.stated is None or self.level is None:
            return found
        p, level = self.stated.p, self.level
        rejected = {test for test, value in p.items() if value < level}
        if "independence" in rejected:
            # The other tests take the noise of every step to be fresh: what they then say would mislead.
            return [*found, "the noise of one step tells of another's"]
        added, noise = self.stated.sensitivity, self.stated.noise
        if "sensitivity" in rejected and added is not None:
            if added > 1:
                found.append(f"a patient adds {added:.2f} of the stated bound")
            else:
                # No leak; but whoever sees half a step cannot vouch for it.
                found.append(f"a patient adds {added:.2f} of the stated bound: the audit does not see the whole step")
        elif "largest" in rejected:
            found.append("some patient adds more than the stated bound")
        if "noise" in rejected and noise is not None:
            found.append(f"noise has {noise:.2f} of the stated size")
        elif "weakest" in rejected:
            found.append("noise is smaller than stated at some weight or in some step")
        elif "shape" in rejected:
            found.append("the noise is not normally distributed")
        if "offset" in rejected:
            found.append("something is added where no planted patient took part")
        return found

    @property
    def found_from(self) -> float | None:
        """What a patient must add, in units of the stated bound, to be found nine times of ten; None if unknown."""
        if self.stated is None or self.level is None or not self.stated.draws:
            return None
        normal = NormalDist()
        needed = normal.inv_cdf(1 - self.level / 2) + normal.inv_cdf(0.9)
        return 1 + needed * self.sigma / math.sqrt(self.stated.draws)


class CanaryResult(Record):
    """What two made-up hospitals that differ in one patient answered to the study's messages.

    Attributes:
        most: the most by which the patient moved the sum of a private step, in units of the clipping bound.
        steps: private steps that were compared.
        findings: what depends on the patient beyond that; empty where the way from message to answer is sound.
    """

    most: float = Field(ge=0)
    steps: int = Field(ge=0)
    findings: list[str] = []

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


class PrivacyResults(Record):
    """The study's privacy: the unit is the patient, adding or removing one.

    Attributes:
        sites: what each site spent.
        refusals: who did not train, when and why.
        audit: what was found by mechanism; empty where no audit was made.
        silent: sites that gave no statement, with the reason.
    """

    sites: dict[str, PrivacyStatement] = {}
    refusals: list[PrivacyRefusal] = []
    audit: list[AuditBound] = []
    canary: CanaryResult | None = None
    silent: dict[str, str] = {}
