"""The arms of the classifier study as both reports show them: chart, table, confusion matrices, and the words for
what two intervals say about each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.experiment import ARMS
from common.report.charts import Chart, IntervalRow, interval_chart, shared_span
from common.report.formatting import AUC, MISSING, PERCENT, SIMILARITY, Scale, listed
from common.report.tables import Table, figure, interval_columns, interval_fields, number, word
from common.results_classifier import CENTRALISED, EXTERNAL, FEDERATED, SITES, ArmScores, Confusion, Interval

ARM_TITLES = {
    "real": "real only",
    "real_synthetic": "real + synthetic",
    "synthetic": "synthetic only",
    "copy_paste": "real + copy-paste",
    "blob": "real + blob",
    "local_generator": "real + local generator",
}
BASELINE = ARM_TITLES["real"]
MEASURES: tuple[tuple[str, str, Scale], ...] = (
    ("accuracy", "accuracy", PERCENT),
    ("precision", "precision", PERCENT),
    ("recall", "recall", PERCENT),
    ("f1", "F1", PERCENT),
    ("auc", "AUC", AUC),
)
"""Attribute of ``ArmScores``, heading and scale of every score of an arm."""
FURTHER: tuple[tuple[str, str, Scale], ...] = (
    ("sensitivity", "sensitivity", PERCENT),
    ("brier", "Brier score", SIMILARITY),
)
"""The same of those in a table of their own; an arm need not have them."""

Scores = Mapping[str, ArmScores]


def arm_title(arm: str) -> str:
    return ARM_TITLES.get(arm, arm.replace("_", " "))


def in_order(scores: Scores) -> list[tuple[str, ArmScores]]:
    """Arms in the order of the study's design, unknown ones last."""
    known = [arm for arm in ARMS if arm in scores]
    return [(arm, scores[arm]) for arm in [*known, *sorted(set(scores) - set(known))]]


SCOPE_TITLES = {
    FEDERATED: "in federation",
    CENTRALISED: "in one place (centralised)",
    EXTERNAL: "at external centres",
    SITES: "at single sites, mean",
}
"""Scopes that are no site."""


def scope_title(scope: str) -> str:
    """
    >>> scope_title("federated"), scope_title("hospital1")
    ('in federation', 'hospital1')
    """
    return SCOPE_TITLES.get(scope, scope)


@dataclass(frozen=True)
class ConfusionTable:
    title: str
    confusion: Confusion


@dataclass(frozen=True)
class ChartSet:
    """Panels that share one axis."""

    title: str
    panels: Sequence[Chart]


def overlap(one: Interval, other: Interval) -> bool | None:
    """True if two 95% intervals share a value; None if one of them has no bounds.

    >>> overlap(Interval(mean=0.8, low=0.7, high=0.9), Interval(mean=0.95, low=0.85, high=1))
    True
    """
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return one.low <= other.high and other.low <= one.high


def compared(one: Interval, other: Interval) -> str:
    """``higher``, ``lower``, ``no difference shown`` or ``not comparable``: what two intervals allow one to say."""
    shared = overlap(one, other)
    if shared is None or one.mean is None or other.mean is None:
        return "not comparable"
    if shared:
        return "no difference shown"
    return "higher" if one.mean > other.mean else "lower"


def verdict(scores: Scores, arm: str = "real_synthetic", against: Sequence[str] = ARMS) -> str:
    """One clause on how an arm's accuracy stands to that of other arms; empty if there is none to compare with.

    >>> def of(mean: float) -> ArmScores:
    ...     interval = Interval(mean=mean, low=mean - 0.05, high=mean + 0.05)
    ...     return ArmScores(accuracy=interval, precision=interval, recall=interval, f1=interval, auc=interval)
    >>> verdict({"real": of(0.8), "real_synthetic": of(0.82), "blob": of(0.95)})
    'lower than real + blob; not shown to differ from real only, whose interval overlaps'
    """
    groups: dict[str, list[str]] = {}
    for other in against:
        if other in scores and other != arm:
            groups.setdefault(compared(scores[arm].accuracy, scores[other].accuracy), []).append(arm_title(other))
    clauses = [f"{word} than {listed(groups[word])}" for word in ("higher", "lower") if word in groups]
    if same := groups.get("no difference shown"):
        whose = "whose interval overlaps" if len(same) == 1 else "whose intervals overlap"
        clauses.append(f"not shown to differ from {listed(same, 'or')}, {whose}")
    if unknown := groups.get("not comparable"):
        clauses.append(f"without intervals to compare with {listed(unknown)}")
    return "; ".join(clauses)


