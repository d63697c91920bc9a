"""What a study found, as one typed tree: the ServerApp writes it, the study report renders it, researchers read it.

A count or a figure is None where it was not declared, not reached, or suppressed because fewer than ``min_cell``
patients stand behind it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.results_privacy import PrivacyResults

SCHEMA = "oncofed-results/4"


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


class FrechetScores(Frechet):
    """A Fréchet distance with its floor, and what blurred real images reach.

    ``normalised`` is 0 at the floor and 1 at ``blurred``; None where these features cannot tell the two apart.
    """

    blurred: float
    normalised: float | None


class KernelScores(Record):
    """A kernel distance (``KID`` with the standard Inception features), its floor, and the standard deviation over
    subsets of ``subset_size`` images. Unbiased for independent images: both may be slightly negative, and where a
    patient has several slices the floor is above 0."""

    name: str
    value: float
    floor: float
    spread: float
    subset_size: int
    n: int


class Manifold(Record):
    """Where images lie by nearest neighbours, as in :class:`~common.metrics.manifold.ManifoldScores`."""

    precision: float
    recall: float
    density: float
    coverage: float


class ManifoldComparison(Record):
    """Generated images beside real ones of other patients; n images a side, balls to the k-th neighbour."""

    generated: Manifold
    real: Manifold
    k: int
    n: int


class DistributionScores(Record):
    """Generated images as a set, against real ones. ``manifold`` is None with too few images for k neighbours.

    ``setting`` says what stands in for the other half of the patients in a comparison: ``matched`` images were made
    from theirs, ``free`` ones belong to nobody.
    """

    features: str
    setting: Literal["matched", "free"]
    frechet: FrechetScores
    kernel: KernelScores
    manifold: ManifoldComparison | None


class Scores(Record):
    """What every kind of score has: on how much it rests, and how the images compare as a set."""

    slices: int
    patients: int
    distribution: DistributionScores

    @property
    def frechet(self) -> FrechetScores:
        """The Fréchet distance of the generated images."""
        return self.distribution.frechet


class PairedScores(Scores):
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


class NearestScores(Scores):
    """Whole slices made from noise. They have no counterpart: SSIM and PSNR (dB) are against the nearest reference
    slice, and stand beside those of real slices against the nearest one of another patient.

    ``ms_ssim`` is the mean similarity of pairs of generated slices (over ``ms_ssim_scales`` scales; high means little
    diversity), ``real_ms_ssim`` that of pairs of real ones of different patients. ``foreground_...`` leaves out the
    black background of the nearest slice.
    """

    kind: Literal["nearest"] = "nearest"
    nearest_ssim: float
    nearest_psnr: float
    foreground_nearest_ssim: float
    foreground_nearest_psnr: float
    real_nearest_ssim: float
    real_nearest_psnr: float
    real_foreground_nearest_ssim: float
    real_foreground_nearest_psnr: float
    ms_ssim: float
    real_ms_ssim: float
    ms_ssim_scales: int
    collapsed: bool
    """More than one pair in ten is strikingly alike (:func:`~common.metrics.diversity.has_collapsed`)."""


class Translation(Record):
    """Translated slices against the real ones of the same patients; means over slices, PSNR in dB.

    ``unchanged_...`` are of the untranslated slices against the same; None where source and target have not equally
    many contrasts. ``lesion_...`` are of the crop around the lesion, over the ``lesion_slices`` that show one; None
    where none does.
    """

    ssim: float
    psnr: float
    foreground_ssim: float
    foreground_psnr: float
    lesion_ssim: float | None = None
    lesion_psnr: float | None = None
    unchanged_ssim: float | None = None
    unchanged_psnr: float | None = None
    unchanged_foreground_ssim: float | None = None
    unchanged_foreground_psnr: float | None = None
    unchanged_lesion_ssim: float | None = None
    unchanged_lesion_psnr: float | None = None
    lesion_slices: int = 0


class CycleScores(Scores):
    """Translation to another domain: SSIM and PSNR (dB) are of the slices translated there and back again.

    ``distribution`` compares the translated slices with real ones of the target, ``unchanged_frechet`` those that were
    not translated at all. ``translation`` is there where the reference set holds both domains of the same patients.
    """

    kind: Literal["cycle"] = "cycle"
    cycle_ssim: float
    cycle_psnr: float
    foreground_cycle_ssim: float
    foreground_cycle_psnr: float
    unchanged_frechet: float
    translation: Translation | None = None


class TranslationScores(Scores):
    """Other contrasts made of a slice, against the real ones of the same slice.

    ``distribution`` compares the translated slices with the real target as sets, ``unchanged_frechet`` those that were
    not translated at all; None where source and target have not equally many contrasts.
    """

    kind: Literal["translation"] = "translation"
    translation: Translation
    unchanged_frechet: float | None = None


class Refusal(Record):
    """A site whose reply did not count in a round, and why."""

    site: str
    reason: str


class FinalPaired(PairedScores):
    """The chosen round on the reference set's final part, scored once; gains over biharmonic inpainting are paired
    over patients."""

    lesion_ssim_gain: Interval
    lesion_psnr_gain: Interval


class FinalNearest(NearestScores):
    """The chosen round on the reference set's final part, scored once; intervals over generated slices."""

    nearest_ssim_interval: Interval
    nearest_psnr_interval: Interval


