"""The study's figures as CSV files beside the page, at full precision."""

from pathlib import Path
from typing import Any

from common.report.arms import ARM_COLUMNS, CONFUSION_COLUMNS, Scores, arm_rows, confusion_rows
from common.report.figures import FIGURE_COLUMNS, figure_fields
from common.report.tables import write_csv
from common.results.study import Results, SiteEntry
from server.report.overview import final_runs
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
    "confusion.csv",
    "trials.csv",
    "comparisons.csv",
    "gains.csv",
    "cross_site.csv",
    "gan_rounds.csv",
    "gan_figures.csv",
    "sites.csv",
)
"""In the order in which the page lists them."""


def write_spreadsheets(results: Results, folder: Path) -> list[Path]:
    """Writes :data:`SPREADSHEETS`; a part that is not there gives a file with headings alone."""
    return [
        write_csv(folder / "arms.csv", ARM_COLUMNS, arm_rows(_scopes(results))),
        write_csv(folder / "confusion.csv", CONFUSION_COLUMNS, confusion_rows(_scopes(results))),
        write_csv(folder / "trials.csv", TRIAL_COLUMNS, trial_rows(results)),
        write_csv(folder / "comparisons.csv", COMPARISON_COLUMNS, comparison_rows(results)),
        write_csv(folder / "gains.csv", GAIN_COLUMNS, gain_rows(results)),
        write_csv(folder / "cross_site.csv", _CROSS_COLUMNS, cross_site_rows(results)),
        write_csv(folder / "gan_rounds.csv", _round_columns(results), round_rows(results)),
        write_csv(folder / "gan_figures.csv", _GAN_COLUMNS, gan_rows(results)),
        write_csv(folder / "sites.csv", ["site", *SiteEntry.model_fields], site_rows(results)),
    ]


def _scopes(results: Results) -> dict[str, Scores]:
    """Sites and the federation, and the federation by organ as ``federated/<organ>``."""
    return {**results.arms, **{f"federated/{organ}": scores for organ, scores in results.organ_arms.items()}}


def cross_site_rows(results: Results) -> list[dict[str, Any]]:
    """One row a figure of each model and site, of every arm that has a matrix; a gain says what it is over."""
    matrices = [("real", results.cross_site), *results.cross_site_arms.items(), *results.cross_site_gain.items()]
    return [
        {"trained_on": arm, "model": model, "site": site} | figure_fields(one)
        for arm, matrix in matrices
        if matrix is not None
        for cells in matrix.figures.values()
        for model, line in zip(matrix.models, cells, strict=True)
        for site, one in zip(matrix.sites, line, strict=True)
        if one is not None
    ]


def site_rows(results: Results) -> list[dict[str, Any]]:
    """One row a site; an undeclared count is an empty field."""
    joined = ("contrasts", "roles", "notes")
    return [
        {"site": name, **entry.model_dump(), **{key: "; ".join(getattr(entry, key)) for key in joined}}
        for name, entry in results.sites.items()
    ]


_CROSS_COLUMNS = ["trained_on", "model", "site", *FIGURE_COLUMNS]


def _round_columns(results: Results) -> list[str]:
    losses = sorted({key for gan in results.gans.values() for r in gan.rounds for key in r.losses})
    return ["gan", "round", "seconds", "contributors", "refused", *(f"loss.{key}" for key in losses)]


def round_rows(results: Results) -> list[dict[str, Any]]:
    """One row a round; sites and reasons joined by semicolons, losses under ``loss.<name>``."""
    return [
        {"gan": name, "round": r.round, "seconds": r.seconds}
        | {"contributors": "; ".join(r.contributors)}
        | {"refused": "; ".join(f"{refusal.site}: {refusal.reason}" for refusal in r.refused)}
        | {f"loss.{key}": value for key, value in r.losses.items()}
        for name, gan in results.gans.items()
        for r in gan.rounds
    ]


_GAN_COLUMNS = ["gan", "run", "round", "reference_part", "subject", "collapsed", *FIGURE_COLUMNS]


def gan_rows(results: Results) -> list[dict[str, Any]]:
    """One row a figure: of every round on the selection part, and of each run's chosen round on the final part."""
    scored = [
        (name, 1, r.round, "selection", scores)
        for name, gan in results.gans.items()
        for r in gan.rounds
        for scores in [r.scores]
    ] + [
        (name, run.run, run.chosen_round, "final", run.final)
        for name, gan in results.gans.items()
        for run in final_runs(gan)
    ]
    return [
        {"gan": gan, "run": run, "round": number, "reference_part": part, "subject": subject}
        | {"collapsed": scores.collapsed}
        | figure_fields(figure)
        for gan, run, number, part, by_subject in scored
        for subject, scores in by_subject.items()
        for figure in scores.figures
    ]
