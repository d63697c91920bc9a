"""Synthetic slices in a private run: each patient's depend on that patient, and on nobody else."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from opening import about, open_study
from tiny import LPS_AFFINE, TINY, write_site
from torch import Tensor

from client.data.open_studies import OpenStudy
from client.privacy.admission import silently
from client.privacy.budget import Budget
from client.privacy.made import SLICES_OF_A_PATIENT, patient_sources
from client.site import SiteSettings
from client.study.arms import made_images, made_of
from client.study.synthesis import synthesise
from client.training.rounds import train_classifier
from common.protocol.records import Instruction
from common.study.config import compose
from common.training.build import build_classifier_trainer, build_gan_trainer

DP = ("privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2")
WGAN = ("models.wgan_gp.width=2", "models.wgan_gp.critic_width=4", "models.wgan_gp.min_slices=1")
STUDY = compose([*TINY, *DP, "model=[cgan,wgan_gp]", *WGAN])
OWN = {"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}}
Made = dict[str, dict[str, Tensor]]


def full_of_tumour(folder: Path, name: str) -> None:
    """No slice without a lesion: none that one could be put into."""
    image = np.asarray(nib.load(folder / name / f"{name}_flair.nii.gz").dataobj)  # type: ignore[attr-defined]
    labels = np.where(image > 0, 2, 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, LPS_AFFINE), folder / name / f"{name}_seg.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("made") / "data", 10, seed=1)


def session_at(folder: Path, data: Path, *, without: Collection[str] = (), study: Any = STUDY) -> OpenStudy:
    folder.mkdir(exist_ok=True)
    listed = folder / "patients.txt"
    listed.write_text("\n".join(sorted({path.name for path in data.iterdir()} - set(without))))
    there = {"name": "north", "reader": "brats", "organ": "brain", "path": data, "patients": listed, "threads": 1}
    places = {"folder": folder / "site", "cache_dir": data.parent / "cache"}
    return open_study(SiteSettings.model_validate({**there, **places, "privacy": OWN}), study, "run")


def weights_of(model: str) -> dict[str, Tensor]:
    return build_gan_trainer(STUDY, model, device=torch.device("cpu"), weights=STUDY.weights).shared_arrays()


def made_at(session: OpenStudy, model: str) -> Made:
    """What was made of each training patient, by name."""
    synthesise(session.data, session.work, model, weights_of(model))
    made, owner = made_images(session.work, "synthetic"), made_of(session.work, "synthetic")
    return {
        name: {part: getattr(made, part)[owner == index] for part in ("images", "labels", "tumour", "foreground")}
        for index, name in enumerate(session.data.split.train)
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[part], other[part]) for part in one)


@pytest.mark.parametrize("model", ["cgan", "wgan_gp"])
def test_the_absence_of_one_patient_changes_no_bit_of_what_is_made_of_the_others(
    tmp_path: Path, data: Path, model: str
) -> None:
    whole = made_at(session_at(tmp_path / "whole", data), model)
    assert len(whole) == 4
    assert all(not same(whole[a], whole[b]) for a in whole for b in whole if a < b)
    for absent in whole:
        left = made_at(session_at(tmp_path / f"without-{absent}", data, without=[absent]), model)
        assert set(left) == set(whole) - {absent}
        assert all(same(left[name], whole[name]) for name in left)


def test_a_test_patient_has_no_part_in_what_is_made(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path / "whole", data)
    whole = made_at(session, "cgan")
    left = made_at(session_at(tmp_path / "left", data, without=session.data.split.test[:2]), "cgan")
    assert set(left) == set(whole)
    assert all(same(left[name], whole[name]) for name in left)


@pytest.mark.parametrize("model", ["cgan", "wgan_gp"])
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_same_number_is_made_of_everybody_whatever_slices_they_have(
    tmp_path: Path, data: Path, model: str, ratio: float
) -> None:
    study = compose([*TINY, *DP, "model=[cgan,wgan_gp]", *WGAN, f"study.synthetic_ratio={ratio}"])
    session = session_at(tmp_path, data, study=study)
    made = made_at(session, model)
    assert {len(one["images"]) for one in made.values()} == {round(ratio * SLICES_OF_A_PATIENT)}


def test_what_is_made_is_the_same_again_after_an_interruption(tmp_path: Path, data: Path) -> None:
    session = session_at(tmp_path, data)
    once, again = made_at(session, "cgan"), made_at(session_at(tmp_path, data), "cgan")
    assert all(same(once[name], again[name]) for name in once)


@pytest.fixture(scope="module")
def with_one_full(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, str]:
    """The same patients, but that the first who trains has no slice without a lesion."""
    root = tmp_path_factory.mktemp("full")
    first = session_at(root / "whole", data).data.split.train[0]
    folder = write_site(root / "data", 10, seed=1)
    full_of_tumour(folder, first)
    return folder, first


def test_of_a_patient_without_a_healthy_slice_none_is_made_and_the_others_stay_as_they_are(
    tmp_path: Path, data: Path, with_one_full: tuple[Path, str]
) -> None:
    folder, full = with_one_full
    whole = made_at(session_at(tmp_path / "whole", data), "cgan")
    session = session_at(tmp_path / "full", folder)
    assert session.data.split.train[0] == full
    left = made_at(session, "cgan")
    assert len(left[full]["images"]) == 0
    assert all(same(left[name], whole[name]) for name in left if name != full)
    (source,) = patient_sources(session.data, session.work, "synthetic")
    assert [patient.patient for patient in source.patients] == list(session.data.split.train)
    assert [len(patient.images) for patient in source.patients] == [0, 16, 16, 16]


def test_a_private_classifier_learns_where_of_one_patient_nothing_is_made(
    tmp_path: Path, with_one_full: tuple[Path, str]
) -> None:
    session = session_at(tmp_path, with_one_full[0])
    synthesise(session.data, session.work, "cgan", weights_of("cgan"))
    weights = build_classifier_trainer(
        STUDY, device=torch.device("cpu"), weights=STUDY.weights, total_steps=1
    ).shared_arrays()
    asked = Instruction.model_validate(
        {"run": "run", "phase": "classifier/synthetic", "server-round": 1, "arm": "synthetic"}
    )
    assert train_classifier(about(session, asked), weights).losses == {}
    assert [one.name for one in Budget(session.study.settings).spent("run")] == ["classifier/synthetic/classifier"]


def test_where_nothing_can_be_made_the_answer_is_the_same_and_classifiers_learn_from_nothing(
    tmp_path: Path, data: Path
) -> None:
    """Whether there is a patient with a place for a lesion is nothing that a coordinator may find out."""
    trains = session_at(tmp_path / "whole", data).data.split.train
    folder = write_site(tmp_path / "data", 10, seed=1)
    for name in trains:
        full_of_tumour(folder, name)
    session = session_at(tmp_path / "full", folder)
    with silently(session.study):
        synthesise(session.data, session.work, "cgan", weights_of("cgan"))
    assert len(made_images(session.work, "synthetic")) == 0
    (nothing,) = patient_sources(session.data, session.work, "synthetic")
    assert [len(patient.images) for patient in nothing.patients] == [0] * len(trains)
