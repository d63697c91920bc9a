"""Which repetitions a configuration asks for, and which it may not."""

import pytest

from common.errors import ConfigError
from common.study.config import compose
from common.study.trials import Trial, arms_of, trials_of


def test_the_protocol_has_every_kind_of_trial() -> None:
    study = compose(["preset=protocol"])
    trials = trials_of(study)
    assert trials[0] == Trial()
    assert sum(trial.fold > 0 for trial in trials) == 15
    assert {trial.patients for trial in trials} == {0, 4, 8, 16, 32}
    assert {trial.ratio for trial in trials} == {0.0, 0.5, 2.0}
    assert [trial.name for trial in trials if trial.images] == [
        "images-wgan_gp",
        "images-wgan_gp/run-2",
        "images-wgan_gp/run-3",
    ]
    assert len({trial.name for trial in trials}) == len(trials) == 35


def test_the_short_form_has_five_folds_beside_the_first() -> None:
    study = compose(["preset=protocol_short"])
    assert [trial.name for trial in trials_of(study)] == ["", *(f"fold-{fold}" for fold in range(1, 6))]
    assert list(study.models) == ["cgan"]
    assert arms_of(study, Trial(fold=1)) == study.study.arms


def test_a_generator_is_trained_anew_only_where_patients_are_left_out() -> None:
    assert Trial(fold=1).trains_generator
    assert Trial(patients=4).trains_generator
    assert not Trial(ratio=2.0).trains_generator
    assert not Trial(run=2).trains_generator


def test_runs_train_each_gan_as_often_unless_it_says_otherwise() -> None:
    with pytest.raises(ConfigError, match=r"models\.cgan\.runs=3"):
        trials_of(compose(["model=[cgan]", "study.runs=3", "+models.cgan.runs=2"]))
    assert len(trials_of(compose(["model=[cgan]", "study.runs=3"]))) == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.folds=1", r"study\.folds=1: must be 0 \(none\), or from 2 to 100"),
        ("study.runs=0", r"study\.runs=0"),
        ("study.curve=[1]", r"study\.curve=\[1\]: must be from 2"),
        ("study.curve=[4,4]", r"study\.curve=\[4,4\]: 4 stands there twice"),
        ("study.ratios=[0]", r"study\.ratios"),
        ("study.most_patients=-1", r"study\.most_patients"),
        ("study.federated_arms=[blob]", r"study\.federated_arms=.*must hold real"),
        ("study.federated_arms=[real,magic]", r"study\.federated_arms=magic: is no arm of this study"),
    ],
)
def test_a_study_that_cannot_be_repeated_so_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose([override])


@pytest.mark.parametrize(
    "override",
    ["study.folds=2", "study.runs=2", "study.curve=[4]", "study.ratios=[2]", "study.centralised=true"],
)
def test_with_patients_as_the_unit_of_privacy_nothing_is_repeated(override: str) -> None:
    with pytest.raises(ConfigError, match="privacy=patient_dp"):
        compose(["model=[wgan_gp]", "privacy=patient_dp", override])


def test_with_patients_as_the_unit_of_privacy_a_federated_arm_that_mixes_them_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"federated_arms=copy_paste: is no arm of this study; with privacy"):
        compose(["model=[cgan]", "privacy=patient_dp", "study.federated_arms=[real,copy_paste]"])
