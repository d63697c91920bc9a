"""Which sites drop out of which training, and why: known before anything is trained."""

import pytest

from common.config import compose
from common.errors import StudyError
from common.records import SiteHello
from server.plan import MADE_IMAGES, planned_trainings, told
from server.roster import Member, Roster

GRADIENTS = "its hospital does not allow gradients to be exchanged"
STUDY = compose(["preset=demo", "model=[cgan,cyclegan]"])


def member(name: str, tasks: list[str], declined: dict[str, str], roles: tuple[str, ...] = ("train",)) -> Member:
    hello = SiteHello(
        site=name, organ="brain", modality="MRI", contrasts=["t1"], roles=list(roles), tasks=tasks, declined=declined
    )
    return Member(name, 1, hello)


ROSTER = Roster(
    (
        member("a", ["gan/cgan", "gan/cyclegan", "classifier"], {}),
        member("b", ["gan/cgan", "classifier"], {"gan/cyclegan": GRADIENTS}),
        member("c", ["classifier"], {"gan/cgan": "its tumours have no masks", "gan/cyclegan": GRADIENTS}),
        member("external", [], {}, ("evaluate",)),
    ),
    {},
)


def test_every_training_has_its_sites_and_the_reasons_of_the_others() -> None:
    plans = {plan.training: plan for plan in planned_trainings(STUDY, ROSTER, "cgan")}
    outside = {"external": "it trains nothing"}
    assert plans["cyclegan"].sites == ["a"]
    assert plans["cyclegan"].absent == {"b": GRADIENTS, "c": GRADIENTS, **outside}
    assert plans["classifier"].sites == ["a", "b", "c"]
    # Real slices are trained by three, made ones by two: the comparison that will not be made is seen before.
    assert plans[MADE_IMAGES].sites == ["a", "b"]
    assert plans[MADE_IMAGES].absent == {"c": "its tumours have no masks", **outside}
    assert told(plans["cgan"]) == (
        "cgan: trained by a and b; not by c (its tumours have no masks) and external (it trains nothing)"
    )


def test_arms_that_the_same_sites_train_are_planned_once() -> None:
    both = Roster(ROSTER.members[:2], {})
    assert [plan.training for plan in planned_trainings(STUDY, both, "cgan")] == ["cgan", "cyclegan", "classifier"]


def test_a_study_that_cannot_begin_says_why_its_sites_do_not_take_part() -> None:
    with pytest.raises(StudyError, match=f"b: {GRADIENTS}. c: {GRADIENTS}"):
        ROSTER.require("gan/cyclegan", 2)
