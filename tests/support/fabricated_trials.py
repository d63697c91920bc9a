"""A fabricated classifier study in trials, clearly not a result of anything: scores are drawn from a fixed seed, and
what they say together is made by the coordinator's own code."""

from typing import Any

import numpy as np
from classifier_scores import between, classifier_scores, figures
from fabricated_generators import TRAINING

from common.figures.figure import REAL_ONLY, Figure
from common.metrics.bootstrap import Estimate
from common.results.classifier import ClassifierScores, CrossSite, TrialResult
from common.results.study import Results
from common.study.config import compose
from common.study.experiment import ARMS
from common.study.trials import Trial, arms_of, trials_of
from server.evidence import comparisons, pooled_gains, repeated
from server.trials import scopes_of

STUDY = [
    "model=[cgan,wgan_gp]",
    "study.folds=3",
    "study.runs=2",
    "study.curve=[4,8]",
    "study.ratios=[0.5,2]",
    "study.each_generator=true",
    f"study.arms=[{','.join(ARMS)}]",
]
CENTRES = {
    "real": 0.81,
    "real_synthetic": 0.86,
    "synthetic": 0.79,
    "copy_paste": 0.85,
    "blob": 0.86,
    "local_generator": 0.84,
}


def fabricated_study(results: Results) -> Results:
    """The results with repetitions, what they say together, matrices of other arms, and what classifiers look at."""
    experiment = compose(STUDY)
    random = np.random.default_rng(11)
    first = {**results.arms, "external": _scope(random, list(ARMS), 0.0)}
    trials = [_trial(random, trial, arms_of(experiment, trial)) for trial in trials_of(experiment)]
    trials[0] = trials[0].model_copy(update={"arms": first})
    found, missing = comparisons(experiment, trials)
    missing = {**missing, "hospital3": "it does not declare counts, and fewer patients train than the folds leave"}
    found.pop("hospital3")
    arms = {**results.arms, "centralised": _scope(random, list(ARMS), 0.02)}
    arms["federated"] = {arm: _looking(random, scores) for arm, scores in results.arms["federated"].items()}
    config = {**results.run.config, "study": {"arms": list(ARMS), "synthetic_ratio": 1.0, "folds": 3, "runs": 2}}
    assert results.cross_site is not None
    real = _with_f1(results.cross_site)
    return results.model_copy(
        update={
            "run": results.run.model_copy(update={"config": config}),
            "arms": arms,
            "trials": trials,
            "repeated": repeated(trials),
            "gains": pooled_gains(trials),
            "comparisons": found,
            "not_compared": missing,
            "cross_site": real,
            "cross_site_arms": {"real_synthetic": real, "synthetic": real},
            "cross_site_gain": {"real_synthetic": _differences(random, real)},
        }
    )


def _trial(random: np.random.Generator, trial: Trial, arms: list[str]) -> TrialResult:
    scarce = -0.02 * (8 - trial.patients) if trial.patients else 0.0

    def told(*further: str) -> dict[str, dict[str, ClassifierScores]]:
        scores = {scope: _scope(random, arms, scarce) for scope in (*TRAINING, "federated", *further)}
        sites = {site: scores[site] for site in TRAINING}
        return scopes_of(sites, scores["federated"], scores.get("external", {}))

    left_out = told() if trial.fold else {}
    return TrialResult(
        name=trial.name,
        images=trial.images,
        run=trial.run,
        fold=trial.fold,
        patients=trial.patients,
        ratio=trial.ratio,
        arms=told("external"),
        left_out=left_out,
        test_to_train=dict.fromkeys(TRAINING, 0.5) if trial.fold else {},
    )


def _scope(random: np.random.Generator, arms: list[str], shift: float) -> dict[str, ClassifierScores]:
    return {arm: _arm(random, arm, shift) for arm in arms}


def _arm(random: np.random.Generator, arm: str, shift: float) -> ClassifierScores:
    mean = CENTRES[arm] + shift + float(random.normal(0, 0.012))
    gain = mean - CENTRES["real"] - shift

    def interval(centre: float, width: float = 0.05) -> Estimate:
        return between(centre, centre - width * random.uniform(0.8, 1), centre + width)

    gains: dict[str, Any] = {}
    if arm != "real":
        gains = {"accuracy_gain": interval(gain, 0.02), "auc_gain": interval(gain / 2, 0.015)}
    return classifier_scores(
        accuracy=interval(mean),
        precision=interval(mean - 0.031),
        recall=interval(mean - 0.047),
        f1=interval(mean - 0.039),
        auc=interval(mean + 0.063),
        patients=20,
        slices=480,
        steps=200,
        **gains,
    )


def _looking(random: np.random.Generator, scores: ClassifierScores) -> ClassifierScores:
    share, refilled = float(random.uniform(0.3, 0.5)), float(random.uniform(0.05, 0.15))

    def interval(mean: float) -> Estimate:
        return between(mean, mean - 0.021, mean + 0.024)

    looking = figures(
        {
            "attention": interval(share),
            "attention_chance": interval(0.083),
            "attention_above": interval(share - 0.083),
            "untouched": interval(0.062),
            "refilled": interval(refilled),
            "by_refilling": interval(refilled - 0.062),
        }
    )
    return scores.model_copy(update={"figures": [*scores.figures, *looking]})


def _with_f1(matrix: CrossSite) -> CrossSite:
    def f1(auc: Figure | None) -> Figure | None:
        if auc is None or auc.value is None:
            return None
        value = auc.value - 0.127
        return Figure(metric="f1", value=value, low=value - 0.071, high=value + 0.052)

    figures = {**matrix.figures, "f1": [[f1(cell) for cell in row] for row in matrix.figures["auc"]]}
    return matrix.model_copy(update={"figures": {key: figures[key] for key in ("auc", "f1", "accuracy")}})


def _differences(random: np.random.Generator, matrix: CrossSite) -> CrossSite:
    """Gains of both signs where the matrix has figures."""
    gains = [
        [None if cell is None else float(random.normal(0.01, 0.03)) for cell in row] for row in matrix.figures["auc"]
    ]

    def of(metric: str) -> list[list[Figure | None]]:
        return [
            [
                None
                if gain is None
                else Figure(metric=metric, against=REAL_ONLY, value=gain, low=gain - 0.028, high=gain + 0.033)
                for gain in row
            ]
            for row in gains
        ]

    parts = {f"{metric}_over_{REAL_ONLY}": of(metric) for metric in ("auc", "accuracy")}
    return CrossSite(models=matrix.models, sites=matrix.sites, figures=parts)
