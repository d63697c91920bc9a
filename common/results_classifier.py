"""What a study found out about its classifiers: the part of its results that sites send and the server adds up.

A count or a figure is None where it was not declared, not reached, or suppressed because fewer than ``min_cell``
patients stand behind it.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from common.figures.record import Record
from common.results_shares import Shares

FEDERATED, CENTRALISED, EXTERNAL, SITES = "federated", "centralised", "external", "sites/mean"
"""Scopes beside the names of the sites: in federation, in one place, the federation's on patients of external centres,
and the mean over the sites' own classifiers."""


class Interval(Record):
    """A mean with a 95% interval; low and high are None below ``min_cell`` patients."""

    mean: float | None
    low: float | None = None
    high: float | None = None


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


class Attention(Record):
    """Where a classifier looks: means over the test slices with a tumour, intervals over patients.

    ``share`` is how much of Grad-CAM's mass lies inside the lesion (grown by what the maps' resolution demands),
    ``chance`` how much would if it were spread evenly over the foreground, ``above`` their paired difference.
    """

    share: Interval
    chance: Interval
    above: Interval
    slices: int | None = Field(default=None, ge=0)
    blank: int | None = Field(default=None, ge=0)
    """Slices without a map: the classifier finds nothing there that speaks for a tumour."""


class Shortcut(Record):
    """Whether a classifier sees that a region was refilled: healthy test slices, intervals over patients.

    ``untouched`` and ``refilled`` are the shares called tumour of the same slices as they are, and with a region
    blanked and filled by the generator without a lesion; ``difference`` is refilled minus untouched, paired.
    """

    untouched: Interval
    refilled: Interval
    difference: Interval
    slices: int | None = Field(default=None, ge=0)


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
    accuracy_gain: Interval | None = None
    """Over the same classifier trained on real slices only, paired over patients; None for that one itself."""
    auc_gain: Interval | None = None
    attention: Attention | None = None
    shortcut: Shortcut | None = None


def _require_between(lowest: float, figures: Sequence[Interval | None], message: str) -> None:
    for figure in figures:
        for end in (figure.mean, figure.low, figure.high) if figure is not None else ():
            if end is not None and not lowest - 1e-6 <= end <= 1 + 1e-6:
                raise ValueError(message)


class SiteArms(Record):
    """A site's reply: scores by arm, or by the one model it was asked to evaluate.

    ``left_out`` are the scores on the patients of the fold that was left out of training, where one was.
    ``test_to_train`` is the number of those over the number that trained, where the site declares counts.
    """

    arms: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,50}$")], ArmScores]
    left_out: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,50}$")], ArmScores] = {}
    test_to_train: float | None = Field(default=None, gt=0, le=1e4)

    @field_validator("arms", "left_out")
    @classmethod
    def _shares(cls, value: dict[str, ArmScores]) -> dict[str, ArmScores]:
        # Of one site: an interval over several may reach beyond, as it is made from their variances.
        for scores in value.values():
            figures = (scores.accuracy, scores.precision, scores.recall, scores.f1, scores.auc)
            looks, sees = scores.attention, scores.shortcut
            shares = [*figures, scores.sensitivity, scores.brier]
            shares += [looks.share, looks.chance] if looks else []
            shares += [sees.untouched, sees.refilled] if sees else []
            differences = [scores.accuracy_gain, scores.auc_gain]
            differences += [looks.above] if looks else []
            differences += [sees.difference] if sees else []
            _require_between(0, shares, "a classifier's figures are between 0 and 1")
            _require_between(-1, differences, "a difference of shares is between -1 and 1")
        return value


class CrossSite(Record):
    """Rows are models (sites and ``federated``), columns are sites' test patients."""

    models: list[str]
    sites: list[str]
    auc: list[list[float | None]]
    accuracy: list[list[float | None]]
    auc_interval: list[list[Interval | None]]
    accuracy_interval: list[list[Interval | None]]
    f1: list[list[float | None]] = []
    f1_interval: list[list[Interval | None]] = []
    """F1 is empty in a matrix of gains."""


class TrialResult(Record):
    """One repetition of the classifier study (:class:`common.trials.Trial`)."""

    name: str
    """Empty for the first one, whose scores are also those of ``Results.arms``."""
    images: str
    """The GAN whose images the arms were trained on; empty where there were none."""
    run: int
    fold: int
    patients: int
    ratio: float
    arms: dict[str, dict[str, ArmScores]] = {}
    """On the fixed test patients: by site, ``federated`` and ``external`` (all external centres), then by arm."""
    left_out: dict[str, dict[str, ArmScores]] = {}
    """On the patients of the fold, in the same order; a fold with too few of them has no figures."""
    test_to_train: dict[str, float] = {}
    """By site: patients left out over patients that trained, where counts are declared."""
    contributors: dict[str, dict[str, int]] = {}
    """By arm and site: in how many rounds of the federated classifier the site's update counted."""
    tested: dict[str, list[str]] = {}
    """By arm: the sites whose scores ``federated`` is the mean of."""
    generator: dict[str, int] = {}
    """By site: in how many rounds of the GAN's training for this trial alone its update counted."""
    shares: dict[str, list[Shares]] = {}
    """By arm: how much each site counted in the average of the federated classifier, over the rounds up to the chosen
    one; empty in results that were written before it was told."""
    generator_shares: list[Shares] = []
    """The same of the GAN's training for this trial alone."""


class Apart(Record):
    """Two federated arms of a trial that are not compared, because other sites stand behind one than behind the other.

    Attributes:
        trial: its name; empty for the first one.
        arm, against: which.
        reason: in words.
    """

    trial: str
    arm: str
    against: str
    reason: str


class Spread(Record):
    """A figure over several trials: mean, standard deviation (None for one trial) and how many there were."""

    mean: float
    deviation: float | None = None
    n: int = Field(ge=1)


class Repeated(Record):
    """One arm in one scope over the trials of one kind."""

    kind: Literal["fixed", "folds", "images", "patients", "ratio"]
    """``fixed``: runs on the fixed split, and ``images``, ``patients`` and ``ratio`` those that differ from it in that;
    ``folds``: run-folds, scored on the patients left out."""
    value: str = ""
    """Which GAN, how many patients or which ratio."""
    scope: str
    arm: str
    figures: dict[str, Spread]
    """By measure: ``accuracy``, ``precision``, ``recall``, ``f1``, ``auc``, ``accuracy_gain``, ``auc_gain``."""


class PooledGain(Record):
    """An arm's gain over real slices only on the fixed test patients, averaged over training sets.

    The interval is over the test patients, and as wide as that of a single training set on average: the same patients
    are tested in each. The spreads say how the training sets differ.
    """

    scope: str
    arm: str
    accuracy: Interval
    auc: Interval
    accuracy_spread: Spread | None = None
    auc_spread: Spread | None = None
    trials: int = Field(ge=1)
