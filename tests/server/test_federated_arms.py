"""Which arms of the study are trained in federation."""

from common.study.config import compose
from common.study.experiment import ARMS
from server.arms import trained_arms


def test_only_the_arms_that_were_asked_for_are_trained_in_federation() -> None:
    few = compose(["model=[cgan]", "study.federated_arms=[real,synthetic]"])
    assert trained_arms(few, "cgan") == ["real", "synthetic"]
    assert trained_arms(few, None) == ["real"]
    assert trained_arms(compose(["model=[cgan]"]), "cgan") == [*ARMS[:5]]
