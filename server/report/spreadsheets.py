"""The study's figures as CSV files beside the page, at full precision."""

from pathlib import Path
from typing import Any

from common.report.arms import ARM_COLUMNS, Scores, arm_rows
from common.report.tables import interval_columns, interval_fields, write_csv
from common.results import Results, SiteEntry
from common.results_classifier import CrossSite, Interval
from server.report.generator_rows import FINAL_COLUMNS, final_rows, round_columns, round_rows
from server.report.trial_rows import (
    COMPARISON_COLUMNS,
    GAIN_COLUMNS,
    TRIAL_COLUMNS,
    comparison_rows,
    gain_rows,
    trial_rows,
)

SPREADSHEETS = (
    "arms.csv",
    "trials.csv",
    "comparisons.csv",
    "gains.csv",
    "cross_site.csv",
    "gan_rounds.csv",
    "gan_final.csv",
    "sites.csv",
)
"""In the order in which the page lists them."""


def write_spreadsheets(results: Results, folder: Path) -> list[Path]:
    """Writes :data:`SPREADSHEETS`; a part that is not there gives a file with headings alone."""
    return [
        write_csv(folder / "arms.csv", ARM_COLUMNS, arm_rows(_scopes(results))),
        write_csv(folder / "trials.csv", TRIAL_COLUMNS, trial_rows(results)),
        write_csv(folder / "comparisons.csv", COMPARISON_COLUMNS, comparison_rows(results)),
        write_csv(folder / "gains.csv", GAIN_COLUMNS, gain_rows(results)),
        write_csv(folder / "cross_site.csv", _CROSS_COLUMNS, cross_site_rows(results.cross_site)),
        write_csv(folder / "gan_rounds.csv", round_columns(results), round_rows(results)),
        write_csv(folder / "gan_final.csv", FINAL_COLUMNS, final_rows(results)),
        write_csv(folder / "sites.csv", ["site", *SiteEntry.model_fields], site_rows(results)),
    ]


def _scopes(results: Results) -> dict[str, Scores]:
    """Sites and the federation, and the federation by organ as ``federated/<organ>``."""
    return {**results.arms, **{f"federated/{organ}": scores for organ, scores in results.organ_arms.items()}}


def cross_site_rows(matrix: CrossSite | None) -> list[dict[str, Any]]:
    """One row a model and site."""
    if matrix is None:
        return []

    def interval(cell: Interval | None, mean: float | None) -> Interval:
        return Interval(mean=mean, low=cell.low if cell else None, high=cell.high if cell else None)

    return [
        {"model": model, "site": site}
        | interval_fields("auc", interval(matrix.auc_interval[i][j], matrix.auc[i][j]))
        | interval_fields("accuracy", interval(matrix.accuracy_interval[i][j], matrix.accuracy[i][j]))
        for i, model in enumerate(matrix.models)
        for j, site in enumerate(matrix.sites)
    ]


def site_rows(results: Results) -> list[dict[str, Any]]:
    """One row a site; an undeclared count is an empty field."""
    joined = ("contrasts", "roles", "notes")
    return [
        {"site": name, **entry.model_dump(), **{key: "; ".join(getattr(entry, key)) for key in joined}}
        for name, entry in results.sites.items()
    ]


_CROSS_COLUMNS = ["model", "site", *interval_columns("auc"), *interval_columns("accuracy")]
