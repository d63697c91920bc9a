"""The scores of several sites as one: nothing but what each told of itself is needed."""

from common.metrics.bootstrap import NORMAL_95, mean_over_sites
from common.metrics.classification import FURTHER, GAINS, METRICS
from common.results_classifier import ArmScores, Calibration, Confusion, Interval


def pooled(scores: list[ArmScores]) -> ArmScores:
    """Several sites' scores as one: unweighted means over the sites that could show theirs; counts where all did.

    Sensitivities are averaged where all are at one specificity. A curve over all sites would need their probabilities,
    which they keep.
    """
    means = mean_over_sites([_summary(score) for score in scores])
    confusions = [score.confusion for score in scores]
    patients = [score.patients for score in scores]
    slices = [score.slices for score in scores]
    levels = {score.specificity for score in scores if score.sensitivity is not None}
    if len(levels) != 1:
        means.pop("sensitivity", None)

    def over_sites(metric: str) -> Interval | None:
        return _share(means[metric].interval()) if metric in means else None

    nothing = Interval(mean=None)
    return ArmScores(
        accuracy=over_sites("accuracy") or nothing,
        precision=over_sites("precision") or nothing,
        recall=over_sites("recall") or nothing,
        f1=over_sites("f1") or nothing,
        auc=over_sites("auc") or nothing,
        sensitivity=over_sites("sensitivity"),
        brier=over_sites("brier"),
        accuracy_gain=means["accuracy_gain"].interval() if "accuracy_gain" in means else None,
        auc_gain=means["auc_gain"].interval() if "auc_gain" in means else None,
        specificity=levels.pop() if "sensitivity" in means else None,
        calibration=_mean_calibration([score.calibration for score in scores if score.calibration is not None]),
        patients=sum(n for n in patients if n is not None) if None not in patients else None,
        slices=sum(n for n in slices if n is not None) if None not in slices else None,
        confusion=_sum([c for c in confusions if c is not None]) if None not in confusions else None,
        steps=scores[0].steps if scores else None,
    )


def _share(interval: Interval) -> Interval:
    """A normal interval of a share may reach beyond what a share can be; it ends there."""
    if interval.low is None or interval.high is None:
        return interval
    return Interval(mean=interval.mean, low=max(0.0, interval.low), high=min(1.0, interval.high))


def _summary(scores: ArmScores) -> dict[str, tuple[float | None, float | None]]:
    """Metric -> (mean, standard error); sites send intervals, whose width gives the error back."""

    def error(interval: Interval) -> float | None:
        if interval.low is None or interval.high is None:
            return None
        return (interval.high - interval.low) / (2 * NORMAL_95)

    told = {metric: getattr(scores, metric) for metric in (*METRICS, *FURTHER, *GAINS)}
    return {metric: (value.mean, error(value)) for metric, value in told.items() if value is not None}


def _mean_calibration(sites: list[Calibration]) -> Calibration | None:
    bins = {site.bins for site in sites}
    if len(bins) != 1:
        return None
    return Calibration(error=sum(site.error for site in sites) / len(sites), bins=bins.pop())


def _sum(confusions: list[Confusion]) -> Confusion:
    return Confusion(**{name: sum(getattr(c, name) for c in confusions) for name in Confusion.model_fields})
