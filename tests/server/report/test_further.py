"""The sentences on the fixed split say what the figures allow, and no more."""

from collections.abc import Callable

import pytest
from classifier_scores import set_figure
from fabricated_generators import change

from common.metrics.bootstrap import Estimate
from common.results.classifier import ClassifierScores
from common.results.study import Results
from server.report.answer import question
from server.report.further import further

Alter = Callable[[Results], None]


@pytest.fixture
def own(results: Results) -> Results:
    """A copy to change."""
    return results.model_copy(deep=True)


def set_accuracy(scores: ClassifierScores, mean: float | None, low: float | None, high: float | None) -> None:
    set_figure(scores, "accuracy", Estimate(value=mean, low=low, high=high))


def plain(sentences: list[str]) -> list[str]:
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in sentences]


def test_federation_sites_and_each_generator_have_a_sentence_with_its_figures(results: Results) -> None:
    federation, sites, generator, noise, translation = plain(further(results))
    real, augmented = (results.arms["federated"][arm]["accuracy"] for arm in ("real", "real_synthetic"))
    assert real.value is not None
    assert augmented.value is not None
    assert f"{augmented.value:.1%}".replace("%", " %") in federation
    assert f"{real.value:.1%}".replace("%", " %") in federation
    assert "60 test patients" in federation
    assert all(site in sites for site in ("hospital1", "hospital2", "hospital3"))
    assert "+0.118 (+0.082 to +0.158) over biharmonic inpainting" in generator
    assert noise.startswith("Whole slices made from noise: wgan_gp of round 6")
    assert "FD-EffLite0 70.7, real slices of other patients 8.40" in noise
    assert translation.count(", unchanged slices 52.6") == 2
    assert all(sentence.endswith(".") for sentence in plain(further(results)))


def test_overlapping_intervals_are_called_no_difference(own: Results) -> None:
    set_accuracy(own.arms["federated"]["real"], 0.80, 0.75, 0.85)
    set_accuracy(own.arms["federated"]["real_synthetic"], 0.88, 0.84, 0.92)
    assert further(own)[0].startswith("In federation, no difference in accuracy with synthetic images is shown")


def test_intervals_apart_are_called_higher_but_the_baselines_are_named_beside(own: Results) -> None:
    set_accuracy(own.arms["federated"]["real"], 0.80, 0.75, 0.83)
    set_accuracy(own.arms["federated"]["real_synthetic"], 0.88, 0.84, 0.92)
    set_accuracy(own.arms["federated"]["copy_paste"], 0.87, 0.83, 0.91)
    set_accuracy(own.arms["federated"]["blob"], 0.95, 0.93, 0.97)
    sentence = further(own)[0]
    assert sentence.startswith("In federation, accuracy was higher with synthetic images")
    assert "lower than real + blob; not shown to differ from real + copy-paste" in sentence


def test_sites_that_differ_are_told_apart(own: Results) -> None:
    for site, low in (("hospital1", 0.90), ("hospital2", 0.70), ("hospital3", 0.70)):
        set_accuracy(own.arms[site]["real"], 0.80, 0.75, 0.85)
        set_accuracy(own.arms[site]["real_synthetic"], low + 0.03, low, low + 0.06)
    sentence = further(own)[1]
    assert "accuracy was higher with synthetic images at hospital1 (the intervals are apart)" in sentence
    assert "no difference in accuracy with synthetic images is shown at hospital2 and hospital3" in sentence


def test_sites_that_agree_are_told_together(own: Results) -> None:
    for site in ("hospital1", "hospital2", "hospital3"):
        set_accuracy(own.arms[site]["real"], 0.80, 0.75, 0.85)
        set_accuracy(own.arms[site]["real_synthetic"], 0.70, 0.68, 0.72)
    assert "accuracy was lower with synthetic images at all 3 sites (the intervals are apart)" in further(own)[1]


def test_suppressed_figures_are_said_to_be_missing(own: Results) -> None:
    for scores in own.arms.values():
        set_accuracy(scores["real_synthetic"], None, None, None)
    federation, sites, *_ = further(own)
    assert "were not both scored" in federation
    assert "no pair" in sites


def test_a_mean_without_interval_is_not_compared(own: Results) -> None:
    set_accuracy(own.arms["federated"]["real_synthetic"], 0.99, None, None)
    assert "cannot be compared" in further(own)[0]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.9, "an interval above zero"),
        (-0.4, 0.9, "includes zero, so no gain is shown"),
        (-0.9, -0.1, "an interval below zero"),
        (None, None, "no interval could be computed"),
    ],
)
def test_a_gain_over_inpainting_is_claimed_only_above_zero(
    own: Results, low: float | None, high: float | None, said: str
) -> None:
    final = own.gans["cgan"].final["brain"]
    change(final, ("ssim", "lesion", "biharmonic"), value=0.8, low=low, high=high)
    assert said in further(own)[2]


def test_an_unfinished_run_says_what_it_had_not_reached(own: Results) -> None:
    own.gans["cgan"].final = {}
    own.arms = {}
    assert "was not scored on the final part" in further(own)[2]
    own.gans = {}
    assert further(own)[2] == "No generator was trained in this run."
    assert "no generator" in question(own)
