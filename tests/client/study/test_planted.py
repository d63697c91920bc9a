"""Does the study find what is there, and nothing else? Synthetic images of known worth, through a site's own arms."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from opening import open_study
from tiny import TINY, write_site

from client.data.open_studies import OpenStudy
from client.site import SiteSettings
from client.study.arms import keep_images, training_sets
from client.study.trial import run_arms
from common.imaging.slices import Slices
from common.results.classifier import TrialResult
from common.results.statistics import Comparison
from common.seeding import torch_generator
from common.study.config import compose
from common.study.trials import Trial
from common.training.kinds import SyntheticSlices
from server.evidence import comparisons

FOLDS = 5
STUDY = compose(
    [
        *TINY,
        "classifier.federation.rounds=1",
        "classifier.federation.local_steps=30",
        "classifier.batch_size=8",
        # In so few steps nearly every slice would be called what is frequent at the site, in both arms alike.
        "classifier.logit_adjustment=false",
        "study.arms=[real,real_synthetic]",
        "study.min_cell=2",
        "study.bootstrap=2",
        f"study.folds={FOLDS}",
        "split.train=20",
        "split.test=2",
    ]
)
LEVEL = 0.05

pytestmark = pytest.mark.slow


def site_of(folder: Path, patients: int, seed: int, **changes: float) -> OpenStudy:
    data = write_site(folder / "data", patients, seed=seed)
    settings = SiteSettings(
        name="north",
        reader="brats",
        organ="brain",
        path=data,
        folder=folder / "site",
        cache_dir=folder / "cache",
        min_cell=2,
        declare_counts=True,
    )
    study = compose([])
    study.__dict__.update(STUDY.__dict__)
    study.seed = seed
    study.study = type(STUDY.study)(**{**STUDY.study.__dict__, **changes})
    return open_study(settings, study, "run")


def as_made(slices: Slices, positions: np.ndarray) -> SyntheticSlices:
    batch = slices.batch(positions)
    tumour = torch.from_numpy(slices.tumour_class()[positions])
    return SyntheticSlices(batch.images, batch.labels, tumour, batch.foreground, torch.full((len(positions),), -1))


def compared(
    site: OpenStudy, made: dict[int, SyntheticSlices], spoil: Callable[[Slices], Slices] | None = None
) -> Comparison:
    """Real + made against real over the folds, as a study compares them; ``spoil`` changes the real training slices."""
    trials = []
    for fold in range(1, FOLDS + 1):
        session = site.within(Trial(fold=fold))
        keep_images(session.data, session.work, "synthetic", made[fold])
        if spoil is not None:
            session.data._training[""] = spoil(session.data.training)
        told = run_arms(session.data, session.work, session.data.test)
        ratio = {} if told.test_to_train is None else {"north": told.test_to_train}
        trials.append(
            TrialResult(
                name=f"fold-{fold}",
                images="cgan",
                run=1,
                fold=fold,
                patients=0,
                ratio=0,
                arms={"north": told.arms},
                left_out={"north": told.left_out},
                test_to_train=ratio,
            )
        )
    tables, missing = comparisons(site.study.experiment, trials)
    assert not missing
    (comparison,) = tables["north"][0].comparisons
    return comparison


def test_copies_of_real_slices_are_hardly_ever_found_to_help(tmp_path: Path) -> None:
    values = []
    for repetition in range(20):
        site = site_of(tmp_path / str(repetition), 22, seed=100 + repetition)
        made = {}
        for fold in range(1, FOLDS + 1):
            training = site.within(Trial(fold=fold)).training
            drawn = torch.randint(len(training), (len(training),), generator=torch_generator(repetition, fold))
            made[fold] = as_made(training, drawn.numpy())
        values.append(compared(site, made).corrected.p)
    # Without a probability all folds scored the same in both arms.
    told = [p for p in values if p is not None]
    found = sum(p < LEVEL for p in told)
    print(f"{found} of 20 repetitions were significant, the arms differed in {len(told)}")
    assert len(told) > 10
    assert found <= 3


def test_rightly_labelled_slices_are_found_to_help_where_the_real_ones_are_not(tmp_path: Path) -> None:
    site = site_of(tmp_path, 22, seed=8, synthetic_ratio=3.0)
    made = {}
    for fold in range(1, FOLDS + 1):
        training = site.within(Trial(fold=fold)).training
        made[fold] = as_made(training, np.arange(len(training)))
    comparison = compared(site, made, spoil=mislabelled)
    assert comparison.corrected.mean is not None
    assert comparison.corrected.mean > 0
    assert comparison.corrected.p is not None
    assert comparison.corrected.p < LEVEL


def mislabelled(slices: Slices) -> Slices:
    """The same slices with the classes exchanged."""
    first, patients = 0, []
    tumour = slices.tumour_class()
    for patient in slices.patients:
        labels = np.zeros_like(patient.labels)
        labels[~tumour[first : first + len(labels)], :8, :8] = 1
        first += len(labels)
        patients.append(replace(patient, labels=labels, lesion_pixels=None))
    return replace(slices, patients=patients)


def test_the_arms_draw_from_what_was_planted(tmp_path: Path) -> None:
    site = site_of(tmp_path, 22, seed=3)
    session = site.within(Trial(fold=1))
    keep_images(session.data, session.work, "synthetic", as_made(session.data.training, np.arange(6)))
    _, made = training_sets(session.data, session.work, "real_synthetic")
    assert torch.equal(made.images, session.data.training.batch(np.arange(6)).images)
