"""The three sentences say what the figures allow, name every test with its n, and speak of no arm that was missing."""

import re

import pytest
from changed_study import Gain, private, set_gain, set_test

from common.results.statistics import Comparison
from common.results.study import Results
from server.report.answer import answer, question


@pytest.fixture
def own(study: Results) -> Results:
    """A copy to change."""
    return study.model_copy(deep=True)


def sentences(results: Results) -> list[str]:
    return [part.sentence.replace("\N{NO-BREAK SPACE}", " ") for part in answer(results)]


def accuracy_test(results: Results, against: str) -> Comparison:
    table = next(one for one in results.comparisons["federated"] if one.score == "accuracy")
    return next(one for one in table.comparisons if (one.arm, one.against) == ("real_synthetic", against))


def test_three_sentences_with_the_figures_of_the_results(study: Results) -> None:
    found = sentences(study)
    assert len(found) == 3
    # A full stop that is no decimal point stands at the end only.
    assert all(len(re.findall(r"\.(?!\d)", one)) == 1 and one.endswith(".") for one in found)
    helps, generator, carries = found
    gain = next(one for one in study.gains if (one.scope, one.arm) == ("federated", "real_synthetic"))
    assert gain.accuracy.value is not None
    assert f"{100 * gain.accuracy.value:+.1f} percentage points (95% interval" in helps
    assert "mean over 6 training sets" in helps
    assert "corrected resampled t-test over 6 run-folds, Holm over 11 comparisons" in helps
    assert "of 3 sites" in helps
    for against, name in (("copy_paste", "copy-paste"), ("blob", "blob"), ("local_generator", "local generator")):
        mean = accuracy_test(study, against).corrected.mean
        assert mean is not None
        assert re.search(rf"{abs(100 * mean):.1f} percentage points \([^)]*\) from real \+ {name}", generator)
    outside = next(one for one in study.gains if (one.scope, one.arm) == ("external", "real_synthetic"))
    only = next(one for one in study.gains if (one.scope, one.arm) == ("federated", "synthetic"))
    for one in (outside, only):
        assert one.accuracy.value is not None
        assert f"{abs(100 * one.accuracy.value):.1f} percentage points" in carries
    assert "no differential privacy" in carries
    assert "SSIM" in carries


@pytest.mark.parametrize(
    ("gain", "mean", "adjusted", "verdict"),
    [
        ((0.04, 0.01, 0.07), 0.04, 0.01, "Yes"),
        ((0.04, -0.01, 0.09), 0.04, 0.30, "Not shown"),
        ((-0.04, -0.07, -0.01), -0.04, 0.01, "No, they harm"),
        ((0.04, 0.01, 0.07), 0.04, 0.30, "Not settled, only the interval over test patients says yes"),
        ((0.04, -0.01, 0.09), 0.04, 0.01, "Not settled, only the test over training sets says yes"),
        ((0.04, 0.01, 0.07), -0.04, 0.01, "Contradictory"),
    ],
)
def test_help_is_claimed_only_where_patients_and_training_sets_agree(
    own: Results, gain: Gain, mean: float, adjusted: float, verdict: str
) -> None:
    set_gain(own, "federated", "real_synthetic", gain)
    set_test(own, "real", mean, adjusted / 11, adjusted)
    assert answer(own)[0].verdict == verdict


def test_without_folds_the_answer_is_of_these_test_patients(own: Results) -> None:
    own.comparisons, own.not_compared = {}, {}
    set_gain(own, "federated", "real_synthetic", (0.04, 0.01, 0.07))
    helps, generator, _ = sentences(own)
    assert helps.startswith("On these test patients, yes")
    assert "no test over training sets was made" in helps
    assert "a test between them was not made" in generator
    own.not_compared = {"federated": "no fold has enough patients for a figure that may be told"}
    assert "no test over training sets could be made (no fold has enough patients" in sentences(own)[0]


def test_sites_are_counted_by_intervals_above_zero_and_untold_ones_named(own: Results) -> None:
    set_gain(own, "hospital1", "real_synthetic", (0.04, 0.01, 0.07))
    set_gain(own, "hospital2", "real_synthetic", (-0.04, -0.07, -0.01))
    set_gain(own, "hospital3", "real_synthetic", None)
    helps = sentences(own)[0]
    assert (
        "above zero at 1 of 3 sites (hospital1) and below zero at 1 (hospital2), and is not told at hospital3" in helps
    )


