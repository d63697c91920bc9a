"""The first screen: each verdict is the full answer's in a word, with the figure that it rests on."""

import pytest
from changed_study import private, set_gain, set_test

from common.figures.formatting import POINTS, SIMILARITY
from common.results.study import Results
from server.report.answer import answer
from server.report.verdicts import Verdict, verdicts


@pytest.fixture
def own(study: Results) -> Results:
    """A copy to change."""
    return study.model_copy(deep=True)


def written(one: Verdict) -> str:
    return f"{one.figure}|{one.interval}".replace("\N{MINUS SIGN}", "-")


def test_the_four_questions_have_a_word_and_a_figure_each(study: Results) -> None:
    found = verdicts(study)
    assert [one.anchor for one in found] == ["answer", "answer", "cross-site", "privacy"]
    assert all(one.question.endswith("?") and one.word and one.sentence.endswith(".") for one in found)
    assert all(one.sentence.count(". ") <= 1 for one in found)
    gain = next(one for one in study.gains if (one.scope, one.arm) == ("federated", "real_synthetic")).accuracy
    assert gain.value is not None
    assert found[0].figure == f"{POINTS.number(gain.value)} points"
    assert found[0].interval == f"95% interval {POINTS.bounds(gain)}"


@pytest.mark.parametrize(
    ("gain", "mean", "adjusted", "word", "tone"),
    [
        ((0.04, 0.01, 0.07), 0.04, 0.01, "Yes", "good"),
        ((0.04, -0.01, 0.09), 0.04, 0.30, "Not shown", "open"),
        ((-0.04, -0.07, -0.01), -0.04, 0.01, "No", "bad"),
        ((0.04, 0.01, 0.07), 0.04, 0.30, "Not settled", "open"),
        ((0.04, 0.01, 0.07), -0.04, 0.01, "Contradictory", "open"),
    ],
)
def test_the_first_verdict_is_that_of_the_answer(
    own: Results, gain: tuple[float, float, float], mean: float, adjusted: float, word: str, tone: str
) -> None:
    set_gain(own, "federated", "real_synthetic", gain)
    set_test(own, "real", mean, adjusted / 11, adjusted)
    first = verdicts(own)[0]
    assert (first.word, first.tone) == (word, tone)
    assert answer(own)[0].verdict.startswith(word)
    assert written(first) == f"{100 * gain[0]:+.1f} points|95% interval {100 * gain[1]:+.1f} to {100 * gain[2]:+.1f}"


def test_a_yes_without_a_test_over_training_sets_is_of_these_patients(own: Results) -> None:
    own.comparisons = {}
    set_gain(own, "federated", "real_synthetic", (0.04, 0.01, 0.07))
    assert verdicts(own)[0].word == "Yes, on these patients"
    assert "not tested over training sets" in verdicts(own)[0].sentence


def test_the_generator_is_set_against_its_strongest_plain_baseline(own: Results) -> None:
    set_test(own, "copy_paste", 0.03, 0.001, 0.01)
    set_test(own, "blob", 0.02, 0.001, 0.02)
    found = verdicts(own)[1]
    assert (found.word, found.tone) == ("Yes", "good")
    assert found.figure == "+2.0 points"
    assert found.about == "gain of real + synthetic over real + blob"
    set_test(own, "blob", -0.02, 0.001, 0.02)
    found = verdicts(own)[1]
    assert (found.word, found.tone, found.sentence) == ("No", "bad", "The blob did better than the generator.")
    set_test(own, "blob", 0.01, 0.1, 0.5)
    assert verdicts(own)[1].sentence == "It may do no better than the blob, which needs no generator."


def test_without_a_plain_baseline_the_generator_is_set_against_filling_without_learning(own: Results) -> None:
    own.arms = {scope: {arm: its[arm] for arm in ("real", "real_synthetic")} for scope, its in own.arms.items()}
    own.run.config["study"]["arms"] = ["real", "real_synthetic"]
    found, final = verdicts(own)[1], own.gans["cgan"].final["brain"]
    assert found.word == "Not measured"
    assert found.about == "SSIM, lesion of cgan over biharmonic inpainting, brain"
    over = final["ssim", "lesion", "biharmonic"]
    assert found.interval == f"95% interval {SIMILARITY.signed.bounds(over)}"


@pytest.mark.parametrize(
    ("gain", "word", "tone"),
    [
        ((0.04, 0.01, 0.07), "Yes", "good"),
        ((-0.04, -0.07, -0.01), "No", "bad"),
        ((0.04, -0.01, 0.09), "Not shown", "open"),
        (None, "Not measured", "open"),
    ],
)
def test_reach_is_what_external_centres_gain(
    own: Results, gain: tuple[float, float, float] | None, word: str, tone: str
) -> None:
    set_gain(own, "external", "real_synthetic", gain)
    found = verdicts(own)[2]
    assert (found.word, found.tone) == (word, tone)
    if gain is None:
        assert found.sentence.startswith("No external centre tested it. At single sites the gain is above zero at ")


def test_without_differential_privacy_nothing_is_called_protected(study: Results) -> None:
    found = verdicts(study)[3]
    assert (found.word, found.tone, found.interval) == ("No guarantee", "bad", "")
    assert "nothing bounds" in found.sentence


def test_privacy_is_bounded_only_if_every_site_that_trained_stated_its_epsilon(own: Results) -> None:
    private(own)
    assert own.privacy is not None
    found = verdicts(own)[3]
    assert (found.word, found.tone) == ("In part", "open")
    assert "hospital2 and hospital3" in found.sentence
    statement = own.privacy.sites["hospital1"]
    own.privacy.sites = {name: statement for name, site in own.sites.items() if "train" in site.roles}
    found = verdicts(own)[3]
    assert (found.word, found.tone) == ("Bounded", "good")
    assert "3.17" in found.figure
    assert found.interval == "delta 1e-05"
    own.privacy.sites = {}
    assert (verdicts(own)[3].word, verdicts(own)[3].tone) == ("Not known", "bad")


def test_a_run_that_reached_nothing_claims_nothing(results: Results) -> None:
    found = verdicts(Results(run=results.run.model_copy(update={"config": {}})))
    assert [one.word for one in found] == ["Not measured", "Not measured", "Not measured", "No guarantee"]
    assert all(one.tone != "good" for one in found)
    assert [one.figure for one in found[:3]] == ["", "", ""]
