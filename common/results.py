"""What a study found, as one typed tree: the ServerApp writes it, the study report renders it, researchers read it.

A count or a figure is None where it was not declared, not reached, or suppressed because fewer than ``min_cell``
patients stand behind it.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "oncofed-results/3"


class Record(BaseModel):
    """Base of every part; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class Interval(Record):
    """A mean with a 95% interval; low and high are None below ``min_cell`` patients."""

    mean: float | None
    low: float | None = None
    high: float | None = None


class Frechet(Record):
    """A Fréchet distance, named by its features, never without n and the real-against-real floor at that n."""

    name: str
    value: float
    n: int
    floor: float


class PairedScores(Record):
    """Generated against real on the reference set; means over slices, PSNR in dB."""

    kind: Literal["paired"] = "paired"
    ssim: float
    psnr: float
    foreground_ssim: float
    foreground_psnr: float
    lesion_ssim: float
    lesion_psnr: float
    floor_lesion_ssim: float
    floor_lesion_psnr: float
    slices: int
    patients: int
    frechet: Frechet


class Refusal(Record):
    """A site whose reply did not count in a round, and why."""

    site: str
    reason: str


class FinalPaired(PairedScores):
    """The chosen round on the reference set's final part, scored once; gains over biharmonic inpainting are paired
    over patients."""

    lesion_ssim_gain: Interval
    lesion_psnr_gain: Interval


AnyScores = PairedScores
AnyFinal = FinalPaired


class GanRound(Record):
    """One federated round, scored subject by subject (an organ, or a translation) on the reference set's selection
    part."""

    round: int
    scores: dict[str, AnyScores]
    contributors: list[str]
    refused: list[Refusal] = []
    losses: dict[str, float] = {}
    seconds: float


class GanRun(Record):
    """One training of a GAN with a seed of its own."""

    run: int
    rounds: int
    chosen_round: int | None = None
    final: dict[str, AnyFinal] = {}


class GanResult(Record):
    """A GAN of the study. Rounds and gallery are those of its first run, whose images the study uses."""

    family: str
    exchange: str
    score: str
    chosen_round: int | None = None
    rounds: list[GanRound]
    final: dict[str, AnyFinal] = {}
    """By subject; empty until the chosen round has been scored."""
    runs: list[GanRun] = []
    """Every run, the first one among them."""


class Confusion(Record):
    """Slices of the test patients at probability 0.5."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


class ArmScores(Record):
    """One arm's classifier on test patients; intervals are bootstrapped over patients."""

    accuracy: Interval
    precision: Interval
    recall: Interval
    f1: Interval
    auc: Interval
    patients: int | None = None
    slices: int | None = None
    confusion: Confusion | None = None
    steps: int | None = None
    """Optimiser steps taken; equal in every arm."""


class SiteArms(Record):
    """A site's reply: scores by arm, or by the one model it was asked to evaluate."""

    arms: dict[str, ArmScores]


class CrossSite(Record):
    """Rows are models (sites and ``federated``), columns are sites' test patients."""

    models: list[str]
    sites: list[str]
    auc: list[list[float | None]]
    accuracy: list[list[float | None]]
    auc_interval: list[list[Interval | None]]
    accuracy_interval: list[list[Interval | None]]


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
    gans: dict[str, GanResult] = {}
    arms: dict[str, dict[str, ArmScores]] = {}
    """By site, and for all sites together under ``federated``; then by arm."""
    organ_arms: dict[str, dict[str, ArmScores]] = {}
    """The federated classifiers by organ, then by arm; empty in a study of one organ."""
    cross_site: CrossSite | None = None
    timings: dict[str, float] = {}
    """Seconds by phase."""
