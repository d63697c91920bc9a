"""Which sites drop out of which training, and why: known before anything is trained."""

from dataclasses import replace

import pytest

from common.errors import StudyError
from common.protocol.records import SiteHello
from common.study.config import compose
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
    # Real slices are trained by three, synthetic ones by two: the comparison that will not be made is seen before.
    assert plans[MADE_IMAGES].sites == ["a", "b"]
    assert plans[MADE_IMAGES].absent == {"c": "its tumours have no masks", **outside}
    assert told(plans["cgan"]) == (
        "cgan: trained by a and b, all counting alike in the average, because none declares its counts; not by c (its "
        "tumours have no masks) and external (it trains nothing)"
    )
    # One site alone is no average.
    assert told(plans["cyclegan"]).startswith("cyclegan: trained by a; not by b")


def test_the_plan_says_what_sites_count_by_and_why() -> None:
    def declaring(one: Member, examples: int) -> Member:
        return replace(one, hello=one.hello.model_copy(update={"examples": examples, "examples_of": "slices"}))

    a, b, c, external = ROSTER.members
    roster = Roster((declaring(a, 48), declaring(b, 30), c, external), {})
    plans = {plan.training: plan for plan in planned_trainings(STUDY, roster, "cgan")}
    assert plans["cgan"].weighted_by == "slices"
    assert "a and b, counting by their declared training slices in the average; not by" in told(plans["cgan"])
    # The classifier is also trained by a site that keeps its number to itself.
    assert plans["classifier"].weighted_by == "sites"
    assert plans["classifier"].weighted.endswith("because c declares no counts (declare_counts)")


def test_arms_that_the_same_sites_train_are_planned_once() -> None:
    both = Roster(ROSTER.members[:2], {})
    assert [plan.training for plan in planned_trainings(STUDY, both, "cgan")] == ["cgan", "cyclegan", "classifier"]


def test_a_study_that_cannot_begin_says_why_its_sites_do_not_take_part() -> None:
    with pytest.raises(StudyError, match=f"b: {GRADIENTS}. c: {GRADIENTS}"):
        ROSTER.require("gan/cyclegan", 2)
