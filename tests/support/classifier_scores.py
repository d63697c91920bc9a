"""Scores of a classifier, written down in a line."""

from typing import Any

from common.figures.figure import REAL_ONLY, Figure
from common.metrics.bootstrap import NORMAL_95, Estimate
from common.results.classifier import ClassifierScores, ToldScores

KEYS = {
    "accuracy_gain": ("accuracy", "", REAL_ONLY),
    "auc_gain": ("auc", "", REAL_ONLY),
    "attention": ("attention", "", ""),
    "attention_chance": ("attention", "chance", ""),
    "attention_above": ("attention", "", "chance"),
    "untouched": ("called_tumour", "untouched", ""),
    "refilled": ("called_tumour", "refilled", ""),
    "by_refilling": ("called_tumour", "refilled", "untouched"),
}
"""Names of figures that are not those of their metric."""

CONDITIONS: dict[str, dict[str, str | int | float]] = {
    "sensitivity": {"specificity": 0.9},
    "calibration_error": {"bins": 10},
}


def between(value: float, low: float, high: float) -> Estimate:
    """With the standard error of a normal interval as wide as this one."""
    return Estimate(value, low, high, (high - low) / (2 * NORMAL_95))


def figures(told: dict[str, Estimate | float | None], **more: Any) -> list[Figure]:
    """By name, in the order given; a number stands for a figure without an interval."""
    return [
        (one if isinstance(one, Estimate) else Estimate(one)).figure(
            *KEYS.get(name, (name, "", "")), conditions=CONDITIONS.get(name, {}), **more
        )
        for name, one in told.items()
    ]


def classifier_scores(
    *,
    patients: int | None = None,
    slices: int | None = None,
    confusion: Any = None,
    reliability: Any = None,
    steps: int | None = None,
    **told: Estimate | float | None,
) -> ClassifierScores:
    return ClassifierScores(
        figures=figures(told),
        patients=patients,
        slices=slices,
        confusion=confusion,
        reliability=reliability,
        steps=steps,
    )


def told_scores(**told: Any) -> ToldScores:
    """The same as a site tells it."""
    return ToldScores.model_validate(classifier_scores(**told).model_dump())


def set_figure(scores: ClassifierScores, name: str, one: Estimate | float | None) -> None:
    """Changes one figure in place, or adds it."""
    (new,) = figures({name: one})
    scores.figures = [*(old for old in scores.figures if old.key != new.key), new]
