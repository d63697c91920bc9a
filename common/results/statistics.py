"""What the statistics of a study say, as records that go into its results.

A probability never stands alone: the record that holds it says by which test it was found, over how many values of
what, and, where it was corrected for several comparisons, over how many of them.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from common.figures.record import Record

TestName = Literal["paired t-test", "corrected resampled t-test"]


class PairedTest(Record):
    """A two-sided test of whether the mean of paired differences a - b is 0.

    Attributes:
        test: which one.
        n: how many pairs.
        counts: what they are, in the plural, e.g. ``run-folds``.
        mean: of the differences, in the unit of the scores; None without a pair.
        low, high: its 95% interval, by the variance of the test itself.
        statistic: t.
        df: degrees of freedom, n - 1.
        p: the probability of a statistic at least as far from 0 where the expected difference is 0.
        test_to_train: size of a test set over that of a training set, by which the corrected test widens the variance;
            None for the plain one, and where there is no ``p``.
        undefined: why there is no ``p`` (and no interval, statistic or df); None where there is.
    """

    test: TestName
    n: int = Field(ge=0)
    counts: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    statistic: float | None = None
    df: int | None = None
    p: float | None = Field(default=None, ge=0, le=1)
    test_to_train: float | None = Field(default=None, gt=0)
    undefined: str | None = None

    @model_validator(mode="after")
    def _told_or_explained(self) -> Self:
        if (self.p is None) != (self.undefined is not None):
            raise ValueError("a test has a probability, or says why it has none")
        return self


class Holm(Record):
    """A probability adjusted by Holm's procedure.

    Attributes:
        p: adjusted.
        family: over how many comparisons; those without a probability are not among them.
    """

    p: float = Field(ge=0, le=1)
    family: int = Field(ge=1)


class StandardisedDifference(Record):
    """How large a mean paired difference is beside the spread of the differences.

    Attributes:
        n: pairs.
        counts: what they are, in the plural.
        d_z: mean of the differences over their standard deviation (Cohen).
        g_z: ``d_z`` without its bias at small n (Hedges).
        undefined: why there is neither; None where there are both.
    """

    n: int = Field(ge=0)
    counts: str
    d_z: float | None = None
    g_z: float | None = None
    undefined: str | None = None


class Comparison(Record):
    """One arm against another, over the run-folds in which both have a score.

    Attributes:
        arm, against: differences are the first one's score minus the second one's.
        left_out: run-folds in which one of the two, or both, had no score, or that do not count for another reason.
        plain: the paired t-test, as the source study reports it. Its folds share training patients, which it does not
            know of: it finds differences where there are none.
        corrected: the corrected resampled t-test, the one to go by.
        plain_holm, corrected_holm: their probabilities over all comparisons of the table; None where undefined.
        difference: the size of the difference beside its spread over run-folds.
    """

    arm: str
    against: str
    left_out: int = Field(ge=0)
    plain: PairedTest
    corrected: PairedTest
    plain_holm: Holm | None = None
    corrected_holm: Holm | None = None
    difference: StandardisedDifference


class ComparisonTable(Record):
    """Every comparison of one score between the arms of a study.

    Attributes:
        score: what was compared, e.g. ``accuracy``.
        runs, folds: how many of each there are in all.
        comparisons: each arm against ``real``, then each arm with generated images against the plain baselines.
    """

    score: str
    runs: int = Field(ge=0)
    folds: int = Field(ge=0)
    comparisons: list[Comparison]
