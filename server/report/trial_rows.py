"""Rows of ``trials.csv``, ``comparisons.csv`` and ``gains.csv``: repetitions of the classifier study, at full
precision."""

from typing import Any

from common.report.arms import in_order
from common.report.figures import FIGURE_COLUMNS, figure_fields
from common.results.statistics import Comparison, PairedTest
from common.results.study import Results

_OF_A_TEST = ("n", "mean", "low", "high", "statistic", "df", "p", "test_to_train", "undefined")

TRIAL_COLUMNS = [
    "trial",
    "images",
    "run",
    "fold",
    "most_patients",
    "ratio",
    "scored_on",
    "scope",
    "arm",
    *FIGURE_COLUMNS,
]
COMPARISON_COLUMNS = [
    "scope",
    "score",
    "runs",
    "folds",
    "arm",
    "against",
    "left_out",
    "counts",
    *(f"{test}_{key}" for test in ("corrected", "plain") for key in (*_OF_A_TEST, "holm_p", "holm_family")),
    "d_z",
    "g_z",
]
GAIN_COLUMNS = ["scope", "arm", *FIGURE_COLUMNS, "deviation", "training_sets"]


def trial_rows(results: Results) -> list[dict[str, Any]]:
    """One row a figure, arm, scope and trial, for the fixed test patients and, where there are any, those left out.

    An empty name is the study on its fixed split; 0 patients and ratio 0 stand for the study's own.
    """
    rows = []
    for trial in results.trials:
        head = {
            "trial": trial.name,
            "images": trial.images,
            "run": trial.run,
            "fold": trial.fold,
            "most_patients": trial.patients,
            "ratio": trial.ratio,
        }
        for scored_on, scopes in (("fixed test patients", trial.arms), ("patients left out", trial.left_out)):
            for scope, scores in scopes.items():
                for arm, its in in_order(scores):
                    row = {**head, "scored_on": scored_on, "scope": scope, "arm": arm}
                    rows += [{**row, **figure_fields(one)} for one in its.figures]
    return rows


def comparison_rows(results: Results) -> list[dict[str, Any]]:
    """One row a comparison, score and scope."""
    return [
        {"scope": scope, "score": table.score, "runs": table.runs, "folds": table.folds, **_comparison(one)}
        for scope, tables in results.comparisons.items()
        for table in tables
        for one in table.comparisons
    ]


def _comparison(one: Comparison) -> dict[str, Any]:
    def of(name: str, test: PairedTest) -> dict[str, Any]:
        return {f"{name}_{key}": getattr(test, key) for key in _OF_A_TEST}

    holm = {"corrected": one.corrected_holm, "plain": one.plain_holm}
    return {
        "arm": one.arm,
        "against": one.against,
        "left_out": one.left_out,
        "counts": one.corrected.counts,
        **of("corrected", one.corrected),
        **of("plain", one.plain),
        **{f"{name}_holm_p": found.p if found else None for name, found in holm.items()},
        **{f"{name}_holm_family": found.family if found else None for name, found in holm.items()},
        "d_z": one.difference.d_z,
        "g_z": one.difference.g_z,
    }


def gain_rows(results: Results) -> list[dict[str, Any]]:
    """One row a metric, arm and scope."""
    return [
        {
            "scope": gain.scope,
            "arm": gain.arm,
            **figure_fields(one),
            "deviation": gain.spreads[one.metric].deviation if one.metric in gain.spreads else None,
            "training_sets": gain.trials,
        }
        for gain in results.gains
        for one in gain.figures
    ]
