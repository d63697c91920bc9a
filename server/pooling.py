"""The scores of several sites as one: nothing but what each told of itself is needed."""

from collections.abc import Sequence

from common.figures.figure import Figure
from common.figures.registry import METRICS
from common.metrics.bootstrap import mean_over_sites
from common.results.classifier import ClassifierScores, Confusion


def pooled(scores: Sequence[ClassifierScores]) -> ClassifierScores:
    """Several sites' scores as one: unweighted means over the sites that could show theirs; counts where all did.

    Figures under several conditions, e.g. sensitivities at several specificities, are not averaged. A curve over all
    sites would need their probabilities, which they keep.
    """
    order = list(METRICS)
    keys = sorted({one.key for each in scores for one in each.figures}, key=lambda key: (order.index(key[0]), key))
    confusions = [score.confusion for score in scores]
    return ClassifierScores(
        figures=[mean for key in keys if (mean := _mean([score.get(key) for score in scores])) is not None],
        patients=_sum([score.patients for score in scores]),
        slices=_sum([score.slices for score in scores]),
        confusion=_added([c for c in confusions if c is not None]) if None not in confusions else None,
        steps=scores[0].steps if scores else None,
    )


def _mean(sites: Sequence[Figure | None]) -> Figure | None:
    told = [one for one in sites if one is not None and one.value is not None]
    if not told or any(one.conditions != told[0].conditions for one in told):
        return None
    (mean,) = mean_over_sites([{"": (one.value, one.standard_error)} for one in told]).values()
    first, low, high = told[0], mean.low, mean.high
    if not first.against:
        # A normal interval of a share may reach beyond what a share can be; it ends there.
        least, most = first.of.range
        low = low if low is None or least is None else max(least, low)
        high = high if high is None or most is None else min(most, high)
    metric, part, against = first.key
    return mean.figure(metric, part, against, conditions=first.conditions).model_copy(update={"low": low, "high": high})


def _sum(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count for count in counts if count is not None)


def _added(confusions: Sequence[Confusion]) -> Confusion:
    return Confusion(**{name: sum(getattr(c, name) for c in confusions) for name in Confusion.model_fields})
