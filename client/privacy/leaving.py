"""The one gate that a classifier's figures pass on their way out of a site.

What it lets through is listed, not what it holds back: a figure of a metric that may leave, on enough patients; counts
where the hospital declares them; and nothing of a classifier that was trained here without noise in a private study.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from client.data.context import StudyContext
from client.privacy.guarded import tells_counts
from common.figures.figure import Figure
from common.results.classifier import ClassifierScores, ToldScores

CONDITIONS = ("specificity", "bins", "reach")
"""Of a figure, that do not depend on any patient."""


@dataclass(frozen=True)
class Rules:
    """What a site lets through.

    Attributes:
        min_cell: fewest patients behind a figure.
        counts: whether numbers of patients and slices are declared.
        nothing: whether nothing at all leaves: the classifier was trained here, in a private study.
        decisive: by metric, how many patients decide it; empty where nobody could choose a classifier to learn it.
    """

    min_cell: int
    counts: bool
    nothing: bool = False
    decisive: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, study: StudyContext, *, trained_here: bool, decisive: Mapping[str, int] | None = None) -> "Rules":
        """Those of a study at this site.

        Args:
            trained_here: on this site's patients, without noise.
            decisive: of :func:`~common.metrics.classification.decisive_patients`; counts where answers are guarded.
        """
        return cls(
            min_cell=study.min_cell,
            counts=tells_counts(study),
            nothing=trained_here and study.private,
            decisive=decisive or {} if study.guarded else {},
        )


def leaving(scores: ClassifierScores, rules: Rules) -> ToldScores:
    """The part of a classifier's scores that may leave; steps are the study's own and do."""
    if rules.nothing or scores.patients is None or scores.patients < rules.min_cell:
        return ToldScores(figures=[], steps=None if rules.nothing else scores.steps)
    figures = [_told(one, rules) for one in scores.figures if _may_leave(one, rules)]
    if not rules.counts:
        return ToldScores(figures=figures, steps=scores.steps)
    return ToldScores(
        figures=figures,
        slices=scores.slices,
        patients=scores.patients,
        confusion=scores.confusion,
        reliability=scores.reliability,
        withheld=scores.withheld,
        steps=scores.steps,
    )


def _may_leave(one: Figure, rules: Rules) -> bool:
    """A figure stays if it does not say how many patients it rests on, or its metric is not listed."""
    if not one.of.leaves or one.patients is None:
        return False
    return min(one.patients, rules.decisive.get(one.metric, one.patients)) >= rules.min_cell


def _told(one: Figure, rules: Rules) -> Figure:
    return Figure(
        metric=one.metric,
        part=one.part,
        against=one.against,
        value=one.value,
        low=one.low,
        high=one.high,
        standard_error=one.standard_error,
        n=one.n if rules.counts else None,
        patients=one.patients if rules.counts else None,
        left_out=one.left_out if rules.counts else None,
        conditions={key: value for key, value in one.conditions.items() if key in CONDITIONS},
    )