def arms_table(caption: str, scores: Scores) -> Table:
    """One row an arm: every score with its interval, then what stands behind it."""
    rows = []
    for arm, its in in_order(scores):
        measures = [figure(getattr(its, key), scale) for key, _, scale in MEASURES]
        rows.append([word(arm_title(arm)), *measures, number(its.patients), number(its.slices), number(its.steps)])
    return Table(caption, ["arm", *(title for _, title, _ in MEASURES), "patients", "slices", "steps"], rows)


def further_table(scores: Scores) -> Table | None:
    """One row an arm: sensitivity at a fixed specificity and how far probabilities can be taken at their word; None if
    no arm has any of these."""
    shown = [(arm, its) for arm, its in in_order(scores) if its.sensitivity or its.brier or its.calibration]
    if not shown:
        return None
    levels = sorted({its.specificity for _, its in shown if its.specificity is not None})
    bins = sorted({its.calibration.bins for _, its in shown if its.calibration})
    rows = [
        [
            word(arm_title(arm)),
            *(figure(getattr(its, key), scale) for key, _, scale in FURTHER),
            number(SIMILARITY.number(its.calibration.error if its.calibration else None)),
        ]
        for arm, its in shown
    ]
    level = listed(map(PERCENT.text, levels)) or MISSING
    caption = (
        f"Sensitivity at the threshold that keeps a specificity of {level} on the same patients; Brier score, the mean "
        "squared difference of probability and truth; expected calibration error "
        f"over {listed(map(str, bins)) or MISSING} bins of equally many slices. Of the last two, lower is better."
    )
    return Table(caption, ["arm", *(title for _, title, _ in FURTHER), "calibration error"], rows)


def arms_charts(scopes: Mapping[str, Scores]) -> list[ChartSet]:
    """Dots and intervals of accuracy and AUC, one panel a scope; the axis of a set is shared."""
    sets = []
    for key, title, scale in (("accuracy", "Accuracy, %", PERCENT), ("auc", "AUC", AUC)):
        span = shared_span([getattr(its, key) for scores in scopes.values() for its in scores.values()])
        panels = [
            interval_chart(
                scope_title(scope),
                [IntervalRow(arm_title(arm), getattr(its, key)) for arm, its in in_order(scores)],
                span=span,
                scale=scale,
                baseline=BASELINE,
            )
            for scope, scores in scopes.items()
            if scores
        ]
        sets.append(ChartSet(title, panels))
    return sets


def confusion_tables(scores: Scores) -> list[ConfusionTable]:
    """The arms whose confusion matrix is known."""
    return [ConfusionTable(arm_title(arm), its.confusion) for arm, its in in_order(scores) if its.confusion]


ARM_COLUMNS = [
    "scope",
    "arm",
    *(column for key, _, _ in MEASURES for column in interval_columns(key)),
    "patients",
    "slices",
    "steps",
    *Confusion.model_fields,
    *(column for key, _, _ in FURTHER for column in interval_columns(key)),
    "specificity",
    "calibration_error",
    "calibration_bins",
]
"""Columns of ``arms.csv``."""


def arm_rows(scopes: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Rows of ``arms.csv``, at full precision."""
    rows = []
    for scope, scores in scopes.items():
        for arm, its in in_order(scores):
            row: dict[str, Any] = {"scope": scope, "arm": arm}
            for key, _, _ in (*MEASURES, *FURTHER):
                row |= interval_fields(key, getattr(its, key))
            row |= {"patients": its.patients, "slices": its.slices, "steps": its.steps}
            row |= {"specificity": its.specificity}
            if its.calibration:
                row |= {"calibration_error": its.calibration.error, "calibration_bins": its.calibration.bins}
            rows.append(row | (its.confusion.model_dump() if its.confusion else {}))
    return rows
