"""The trials of the classifier study at one site: who trains, who tests, what is kept apart."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from opening import open_study, parts
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from tiny import TINY, write_site

from client.data.context import StudyContext
from client.data.open_studies import OpenStudy
from client.site import SiteSettings
from client.study.arms import keep_images, learnt_from, made_images, possible_arms, told_share
from client.study.leaks import require_no_leak
from client.study.synthesis import synthesise
from client.study.trial import run_arms
from client.training.local_generator import train_alone
from client.training.state import RoundState
from client.training.tuning import tuned
from common.errors import RefusalError
from common.imaging.split import Split
from common.results.classifier import SiteArms
from common.study.config import compose
from common.study.trials import Trial
from common.training.build import build_gan_trainer
from common.training.kinds import SyntheticSlices

STUDY = compose(
    [
        *TINY,
        "study.folds=2",
        "study.most_patients=3",
        "study.min_cell=3",
        "split.train=8",
        "study.arms=[real,real_synthetic,synthetic,copy_paste,blob,local_generator]",
    ]
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 14, seed=1)


@pytest.fixture
def site(tmp_path: Path, data: Path) -> OpenStudy:
    settings = SiteSettings(
        name="north",
        reader="brats",
        organ="brain",
        path=data,
        folder=tmp_path / "site",
        cache_dir=data.parent / "cache",
        min_cell=3,
        declare_counts=True,
    )
    return open_study(settings, STUDY, "run")


def weights() -> dict[str, torch.Tensor]:
    return build_gan_trainer(STUDY, "cgan", device=torch.device("cpu"), weights=STUDY.weights).shared_arrays()


def test_every_fold_leaves_other_patients_out_and_none_that_test(site: OpenStudy) -> None:
    first = site.data.split
    folds = [site.within(Trial(fold=fold)).data.split for fold in (1, 2)]
    assert {fold.test for fold in folds} == {first.test}
    left_out = [set(fold.validation) for fold in folds]
    assert not left_out[0] & left_out[1]
    assert len(left_out[0] | left_out[1]) == 8
    for fold in folds:
        assert len(fold.train) == 3
        assert not set(fold.train) & (set(fold.validation) | set(fold.test))
    assert set(first.train) == set(site.within(Trial(ratio=2.0)).data.split.train)
    assert len(site.within(Trial(patients=5)).data.split.train) == 5


def test_a_site_makes_the_generator_of_all_its_own_before_it_makes_slices(site: OpenStudy) -> None:
    arrays = weights()
    own = tuned(site.data, site.work, "cgan", arrays, "tuning").shared_arrays()
    assert any(not torch.equal(own[key], value) for key, value in arrays.items())
    again = tuned(site.data, site.work, "cgan", arrays, "tuning").shared_arrays()
    assert all(torch.equal(own[key], value) for key, value in again.items())
    (line,) = [json.loads(one) for one in (site.work.folder / "results" / "training.jsonl").read_text().splitlines()]
    assert (line["phase"], line["steps"]) == ("tuning/cgan", 2)
    in_fold = tuned(*parts(site.within(Trial(fold=1))), "cgan", arrays, "tuning").shared_arrays()
    assert any(not torch.equal(own[key], value) for key, value in in_fold.items())


def test_no_site_tunes_where_patients_are_private(site: OpenStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = weights()
    monkeypatch.setattr(StudyContext, "private", property(lambda _: True))
    own = tuned(site.data, site.work, "cgan", arrays, "tuning").shared_arrays()
    assert all(torch.equal(own[key], value) for key, value in arrays.items())
    assert told_share(site.data) == 0.5


def test_a_generator_never_learns_from_those_who_test_in_its_trial(site: OpenStudy) -> None:
    trial = site.within(Trial(fold=1))
    synthesise(trial.data, trial.work, "cgan", weights())
    assert learnt_from(trial.work) == set(trial.data.split.train)
    assert not learnt_from(trial.work) & {*trial.data.split.validation, *trial.data.split.test}
    require_no_leak(trial.data, trial.work)


@pytest.mark.parametrize("how", ["by name", "under another name", "through images"])
def test_a_planted_leak_is_refused_and_only_the_sites_own_log_names_it(
    site: OpenStudy, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    split, leaked = site.data.split, site.data.split.test[0]
    if how == "by name":
        site.data.__dict__["split"] = replace(split, train=(*split.train, leaked))
    elif how == "under another name":
        slices = site.data.training
        (twin,) = site.data.cohort.slices([leaked]).patients
        patients = [*slices.patients, replace(twin, patient="somebody-else")]
        site.data._training[""] = replace(slices, patients=patients)
    else:
        site.data.__dict__["split"] = Split(train=(leaked,), validation=(), test=())
        keep_images(site.data, site.work, "blob", _nothing_made())
        site.data.__dict__["split"] = split
    with pytest.raises(RefusalError, match="would both train and test") as refused:
        run_arms(site.data, site.work, site.data.test)
    assert leaked not in str(refused.value)
    assert leaked in str(caplog.records[-1].__dict__["fields"])


def _nothing_made() -> SyntheticSlices:
    maps = torch.zeros(0, 32, 32)
    return SyntheticSlices(
        torch.zeros(0, 1, 32, 32), maps.byte(), torch.zeros(0).bool(), maps.bool(), torch.zeros(0).long()
    )


@pytest.fixture
def told(site: OpenStudy) -> tuple[OpenStudy, SiteArms]:
    trial = site.within(Trial(fold=2))
    synthesise(trial.data, trial.work, "cgan", weights())
    return trial, run_arms(trial.data, trial.work, trial.data.test)


def test_figures_of_a_fold_can_be_found_again_in_the_kept_predictions(told: tuple[OpenStudy, SiteArms]) -> None:
    session, scores = told
    for part, found in (("predictions.csv", scores.arms), ("left_out_predictions.csv", scores.left_out)):
        with (session.work.results / part).open(newline="") as file:
            rows = list(csv.DictReader(file))
        by_arm = {arm: [row for row in rows if (row["arm"], row["scope"]) == (arm, "local")] for arm in found}
        truth = np.array([int(row["truth"]) for row in by_arm["real"]])
        probability = {arm: np.array([float(row["probability"]) for row in its]) for arm, its in by_arm.items()}
        for arm, one in found.items():
            predicted = probability[arm] >= 0.5
            assert one["accuracy"].value == pytest.approx(accuracy_score(truth, predicted))
            assert one["auc"].value == pytest.approx(roc_auc_score(truth, probability[arm]))
            if predicted.any():
                assert one["f1"].value == pytest.approx(f1_score(truth, predicted))
            if arm == "real":
                assert one.get(("accuracy", "", "real_only")) is None
                continue
            with_real = accuracy_score(truth, probability["real"] >= 0.5)
            assert one["accuracy", "", "real_only"].value == pytest.approx(accuracy_score(truth, predicted) - with_real)


def test_every_arm_of_a_fold_is_told_with_equal_steps(told: tuple[OpenStudy, SiteArms]) -> None:
    session, scores = told
    assert list(scores.arms) == list(scores.left_out) == STUDY.study.arms == possible_arms(session.study, session.work)
    assert {one.steps for one in scores.arms.values()} == {4}
    assert scores.test_to_train == pytest.approx(4 / 3)
    assert len(made_images(session.work, "local")) == len(made_images(session.work, "synthetic"))
    assert not made_images(session.work, "local").images.equal(made_images(session.work, "synthetic").images)


def test_a_site_that_declares_no_counts_does_not_tell_the_size_of_its_folds(site: OpenStudy) -> None:
    silent = open_study(site.study.settings.model_copy(update={"declare_counts": False}), STUDY, "silent")
    trial = silent.within(Trial(fold=1))
    told = run_arms(trial.data, trial.work, trial.data.test)
    assert list(told.left_out) == ["real"]
    assert told.test_to_train is None
    assert told.left_out["real"].patients is None


def test_a_fold_of_too_few_patients_is_not_told(site: OpenStudy) -> None:
    strict = open_study(site.study.settings.model_copy(update={"min_cell": 5}), STUDY, "strict")
    told = run_arms(*parts(strict.within(Trial(fold=1))), strict.within(Trial(fold=1)).data.test)
    assert told.left_out["real"].value("accuracy") is None
    assert told.arms["real"].value("accuracy") is not None


def test_a_local_generator_that_was_interrupted_ends_as_if_it_had_not_been(
    site: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_alone(site.data, site.work, "cgan").shared_arrays()
    other = open_study(
        site.study.settings.model_copy(update={"folder": site.study.settings.folder / "other"}), STUDY, "run"
    )
    save = RoundState.save

    def killed(state: RoundState, number: int, arrays: dict[str, torch.Tensor], *, since: int) -> None:
        save(state, number, arrays, since=since)
        raise KeyboardInterrupt

    monkeypatch.setattr(RoundState, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train_alone(other.data, other.work, "cgan")
    monkeypatch.undo()
    resumed = train_alone(other.data, other.work, "cgan").shared_arrays()
    assert all(whole[name].equal(resumed[name]) for name in whole)
