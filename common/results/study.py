"""What a study found, as one typed tree: the ServerApp writes it, the study report renders it, researchers read it.

A count or a figure is None where it was not declared, not reached, or suppressed because fewer than ``min_cell``
patients stand behind it.
"""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from common.figures.figure import ImageScores
from common.figures.record import Record
from common.results.classifier import Apart, ClassifierScores, CrossSite, PooledGain, Repeated, TrialResult
from common.results.privacy import PrivacyResults
from common.results.shares import Shares
from common.results.statistics import ComparisonTable

SCHEMA = "oncofed-results/6"


class Refusal(Record):
    """A site whose reply did not count in a round, and why."""

    site: str
    reason: str


class GanRound(Record):
    """One federated round, scored subject by subject (an organ, or a translation) on the reference set's selection
    part."""

    round: int
    scores: dict[str, ImageScores]
    contributors: list[str]
    refused: list[Refusal] = []
    shares: list[Shares] = []
    """How much each contributor counted in the average of each network."""
    losses: dict[str, float] = {}
    seconds: float


class GanRun(Record):
    """One training of a GAN with a seed of its own."""

    run: int
    rounds: int
    chosen_round: int | None = None
    final: dict[str, ImageScores] = {}
    pretrained: dict[str, ImageScores] | None = None
    """What the weights reached on the selection part before the first round; None without public pre-training."""
    contributors: dict[str, int] = {}
    """By site, in how many rounds up to the chosen one its update counted."""
    shares: list[Shares] = []
    """How much each site counted in the average of each network, over these rounds."""


class GanResult(Record):
    """A GAN of the study. Rounds and gallery are those of its first run, whose images the study uses."""

    family: str
    exchange: str
    protocol: str
    sites: list[str] = []
    """The sites that could take part in its training."""
    chosen_round: int | None = None
    rounds: list[GanRound]
    final: dict[str, ImageScores] = {}
    """By subject; empty until the chosen round has been scored."""
    runs: list[GanRun] = []
    """Every run, the first one among them."""
    released: dict[str, int] = {}
    """How many synthetic slices each site released for this training; empty where none were needed."""


class SiteEntry(Record):
    """What a site said of itself at hello."""

    organ: str
    modality: str
    patients: int | None = None
    slices: int | None = None
    quarantined: int | None = None
    contrasts: list[str] = []
    roles: list[str] = []
    notes: list[str] = []
    """Sentences for the reader, e.g. why a site could not take part in something."""


class PlannedTraining(Record):
    """Who trains something of the study, as the sites said at hello.

    Attributes:
        training: a GAN's name, or which classifiers.
        sites: those that take part.
        absent: why the others do not, by site.
        weighted_by: what they count by in averages: their declared training ``slices`` or ``patients``, or all
            ``sites`` alike; None in results that were written before it was told.
        weighted: the same in words, and why.
    """

    training: str
    sites: list[str]
    absent: dict[str, str] = {}
    weighted_by: Literal["sites", "slices", "patients"] | None = None
    weighted: str = ""


class RunInfo(Record):
    name: str
    seed: int
    engine: str
    started: str
    finished: str | None = None
    demo_cohort: bool = False
    versions: dict[str, str] = {}
    config: dict[str, Any] = {}


class Results(Record):
    """``results.json``; write it with ``model_dump_json(by_alias=True)``, so that ``schema_`` is called ``schema``."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_: str = Field(default=SCHEMA, alias="schema")
    run: RunInfo
    sites: dict[str, SiteEntry] = {}
    plan: list[PlannedTraining] = []
    """Who takes part in which training, and why not; empty in results that were written before there was one."""
    gans: dict[str, GanResult] = {}
    arms: dict[str, dict[str, ClassifierScores]] = {}
    """By site, and for all sites together under ``federated``; then by arm."""
    organ_arms: dict[str, dict[str, ClassifierScores]] = {}
    """The federated classifiers by organ, then by arm; empty in a study of one organ."""
    cross_site: CrossSite | None = None
    """Of classifiers that were trained on real slices only."""
    cross_site_arms: dict[str, CrossSite] = {}
    """The same for other arms. ``synthetic`` is trained on what the generators made at one site, tested on real
    patients of another."""
    cross_site_gain: dict[str, CrossSite] = {}
    """By arm: its gain over real slices only in each cell, paired over patients."""
    trials: list[TrialResult] = []
    """Every repetition of the classifier study, the first one among them; empty in a study without any."""
    repeated: list[Repeated] = []
    gains: list[PooledGain] = []
    comparisons: dict[str, list[ComparisonTable]] = {}
    """By scope: the tests over run-folds, one table a score; empty without a cross-validation."""
    not_compared: dict[str, str] = {}
    """Scopes without such a table, and why."""
    apart: list[Apart] = []
    """Federated arms that are not compared: other sites trained or tested one than the other."""
    privacy: PrivacyResults | None = None
    """None where the study trained without differential privacy."""
    silent: dict[str, dict[str, str]] = {}
    """By phase, the sites that it went on without, and why; rounds have an account of their own."""
    timings: dict[str, float] = {}
    """Seconds by phase."""
