"""The arms of the classifier study as both reports show them: chart, table, confusion matrices, and the words for
what two intervals say about each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.figures.formatting import AUC, PERCENT, Interval, listed
from common.figures.registry import METRICS
from common.report.charts import Chart, IntervalRow, interval_chart, shared_span
from common.report.figures import FIGURE_COLUMNS, figure_cell, figure_fields
from common.report.tables import Table, number, word
from common.results.classifier import CENTRALISED, EXTERNAL, FEDERATED, SITES, ClassifierScores, Confusion
from common.study.experiment import ARMS

ARM_TITLES = {
    "real": "real only",
    "real_synthetic": "real + synthetic",
    "synthetic": "synthetic only",
    "copy_paste": "real + copy-paste",
    "blob": "real + blob",
    "local_generator": "real + local generator",
}
BASELINE = ARM_TITLES["real"]
Scores = Mapping[str, ClassifierScores]


def arm_title(arm: str) -> str:
    return ARM_TITLES.get(arm, arm.replace("_", " "))


def in_order(scores: Scores) -> list[tuple[str, ClassifierScores]]:
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


def overlap(one: Interval | None, other: Interval | None) -> bool | None:
    """True if two 95% intervals share a value; None if one of them has no bounds.

    >>> from common.metrics.bootstrap import Estimate
    >>> overlap(Estimate(0.8, 0.7, 0.9), Estimate(0.95, 0.85, 1))
    True
    """
    if one is None or other is None:
        return None
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return one.low <= other.high and other.low <= one.high


def compared(one: Interval | None, other: Interval | None) -> str:
    """``higher``, ``lower``, ``no difference shown`` or ``not comparable``: what two intervals allow one to say."""
    shared = overlap(one, other)
    if shared is None or one is None or other is None or one.value is None or other.value is None:
        return "not comparable"
    if shared:
        return "no difference shown"
    return "higher" if one.value > other.value else "lower"


def verdict(scores: Scores, arm: str = "real_synthetic", against: Sequence[str] = ARMS) -> str:
    """One clause on how an arm's accuracy stands to that of other arms; empty if there is none to compare with.

    >>> from common.figures.figure import Figure
    >>> def of(mean: float) -> ClassifierScores:
    ...     accuracy = Figure(metric="accuracy", value=mean, low=mean - 0.05, high=mean + 0.05)
    ...     return ClassifierScores(figures=[accuracy])
    >>> verdict({"real": of(0.8), "real_synthetic": of(0.82), "blob": of(0.95)})
    'lower than real + blob; not shown to differ from real only, whose interval overlaps'
    """
    groups: dict[str, list[str]] = {}
    for other in against:
        if other in scores and other != arm:
            found = compared(scores[arm].get("accuracy"), scores[other].get("accuracy"))
            groups.setdefault(found, []).append(arm_title(other))
    clauses = [f"{word} than {listed(groups[word])}" for word in ("higher", "lower") if word in groups]
    if same := groups.get("no difference shown"):
        whose = "whose interval overlaps" if len(same) == 1 else "whose intervals overlap"
        clauses.append(f"not shown to differ from {listed(same, 'or')}, {whose}")
    if unknown := groups.get("not comparable"):
        clauses.append(f"without intervals to compare with {listed(unknown)}")
    return "; ".join(clauses)


def arms_table(caption: str, scores: Scores) -> Table:
    """One row an arm: every figure with its interval, then what stands behind it."""
    shown = in_order(scores)
    metrics = [key for key in METRICS if any(its.get(key) is not None for _, its in shown)]
    rows = [
        [
            word(arm_title(arm)),
            *(figure_cell(its.get(key)) for key in metrics),
            *(number(count) for count in (its.patients, its.slices, its.steps)),
        ]
        for arm, its in shown
    ]
    caption = " ".join([caption, *_conditions(scores)])
    return Table(caption, ["arm", *(METRICS[key].title for key in metrics), "patients", "slices", "steps"], rows)


def _conditions(scores: Scores) -> list[str]:
    """What some figures depend on, where they are there."""
    found: dict[tuple[str, str], set[str]] = {}
    for its in scores.values():
        for one in its.values():
            for name, value in one.conditions.items():
                told = PERCENT.text(float(value)) if name == "specificity" else str(value)
                found.setdefault((one.metric, name), set()).add(told)
    words = {
        (
            "sensitivity",
            "specificity",
        ): "Sensitivity keeps a specificity of {} on these patients.",
        ("calibration_error", "bins"): "Calibration error over {} bins of equally many slices; of it and the Brier "
        "score, lower is better.",
    }
    return [text.format(listed(sorted(found[key]), "or")) for key, text in words.items() if key in found]


def arms_charts(scopes: Mapping[str, Scores]) -> list[ChartSet]:
    """Dots and intervals of accuracy and AUC, one panel a scope; the axis of a set is shared."""
    sets = []
    for key, title, scale in (("accuracy", "Accuracy, %", PERCENT), ("auc", "AUC", AUC)):
        span = shared_span([its.get(key) for scores in scopes.values() for its in scores.values()])
        panels = [
            interval_chart(
                scope_title(scope),
                [IntervalRow(arm_title(arm), its.get(key)) for arm, its in in_order(scores)],
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


ARM_COLUMNS = ["scope", "arm", *FIGURE_COLUMNS]
"""Columns of ``arms.csv``."""

CONFUSION_COLUMNS = ["scope", "arm", "patients", "slices", "steps", *Confusion.model_fields]
"""Columns of ``confusion.csv``."""


def arm_rows(scopes: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Rows of ``arms.csv``, one a figure."""
    return [
        {"scope": scope, "arm": arm} | figure_fields(one)
        for scope, scores in scopes.items()
        for arm, its in in_order(scores)
        for one in its.figures
    ]


def confusion_rows(scopes: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Rows of ``confusion.csv``, one an arm: counts at probability 0.5, where they are declared."""
    return [
        {"scope": scope, "arm": arm, "patients": its.patients, "slices": its.slices, "steps": its.steps}
        | (its.confusion.model_dump() if its.confusion else {})
        for scope, scores in scopes.items()
        for arm, its in in_order(scores)
    ]
