"""What a site keeps of its classifiers' attention, embedding and shortcut, on a tiny study with untrained networks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from opening import open_study
from tiny import TINY, write_site

from client.data.open_studies import OpenStudy
from client.report.explanation_inputs import read_explanations
from client.site import SiteSettings
from client.study import explanations
from client.study.arms import made_images, make_images
from client.study.explanations import explain, prepare_explanations
from client.study.nearest import nearest_lesions
from common.explanation.grad_cam import attention, lesion_share
from common.explanation.of_slices import owners
from common.figures.figure import Scores
from common.study.config import compose
from common.system.array_files import read_arrays
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.classifier import Trainer
from common.training.kinds import GeneratorTrainer, SyntheticSlices

STUDY = compose([*TINY, "study.synthetic_ratio=1", "study.min_cell=3"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1)


def session_at(folder: Path, data: Path) -> OpenStudy:
    settings = SiteSettings(
        name="north", reader="brats", organ="brain", path=data, folder=folder / "site", cache_dir=data.parent / "cache"
    )
    return open_study(settings, STUDY, "run")


def classifier(session: OpenStudy) -> Trainer:
    return build_classifier_trainer(STUDY, device=session.study.device, weights=session.study.weights, total_steps=1)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, data: Path) -> OpenStudy:
    """A site whose generator has made its slices."""
    session = session_at(tmp_path_factory.mktemp("site"), data)
    generator = build_gan_trainer(STUDY, "cgan", device=session.study.device, weights=session.study.weights)
    assert isinstance(generator, GeneratorTrainer)
    make_images(session.data, session.work, generator, 1)
    prepare_explanations(session.data, session.work, generator)
    return session


def test_the_figures_are_those_of_the_kept_record_and_of_the_parts(session: OpenStudy) -> None:
    trainer = classifier(session)
    found = explain(session.data, session.work, session.data.test, trainer, "real")
    kept = json.loads((session.work.results / "explanations/real.json").read_text())
    scores = Scores(figures=found)
    assert Scores.model_validate(kept) == scores
    looks = scores["attention"]
    test = session.data.test
    assert (looks.n or 0) + (looks.left_out or 0) == len(test.tumour_positions())
    assert looks.conditions == {"reach": 4}  # half a cell of 8 x 8 pixels
    batch = test.batch(test.tumour_positions())
    share = lesion_share(attention(trainer.classifier, batch.images), batch.labels, batch.foreground, 4).numpy()
    owner = batch.patients.numpy()
    by_patient = [np.nanmean(share[owner == one]) for one in np.unique(owner[~np.isnan(share)])]
    assert looks.value == pytest.approx(np.mean(by_patient))
    assert scores["called_tumour", "refilled"].patients == 6
    assert scores["two_sample", "healthy"].value is not None
    assert scores["two_sample", "tumour"].patients == len(session.data.split.train)


def test_the_pictures_are_few_and_can_be_read_back(session: OpenStudy) -> None:
    explain(session.data, session.work, session.data.test, classifier(session), "real_synthetic")
    read = read_explanations(session.work.folder / "results")
    assert read.unreadable == []
    pictures = read.arms["real_synthetic"].pictures
    assert 1 <= len(pictures["attention_kind"]) <= 4 * explanations.EACH
    assert pictures["attention_maps"].max() <= 1
    assert len(pictures["embedding_tsne"]) <= 4 * explanations.EMBEDDED
    assert set(pictures["ranked_rule"]) == {"best", "median", "worst"}
    assert sum(path.stat().st_size for path in (session.work.folder / "results" / "explanations").iterdir()) < 1_000_000
    assert 0 < len(read.nearest["made"]) <= 4


def test_the_shown_calls_are_those_of_the_classifier(session: OpenStudy) -> None:
    trainer = classifier(session)
    explain(session.data, session.work, session.data.test, trainer, "real")
    pictures = read_arrays(session.work.results / "explanations/real.npz")
    probability = trainer.predict(session.data.test.all().images).numpy()
    names = [patient.patient for patient in session.data.test.patients]
    for kind, patient, number, told in zip(
        *(pictures[f"attention_{key}"] for key in ("kind", "patient", "slice", "probability")), strict=True
    ):
        position = int(np.flatnonzero(session.data.test.owner == names.index(str(patient)))[0]) + int(number)
        assert told == pytest.approx(probability[position])
        truth, called = session.data.test.tumour_class()[position], told >= 0.5
        assert kind == {(1, 1): "found", (1, 0): "missed", (0, 0): "cleared", (0, 1): "false_alarm"}[truth, called]


def test_a_site_without_made_slices_has_attention_alone(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    found = explain(session.data, session.work, session.data.test, classifier(session), "real")
    assert {one.metric for one in found} == {"attention"}
    pictures = read_explanations(session.work.folder / "results").arms["real"].pictures
    assert not any(name.startswith("ranked") for name in pictures)
    assert not pictures["embedding_synthetic"].any()


def test_a_made_slice_belongs_to_the_patient_it_was_built_on(session: OpenStudy) -> None:
    made, training = made_images(session.work, "synthetic"), session.data.training
    found = owners(made, training)
    assert (found == training.owner[made.origin.numpy()]).all()
    nobody = SyntheticSlices(made.images, made.labels, made.tumour, made.foreground, torch.full_like(made.origin, -1))
    alone = owners(nobody, training)
    assert len(set(alone.tolist())) == len(made)
    assert alone.min() >= len(training.patients)


def test_a_copied_lesion_is_shown_beside_its_original(session: OpenStudy) -> None:
    made, training = made_images(session.work, "synthetic"), session.data.training
    original = training.batch(training.tumour_positions()[-1:])
    images, labels = made.images.clone(), made.labels.clone()
    images[0], labels[0] = original.images[0], original.labels[0]
    found = nearest_lesions(SyntheticSlices(images, labels, made.tumour, made.foreground, made.origin), training)
    assert found["ssim"][0] > 0.999
    assert found["ssim"][0] == np.nanmax(found["all_ssim"])
    np.testing.assert_array_equal(found["made"][0], found["real"][0])
    np.testing.assert_array_equal(found["made_labels"][0], found["real_labels"][0])
    assert len(found["floor_ssim"]) == len(training.tumour_positions())
    nothing = SyntheticSlices(images, labels * 0, made.tumour, made.foreground, made.origin)
    assert nearest_lesions(nothing, training) == {}
