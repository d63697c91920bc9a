"""What a study found out about its classifiers: the part of its results that sites send and the server adds up.

A count or a figure is None where it was not declared, not reached, or suppressed because fewer than ``min_cell``
patients stand behind it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from common.figures.figure import REAL_ONLY, Figure, Scores
from common.figures.record import Record
from common.results.shares import Shares

FEDERATED, CENTRALISED, EXTERNAL, SITES = "federated", "centralised", "external", "sites/mean"
"""Scopes beside the names of the sites: in federation, in one place, the federation's on patients of external centres,
and the mean over the sites' own classifiers."""


class Confusion(Record):
    """Slices of the test patients at probability 0.5."""

    true_positive: int = Field(ge=0)
    false_positive: int = Field(ge=0)
    true_negative: int = Field(ge=0)
    false_negative: int = Field(ge=0)

    @classmethod
    def of(cls, tp: int, fp: int, tn: int, fn: int) -> Self:
        """From the four counts."""
        return cls(true_positive=tp, false_positive=fp, true_negative=tn, false_negative=fn)


class ReliabilityBin(Record):
    """Slices with about the same probability: its mean, and the share of them that do show a tumour."""

    predicted: float = Field(ge=0, le=1)
    positive: float = Field(ge=0, le=1)
    slices: int = Field(ge=1)
    patients: int = Field(ge=1)


class ClassifierScores(Scores):
    """A classifier on the slices of some test patients.

    Attributes:
        figures: with intervals over patients; a figure that is undefined or withheld has no value, or is not there.
        confusion: slices at probability 0.5.
        reliability: curve from the lowest to the highest probability, over several sites none.
        withheld: bins of the curve that are not told, because too few patients stand behind them.
        steps: of the optimiser, equal in every arm.
    """

    confusion: Confusion | None = None
    reliability: list[ReliabilityBin] | None = Field(default=None, max_length=100)
    withheld: int = Field(default=0, ge=0, le=100)
    steps: int | None = Field(default=None, ge=0)


MOST_FIGURES = 60
"""Of one classifier, in a message."""

_CONDITIONS = frozenset({"specificity", "bins", "reach"})


class ToldScores(ClassifierScores):
    """The same as a site may tell it: figures that leave a site, of a form that the coordinator knows."""

    figures: list[Figure] = Field(max_length=MOST_FIGURES)

    @field_validator("figures")
    @classmethod
    def _of_a_site(cls, figures: list[Figure]) -> list[Figure]:
        for one in figures:
            if not one.of.leaves or one.references:
                raise ValueError("holds a figure that no site tells")
            if one.conditions.keys() - _CONDITIONS or any(isinstance(value, str) for value in one.conditions.values()):
                raise ValueError("holds a condition that no site names")
            # Of one site: an interval over several may reach beyond, as it is made from their variances.
            for end in (one.low, one.high):
                if end is not None and not one.of.holds(end, difference=bool(one.against)):
                    raise ValueError("an interval lies outside the metric's range")
        return figures


class SiteArms(Record):
    """A site's reply: scores by arm, or by the one model it was asked to evaluate.

    ``left_out`` are the scores on the patients of the fold that was left out of training, where one was.
    ``test_to_train`` is the number of those over the number that trained, where the site declares counts.
    """

    arms: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,50}$")], ToldScores]
    left_out: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,50}$")], ToldScores] = {}
    test_to_train: float | None = Field(default=None, gt=0, le=1e4)


class CrossSite(Record):
    """Rows are models (sites and ``federated``), columns are sites' test patients."""

    models: list[str]
    sites: list[str]
    figures: dict[str, list[list[Figure | None]]]
    """By :attr:`~common.figures.figure.Figure.column`; None where it is missing or withheld."""


class TrialResult(Record):
    """One repetition of the classifier study (:class:`common.study.trials.Trial`)."""

    name: str
    """Empty for the first one, whose scores are also those of ``Results.arms``."""
    images: str
    """The GAN whose images the arms were trained on; empty where there were none."""
    run: int
    fold: int
    patients: int
    ratio: float
    arms: dict[str, dict[str, ClassifierScores]] = {}
    """On the fixed test patients: by site, ``federated`` and ``external`` (all external centres), then by arm."""
    left_out: dict[str, dict[str, ClassifierScores]] = {}
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
    """By :attr:`~common.figures.figure.Figure.column`."""


class PooledGain(Record):
    """An arm's gain over real slices only on the fixed test patients, averaged over training sets.

    The interval is over the test patients, and as wide as that of a single training set on average: the same patients
    are tested in each. The spreads say how the training sets differ.
    """

    scope: str
    arm: str
    figures: list[Figure]
    """Of the metrics that have a gain; their means over training sets."""
    spreads: dict[str, Spread]
    """By metric."""
    trials: int = Field(ge=1)

    @property
    def accuracy(self) -> Figure:
        """The gain that the study asks for; without a value where it was not measured."""
        return self.gain("accuracy") or Figure(metric="accuracy", against=REAL_ONLY, value=None)

    def gain(self, metric: str) -> Figure | None:
        """Of one metric; None if it was not measured or is withheld."""
        found = (one for one in self.figures if one.metric == metric and one.value is not None)
        return next(found, None)
