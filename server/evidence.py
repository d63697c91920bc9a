"""What all trials together say: means and spreads, gains with their intervals, and tests that know of overlap.

Everything that a report shows of several trials is made here once, from what the trials found, so that it stands in
``results.json`` too.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from common.figures.figure import Figure, Key
from common.metrics.bootstrap import NORMAL_95, Estimate
from common.results.classifier import (
    EXTERNAL,
    FEDERATED,
    SITES,
    ClassifierScores,
    PooledGain,
    Repeated,
    Spread,
    TrialResult,
)
from common.results.statistics import ComparisonTable
from common.study.experiment import Experiment
from server.same_sites import arms_apart
from server.statistics.comparison import RunFold, compare_arms

COMPARED = ("accuracy", "auc")
"""Scores that are tested; each is a family of its own for Holm's correction."""


def repeated(trials: Sequence[TrialResult]) -> list[Repeated]:
    """Each arm in each scope over the trials of one kind: mean, standard deviation, how many."""
    groups: dict[tuple[str, str, str, str], list[ClassifierScores]] = {}
    for trial in trials:
        kind, value = _kind(trial, trials)
        scopes = trial.left_out if kind == "folds" else trial.arms
        for scope, arms in scopes.items():
            for arm, scores in arms.items():
                groups.setdefault((kind, value, scope, arm), []).append(scores)
    found = []
    for (kind, value, scope, arm), of_arm in groups.items():
        keys = dict.fromkeys(one.key for scores in of_arm for one in scores.figures if not one.part)
        spreads = {key: one for key in keys if (one := _spread(of_arm, key)) is not None}
        figures = {Figure.named(key): one for key, one in spreads.items()}
        if figures:
            found.append(
                Repeated.model_validate({"kind": kind, "value": value, "scope": scope, "arm": arm, "figures": figures})
            )
    return found


def pooled_gains(trials: Sequence[TrialResult]) -> list[PooledGain]:
    """Every arm's gain on the fixed test patients over the training sets of the folds, or, where there are none, over
    the runs on the fixed split."""
    folds = [trial for trial in trials if trial.fold]
    chosen = folds or [trial for trial in trials if _kind(trial, trials)[0] == "fixed"]
    groups: dict[tuple[str, str], list[ClassifierScores]] = {}
    for trial in chosen:
        for scope, arms in trial.arms.items():
            for arm, scores in arms.items():
                if any(True for _ in scores.gains()):
                    groups.setdefault((scope, arm), []).append(scores)
    return [
        PooledGain(
            scope=scope,
            arm=arm,
            figures=[_averaged([one.get(key) for one in scores]) for key in _gain_keys(scores)],
            spreads={key[0]: one for key in _gain_keys(scores) if (one := _spread(scores, key)) is not None},
            trials=len(scores),
        )
        for (scope, arm), scores in groups.items()
    ]


def _gain_keys(scores: Sequence[ClassifierScores]) -> list[Key]:
    return list(dict.fromkeys(one.key for each in scores for one in each.gains()))


def comparisons(
    experiment: Experiment, trials: Sequence[TrialResult]
) -> tuple[dict[str, list[ComparisonTable]], dict[str, str]]:
    """The tests over run-folds by scope, and for the scopes that cannot have them, why."""
    folds = [trial for trial in trials if trial.fold]
    tables: dict[str, list[ComparisonTable]] = {}
    missing: dict[str, str] = {}
    scopes = dict.fromkeys(scope for trial in folds for scope in trial.arms if scope != EXTERNAL)
    for scope in scopes:
        told = [trial for trial in folds if any(_known(one) for one in trial.left_out.get(scope, {}).values())]
        if not told:
            missing[scope] = "no fold has enough patients for a figure that may be told"
            continue
        ratios = {(trial.run, trial.fold): _test_to_train(experiment, trial, scope) for trial in told}
        known = {key: ratio for key, ratio in ratios.items() if ratio is not None}
        if len(known) < len(ratios):
            missing[scope] = "it does not declare counts, and fewer patients train than the folds leave"
            continue
        tables[scope] = [
            compare_arms(
                _by_arm(told, scope, score),
                known,
                score=score,
                apart=_apart(told) if scope == FEDERATED else (),
            )
            for score in COMPARED
        ]
    return tables, missing


def _apart(trials: Sequence[TrialResult]) -> list[tuple[str, str, RunFold]]:
    """Which arms are not compared in which run and fold, because other sites stand behind them."""
    of_trial = {trial.name: (trial.run, trial.fold) for trial in trials}
    return [(one.arm, one.against, of_trial[one.trial]) for one in arms_apart(trials)]


def _by_arm(trials: Iterable[TrialResult], scope: str, score: str) -> dict[str, dict[RunFold, float | None]]:
    found: dict[str, dict[RunFold, float | None]] = {}
    for trial in trials:
        for arm, scores in trial.left_out[scope].items():
            found.setdefault(arm, {})[trial.run, trial.fold] = scores.value(score)
    return found


def _test_to_train(experiment: Experiment, trial: TrialResult, scope: str) -> float | None:
    """Test over training patients of a fold: told by the sites, or known from the number of folds where all the others
    train.

    Over several sites the largest ratio counts: it widens the intervals most.
    """
    told = trial.test_to_train
    several = scope in (FEDERATED, SITES)
    ratios = list(told.values()) if several else [told[scope]] if scope in told else []
    study = experiment.study
    if not ratios or (several and len(ratios) < len(set(trial.arms) - {FEDERATED, EXTERNAL, SITES})):
        if study.most_patients or study.most_tumour_patients:
            return None
        ratios = [*ratios, 1 / (study.folds - 1)]
    return max(ratios)


def _kind(trial: TrialResult, trials: Sequence[TrialResult]) -> tuple[str, str]:
    if trial.fold:
        return "folds", ""
    if trial.patients:
        return "patients", str(trial.patients)
    if trial.ratio:
        return "ratio", f"{trial.ratio:g}"
    if trial.images and trial.images != trials[0].images:
        return "images", trial.images
    return "fixed", ""


def _known(scores: ClassifierScores) -> bool:
    return scores.value("accuracy") is not None


def _spread(scores: Sequence[ClassifierScores], key: Key) -> Spread | None:
    values = [value for one in scores if (value := one.value(*key)) is not None]
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(mean=statistics.fmean(values), deviation=deviation, n=len(values))


def _averaged(figures: Sequence[Figure | None]) -> Figure:
    """The mean over trials; its interval is of the mean width, since the same patients were tested in each.

    That is the interval if the trials' errors by patient are wholly correlated, and too wide otherwise.
    """
    there = [one for one in figures if one is not None]
    told = [one for one in there if one.value is not None]
    metric, part, against = there[0].key
    mean = Estimate(statistics.fmean(one.value for one in told if one.value is not None)) if told else Estimate(None)
    errors = [one.standard_error for one in told if one.standard_error is not None]
    if mean.value is None or len(errors) < len(told):
        return mean.figure(metric, part, against)
    error = statistics.fmean(errors)
    half = NORMAL_95 * error
    averaged = replace(mean, low=mean.value - half, high=mean.value + half, standard_error=error)
    return averaged.figure(metric, part, against)
