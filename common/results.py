"""What a study found, as one typed tree: the ServerApp writes it, the study report renders it, researchers read it.

A count or a figure is None where it was not declared, not reached, or suppressed because fewer than ``min_cell``
patients stand behind it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.results_classifier import Apart, ArmScores, CrossSite, Interval, PooledGain, Repeated, TrialResult
from common.results_privacy import PrivacyResults
from common.results_shares import Shares
from common.statistics.records import ComparisonTable

SCHEMA = "oncofed-results/5"


class Record(BaseModel):
    """Base of every part; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


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
    shares: list[Shares] = []
    """How much each contributor counted in the average of each network."""
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
    contributors: dict[str, int] = {}
    """By site, in how many rounds up to the chosen one its update counted."""
    shares: list[Shares] = []
    """How much each site counted in the average of each network, over these rounds."""


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
    arms: dict[str, dict[str, ArmScores]] = {}
    """By site, and for all sites together under ``federated``; then by arm."""
    organ_arms: dict[str, dict[str, ArmScores]] = {}
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
