"""Who trains what, known after hello: the sites of every training of the study, and why the others drop out of it."""

from collections.abc import Sequence

from common.figures.formatting import listed
from common.results.study import PlannedTraining
from common.study.experiment import Experiment
from common.system.outside import printable
from server.roster import Member, Roster
from server.site_weights import site_weights

CLASSIFIER = "classifier"
MADE_IMAGES = "classifiers on synthetic images"
"""The arms for which sites need images of a GAN that they train."""


def planned_trainings(experiment: Experiment, roster: Roster, labelling: str | None) -> list[PlannedTraining]:
    """Each GAN, the classifier of real slices, and those of synthetic ones where other sites train them.

    Args:
        labelling: the GAN whose slices the arms train on; None without one.
    """
    plans = [_planned(name, [f"gan/{name}"], roster) for name in experiment.models]
    plans.append(_planned(CLASSIFIER, [CLASSIFIER], roster))
    if labelling is not None:
        made = _planned(MADE_IMAGES, [CLASSIFIER, f"gan/{labelling}"], roster)
        if made.sites != plans[-1].sites:
            plans.append(made)
    return plans


def told(plan: PlannedTraining) -> str:
    """A line for the terminal.

    >>> told(PlannedTraining(training="cyclegan", sites=["a", "b"], absent={"c": "it has no T1"}))
    'cyclegan: trained by a and b; not by c (it has no T1)'
    """
    absent = listed(f"{site} ({reason})" for site, reason in plan.absent.items())
    weighted = f", {plan.weighted}" if plan.weighted else ""
    trained = f"{plan.training}: trained by {listed(plan.sites) or 'nobody'}{weighted}"
    return trained + (f"; not by {absent}" if absent else "")


def _planned(training: str, tasks: Sequence[str], roster: Roster) -> PlannedTraining:
    absent = {
        member.site: why
        for member in roster.members
        if (why := next((_reason(member, task) for task in tasks if task not in member.hello.tasks), None)) is not None
    }
    members = [member for member in roster.members if member.site not in absent]
    weights = site_weights(members)
    return PlannedTraining(
        training=training,
        sites=[member.site for member in members],
        absent=absent,
        weighted_by=weights.by,
        weighted=weights.told if len(members) > 1 else "",
    )


def _reason(member: Member, task: str) -> str:
    if "train" not in member.hello.roles:
        return "it trains nothing"
    return printable(member.hello.declined.get(task, "it did not say why"))
