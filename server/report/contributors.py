"""Who trained what: the plan after hello, the sites behind every training, and what is not compared because of them."""

from collections.abc import Iterator, Mapping

from common.figures.formatting import listed
from common.report.arms import arm_title, in_order
from common.report.tables import Table, number, prose, word
from common.results.classifier import FEDERATED
from common.results.study import Results
from server.same_sites import by_sites
from server.site_weights import shares_told


def plan_table(results: Results) -> Table | None:
    """One row a training of the plan; None in results without a plan, or before any site had said hello."""
    if not results.plan:
        return None
    rows = [
        [
            word(plan.training),
            word(listed(plan.sites) or "nobody"),
            prose(plan.weighted),
            prose("; ".join(f"{site}: {reason}" for site, reason in plan.absent.items())),
        ]
        for plan in results.plan
    ]
    return Table(
        "Who takes part in which training, as the sites said at the start of the study.",
        ["training", "trained by", "weighted", "not by, and why"],
        rows,
    )


def contributors_table(results: Results) -> Table | None:
    """One row a training and its sites, equal ones together; None where nobody's update was counted."""
    counted: dict[tuple[str, str, str], int] = {}
    for key in trained_by(results):
        counted[key] = counted.get(key, 0) + 1
    if not counted:
        return None
    caption = (
        "Whose updates counted, in all rounds up to the chosen one unless said otherwise; n trainings, over runs, "
        "folds and what else the study repeats. Federated classifiers are compared over the same sites only. Shares in "
        "the averages are means over these rounds; a site that is lost in a round leaves its share to the others."
    )
    rows = [[word(what), prose(who), prose(shares), number(n)] for (what, who, shares), n in counted.items()]
    return Table(caption, ["training", "sites", "shares in the average", "n"], rows)


def apart_lines(results: Results, *, first: bool = False) -> list[str]:
    """Arms that are not compared and why, a line a pair and reason.

    Args:
        first: only those of the fixed split.
    """
    trials: dict[tuple[str, str, str], list[str]] = {}
    for one in results.apart:
        if not (first and one.trial):
            trials.setdefault((one.arm, one.against, one.reason), []).append(one.trial or "the fixed split")
    return [
        f"in federation, {arm_title(arm)} with {arm_title(against)} ({listed(named)}): {reason}"
        for (arm, against, reason), named in trials.items()
    ]


def trained_by(results: Results) -> Iterator[tuple[str, str, str]]:
    """Each training, its sites and their shares in words; trainings that the study repeats have one name."""
    for name, gan in results.gans.items():
        for run in gan.runs:
            if run.contributors:
                rounds = run.chosen_round or run.rounds
                yield name, by_sites(run.contributors, rounds), shares_told(run.shares)
    for trial in results.trials:
        if trial.generator:
            sites, shares = by_sites(trial.generator, _most(trial.generator)), shares_told(trial.generator_shares)
            yield f"{trial.images}, anew for a trial", sites, shares
    arms = dict.fromkeys(arm for trial in results.trials for arm in trial.contributors)
    scored = results.arms.get(FEDERATED, {})
    for arm in [*(arm for arm, _ in in_order(scored) if arm in arms), *(arm for arm in arms if arm not in scored)]:
        for trial in results.trials:
            if own := trial.contributors.get(arm):
                rounds = max(_most(one) for one in trial.contributors.values())
                shares = shares_told(trial.shares.get(arm, []))
                yield f"classifier, {arm_title(arm)}", by_sites(own, rounds), shares


def _most(counted: Mapping[str, int]) -> int:
    return max(counted.values(), default=0)
