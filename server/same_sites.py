"""Which federated classifiers may be compared: those that the same sites trained, and the same sites tested.

An update counts in a round or it does not; two trainings are over the same sites where each site's update counted in as
many rounds of the one as of the other. Otherwise a difference between them may be one between their sites.
"""

from collections.abc import Mapping, Sequence

from common.figures.formatting import listed, plural
from common.report.arms import arm_title
from common.results.classifier import Apart, TrialResult
from server.statistics.comparison import REAL, pairs


def arms_apart(trials: Sequence[TrialResult]) -> list[Apart]:
    """Every pair of arms that is not compared, trial by trial, in the order of the comparisons."""
    found = []
    for trial in trials:
        beside = trial if REAL in trial.contributors else _with_real(trial, trials)
        arms = dict.fromkeys([*trial.contributors, *([REAL] if beside is not None else [])])
        for arm, against in pairs(list(arms)):
            other = beside if against == REAL and beside is not None else trial
            reason = _difference(trial, arm, other, against)
            if reason:
                found.append(Apart(trial=trial.name, arm=arm, against=against, reason=reason))
    return found


def why_apart(apart: Sequence[Apart], arm: str, against: str) -> str:
    """Why two arms are not compared in the first of the trials in which they are not; empty where they always are."""
    return next((one.reason for one in apart if {one.arm, one.against} == {arm, against}), "")


def by_sites(counted: Mapping[str, int], rounds: int) -> str:
    """Sites that took part in some of the rounds with how many.

    >>> by_sites({"a": 4, "b": 1}, 4)
    'a and b (in 1 of 4 rounds)'
    """
    told = (site if n == rounds else f"{site} (in {n} of {plural(rounds, 'round')})" for site, n in counted.items())
    return listed(told) or "no site"


def _difference(trial: TrialResult, arm: str, other: TrialResult, against: str) -> str:
    own, its = trial.contributors.get(arm, {}), other.contributors.get(against, {})
    if own != its:
        rounds = max((*own.values(), *its.values()), default=0)
        return (
            f"{arm_title(against)} was trained by {by_sites(its, rounds)}, {arm_title(arm)} by {by_sites(own, rounds)}"
        )
    tested, its_tested = trial.tested.get(arm, []), other.tested.get(against, [])
    if tested != its_tested:
        return (
            f"{arm_title(against)} was tested by {listed(its_tested) or 'no site'}, {arm_title(arm)} by "
            f"{listed(tested) or 'no site'}"
        )
    return ""


def _with_real(trial: TrialResult, trials: Sequence[TrialResult]) -> TrialResult | None:
    """The trial of the same run on the fixed split, over whose arm of real slices the gains of this one are told."""
    plain = (one for one in trials if not (one.fold or one.patients or one.ratio) and one.images == trials[0].images)
    return next((one for one in plain if one.run == trial.run and REAL in one.contributors), None)