class FinalCycle(CycleScores):
    """The chosen round on the reference set's final part, scored once; the gain is over the unchanged slices, paired
    over patients, where the reference set holds both domains."""

    cycle_ssim_interval: Interval
    foreground_psnr_gain: Interval | None = None


class FinalTranslation(TranslationScores):
    """The chosen round on the reference set's final part, scored once; intervals over patients. The gain is over the
    unchanged slices; None where these cannot be compared."""

    foreground_ssim_interval: Interval
    foreground_psnr_gain: Interval | None = None


AnyScores = Annotated[PairedScores | NearestScores | CycleScores | TranslationScores, Field(discriminator="kind")]
AnyFinal = Annotated[FinalPaired | FinalNearest | FinalCycle | FinalTranslation, Field(discriminator="kind")]


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
    pretrained: dict[str, AnyScores] | None = None
    """What the weights reached on the selection part before the first round; None without public pre-training."""


class GanResult(Record):
    """A GAN of the study. Rounds and gallery are those of its first run, whose images the study uses."""

    family: str
    exchange: str
    score: str
    sites: list[str] = []
    """The sites that could take part in its training."""
    chosen_round: int | None = None
    rounds: list[GanRound]
    final: dict[str, AnyFinal] = {}
    """By subject; empty until the chosen round has been scored."""
    runs: list[GanRun] = []
    """Every run, the first one among them."""
    released: dict[str, int] = {}
    """How many synthetic slices each site released for this training; empty where none were needed."""


class Confusion(Record):
    """Slices of the test patients at probability 0.5."""

    true_positive: int = Field(ge=0)
    false_positive: int = Field(ge=0)
    true_negative: int = Field(ge=0)
    false_negative: int = Field(ge=0)


class ReliabilityBin(Record):
    """Slices with about the same probability: its mean, and the share of them that do show a tumour."""

    predicted: float = Field(ge=0, le=1)
    positive: float = Field(ge=0, le=1)
    slices: int = Field(ge=1)
    patients: int = Field(ge=1)


class Calibration(Record):
    """How far probabilities can be taken at their word (:func:`~common.metrics.calibration.calibration`)."""

    error: float = Field(ge=0, le=1)
    """Expected calibration error over ``bins`` bins of equally many slices; over several sites the mean of theirs."""
    bins: int = Field(ge=1, le=100)
    curve: list[ReliabilityBin] | None = Field(default=None, max_length=100)
    """From the lowest to the highest probability; None where counts are not told, and over several sites."""
    withheld: int = Field(default=0, ge=0, le=100)
    """Bins of the curve that are not told, because too few patients stand behind them."""


class ArmScores(Record):
    """One arm's classifier on test patients; intervals are bootstrapped over patients.

    ``sensitivity`` (where ``specificity`` is kept), ``brier`` and ``calibration`` are None in results that were written
    before there were any, and where nothing is told.
    """

    accuracy: Interval
    precision: Interval
    recall: Interval
    f1: Interval
    auc: Interval
    sensitivity: Interval | None = None
    specificity: float | None = Field(default=None, gt=0, le=1)
    brier: Interval | None = None
    calibration: Calibration | None = None
    patients: int | None = Field(default=None, ge=0)
    slices: int | None = Field(default=None, ge=0)
    confusion: Confusion | None = None
    steps: int | None = Field(default=None, ge=0)
    """Optimiser steps taken; equal in every arm."""


class SiteArms(Record):
    """A site's reply: scores by arm, or by the one model it was asked to evaluate."""

    arms: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,50}$")], ArmScores]

    @field_validator("arms")
    @classmethod
    def _shares(cls, value: dict[str, ArmScores]) -> dict[str, ArmScores]:
        # Of one site: an interval over several may reach beyond, as it is made from their variances.
        for scores in value.values():
            figures = (scores.accuracy, scores.precision, scores.recall, scores.f1, scores.auc)
            for figure in (*figures, scores.sensitivity, scores.brier):
                for end in (figure.mean, figure.low, figure.high) if figure is not None else ():
                    if end is not None and not -1e-6 <= end <= 1 + 1e-6:
                        raise ValueError("a classifier's figures are between 0 and 1")
        return value


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
    privacy: PrivacyResults | None = None
    """None where the study trained without differential privacy."""
    silent: dict[str, dict[str, str]] = {}
    """By phase, the sites that it went on without, and why; rounds have an account of their own."""
    timings: dict[str, float] = {}
    """Seconds by phase."""