@pytest.mark.parametrize(
    ("plain", "blob", "verdict"),
    [
        ((0.03, 0.01), (0.02, 0.02), "Yes, it did better than copy-paste and the blob"),
        ((0.03, 0.01), (-0.02, 0.02), "No, the blob did better than the generator"),
        ((0.03, 0.01), (0.01, 0.50), "Not shown to do better than the blob, which needs no generator"),
        (
            (0.01, 0.40),
            (-0.01, 0.50),
            "Not shown to do better than copy-paste or the blob, which need no generator, and the blob did as well or "
            "better on average",
        ),
    ],
)
def test_it_is_the_generator_only_if_every_plain_baseline_is_beaten(
    own: Results, plain: tuple[float, float], blob: tuple[float, float], verdict: str
) -> None:
    set_test(own, "copy_paste", plain[0], plain[1] / 11, plain[1])
    set_test(own, "blob", blob[0], blob[1] / 11, blob[1])
    assert answer(own)[1].verdict == verdict


def test_without_tests_the_generator_must_have_the_higher_interval_of_gains(own: Results) -> None:
    own.comparisons = {}
    set_gain(own, "federated", "real_synthetic", (0.08, 0.06, 0.10))
    set_gain(own, "federated", "copy_paste", (0.02, 0.01, 0.03))
    set_gain(own, "federated", "blob", (0.09, 0.05, 0.13))
    assert answer(own)[1].verdict == (
        "Not shown to do better than the blob, which needs no generator, and the blob did as well or better on average"
    )
    set_gain(own, "federated", "blob", (0.02, 0.01, 0.05))
    assert answer(own)[1].verdict == "Yes, it did better than copy-paste and the blob"


def test_no_sentence_speaks_of_an_arm_that_the_study_did_not_have(own: Results) -> None:
    def kept(names: list[str]) -> list[str]:
        return [name for name in names if name in ("real", "real_synthetic")]

    own.arms = {scope: {arm: its[arm] for arm in kept(list(its))} for scope, its in own.arms.items()}
    own.run.config["study"]["arms"] = ["real", "real_synthetic"]
    own.gains = [one for one in own.gains if one.arm == "real_synthetic"]
    for table in own.comparisons["federated"]:
        table.comparisons = [one for one in table.comparisons if {one.arm, one.against} <= {"real", "real_synthetic"}]
    asked = question(own)
    _, generator, carries = sentences(own)
    assert "copy" not in asked
    assert "blob" not in asked
    assert generator.startswith("Not measured")
    assert "copy-paste, the blob and a local generator were not measured" in generator
    assert "training on synthetic images only was not measured" in carries


def test_one_plain_baseline_alone_is_asked_about(own: Results) -> None:
    own.arms = {scope: {arm: s for arm, s in its.items() if arm != "copy_paste"} for scope, its in own.arms.items()}
    own.run.config["study"]["arms"].remove("copy_paste")
    assert "more than a plain blob would" in question(own)
    assert "copy-paste was not measured" in sentences(own)[1]


def test_a_private_study_is_answered_with_its_epsilon(own: Results) -> None:
    private(own)
    own.arms = {scope: its if scope == "federated" else {} for scope, its in own.arms.items()}
    helps, _, carries = sentences(own)
    assert "are not private, so their gains stayed at the sites" in helps
    assert "an epsilon of at most 3.17 (hospital1) at delta 1e-05" in carries
    assert "SSIM" not in carries


def test_results_without_repetitions_say_what_was_not_measured(results: Results) -> None:
    helps, generator, carries = sentences(results)
    assert helps.startswith("Not measured in federation")
    assert generator.startswith("Not measured")
    assert carries.startswith("A gain on patients of external centres was not measured")


def test_a_run_that_reached_nothing_has_three_sentences_too(results: Results) -> None:
    found = sentences(Results(run=results.run.model_copy(update={"config": {}})))
    assert len(found) == 3
    assert "likeness was not measured" in found[2]
    assert "no generator" in question(Results(run=results.run))


def test_a_study_of_several_organs_is_answered_by_the_classifiers_of_single_sites(own: Results) -> None:
    set_gain(own, "sites/mean", "real_synthetic", (0.123, 0.05, 0.19))
    set_gain(own, "sites/mean", "synthetic", (-0.021, -0.05, 0.01))
    set_gain(own, "federated", "real_synthetic", (-0.034, -0.06, -0.01))
    assert "in federation" in sentences(own)[0]
    next(site for site in own.sites.values() if "train" in site.roles).organ = "liver"
    helps, generator, carries = sentences(own)
    assert "trained at single sites, on average, synthetic images changed accuracy by +12.3 percentage points" in helps
    assert "the one classifier of all organs changed by -3.4 percentage points" in helps.replace("\N{MINUS SIGN}", "-")
    assert "in federation" not in generator
    assert "2.1 percentage points" in carries
