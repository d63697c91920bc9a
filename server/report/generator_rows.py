"""Rows of ``gan_rounds.csv`` and ``gan_final.csv``: every kind of score in the same columns, at full precision."""

from typing import Any

from pydantic import BaseModel

from common.report.tables import interval_columns, interval_fields
from common.results import (
    CycleScores,
    FinalCycle,
    FinalNearest,
    FinalPaired,
    FinalTranslation,
    FrechetScores,
    KernelScores,
    Manifold,
    NearestScores,
    PairedScores,
    Results,
    Scores,
    Translation,
    TranslationScores,
)
from common.results_classifier import Interval
from server.report.overview import final_runs

_NESTED = ("distribution", "translation")
_INTERVALS = list(
    dict.fromkeys(
        key
        for final, scores in (
            (FinalPaired, PairedScores),
            (FinalNearest, NearestScores),
            (FinalCycle, CycleScores),
            (FinalTranslation, TranslationScores),
        )
        for key in final.model_fields
        if key not in scores.model_fields
    )
)
"""What only final scores have."""


def _plain(*models: type[BaseModel]) -> list[str]:
    return list(dict.fromkeys(key for model in models for key in model.model_fields if key not in _NESTED))


SCORE_COLUMNS = [
    *_plain(PairedScores, NearestScores, CycleScores, TranslationScores, Translation),
    "features",
    "setting",
    *(f"frechet_{key}" for key in FrechetScores.model_fields),
    *(f"kernel_{key}" for key in KernelScores.model_fields),
    *Manifold.model_fields,
    *(f"real_{key}" for key in Manifold.model_fields),
    "manifold_k",
    "manifold_n",
]
"""One column a figure. Those that two kinds share mean the same: ``ssim`` is against the real slice."""


def score_fields(scores: Scores) -> dict[str, Any]:
    """One scoring's figures under :data:`SCORE_COLUMNS`, without those that its kind does not have."""
    tree = scores.model_dump(exclude=set(_INTERVALS))
    distribution, translation = tree.pop("distribution"), tree.pop("translation", None) or {}
    fields = tree | translation | {key: distribution[key] for key in ("features", "setting")}
    for part in ("frechet", "kernel"):
        fields |= {f"{part}_{key}": value for key, value in distribution[part].items()}
    manifold = distribution["manifold"]
    if manifold is not None:
        fields |= manifold["generated"] | {f"real_{key}": value for key, value in manifold["real"].items()}
        fields |= {"manifold_k": manifold["k"], "manifold_n": manifold["n"]}
    return fields


def round_columns(results: Results) -> list[str]:
    """Columns of ``gan_rounds.csv``."""
    losses = sorted({key for gan in results.gans.values() for r in gan.rounds for key in r.losses})
    happened = ["seconds", "contributors", "refused", *(f"loss.{key}" for key in losses)]
    return ["gan", "round", "subject", *SCORE_COLUMNS, *happened]


def round_rows(results: Results) -> list[dict[str, Any]]:
    """One row a round and subject; sites and reasons joined by semicolons, losses under ``loss.<name>``."""
    return [
        {"gan": name, "round": r.round, "subject": subject, "seconds": r.seconds}
        | score_fields(scores)
        | {"contributors": "; ".join(r.contributors)}
        | {"refused": "; ".join(f"{refusal.site}: {refusal.reason}" for refusal in r.refused)}
        | {f"loss.{key}": value for key, value in r.losses.items()}
        for name, gan in results.gans.items()
        for r in gan.rounds
        for subject, scores in r.scores.items()
    ]


FINAL_COLUMNS = [
    "gan",
    "run",
    "chosen_round",
    "subject",
    *SCORE_COLUMNS,
    *(column for key in _INTERVALS for column in interval_columns(key)),
]
"""Columns of ``gan_final.csv``."""


def final_rows(results: Results) -> list[dict[str, Any]]:
    """One row a GAN, run and subject."""
    rows = []
    for name, gan in results.gans.items():
        for run in final_runs(gan):
            for subject, final in run.final.items():
                row = {"gan": name, "run": run.run, "chosen_round": run.chosen_round, "subject": subject}
                row |= score_fields(final)
                for key in _INTERVALS:
                    interval: Interval | None = getattr(final, key, None)
                    row |= interval_fields(key, interval)
                rows.append(row)
    return rows
