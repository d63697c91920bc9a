"""What a study says of its privacy: what each site spent on it, who refused, and what an audit found."""

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Base of every part of these; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class MechanismSpent(Record):
    """Steps of one optimiser on one site's patients.

    Attributes:
        mechanism: ``<phase>/<optimiser>``, e.g. ``gan/cgan/discriminator``.
        sigma: standard deviation of the noise, in units of the clipping bound.
        q: probability that a patient takes part in a step.
        steps: how many were paid for, those of repeated rounds included.
        epsilon: of this mechanism alone (PRV).
    """

    mechanism: str = Field(max_length=120)
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
        clip: largest norm of one patient's gradient.
        mechanisms: what the study spent, by mechanism.
        models: epsilon of each model, all its mechanisms and runs composed (PRV); the classifier's arms are one.
        epsilon: all of them composed, by the tight accountant (PRV).
        epsilon_rdp: the same by the accountant that the budget is kept with (RDP), which is never lower.
        witness: how far the site's ledger had come; kept by the coordinator beside its runs, and in no result of one.
    """

    delta: float = Field(gt=0, lt=1)
    patients: int = Field(ge=1)
    clip: float = Field(gt=0)
    mechanisms: list[MechanismSpent] = Field(max_length=200)
    models: dict[str, float] = {}
    epsilon: float = Field(ge=0)
    epsilon_rdp: float = Field(ge=0)
    witness: LedgerWitness | None = None


class PrivacyRefusal(Record):
    """A site that did not train in a round."""

    site: str
    phase: str
    round: int
    reason: str


class AuditBound(Record):
    """What a one-run audit of one training step found.

    Attributes:
        mechanism: whose step, as the study trains it.
        claimed: epsilon of the audited steps by the accountant.
        bound: lower bound of epsilon from ``canaries`` canaries, at 95% confidence; above ``claimed`` the step leaks
            more than is claimed.
        canaries: how many, each included with probability 1/2.
        guesses: how many the auditor made for the bound.
        right: how many of them were right.
        steps, sigma, q, delta: of the audited training.
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

    @property
    def holds(self) -> bool:
        """Whether the audit found nothing beyond what is claimed."""
        return self.bound <= self.claimed


class PrivacyResults(Record):
    """The study's privacy: the unit is the patient, adding or removing one.

    Attributes:
        sites: what each site spent.
        refusals: who did not train, when and why.
        audit: bounds by mechanism; empty where none was made.
        silent: sites that gave no statement, with the reason.
    """

    sites: dict[str, PrivacyStatement] = {}
    refusals: list[PrivacyRefusal] = []
    audit: list[AuditBound] = []
    silent: dict[str, str] = {}
