from pathlib import Path

import numpy as np
import pytest

from common.imaging.cache import PatientCache, PreparedPatient, cache_key
from common.imaging.facts import StudyFacts
from common.imaging.patient import Lesion, Quarantined
from common.imaging.slices import PatientSlices
from common.study.experiment import ImageConfig

FACTS = StudyFacts(
    path=Path("/data/y"),
    modality="MR",
    shape=(2, 8, 8),
    spacing=(5.0, 1.0, 1.0),
    spacing_known=True,
    intensities={"flair": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)},
    has_mask=True,
    tumour_slices=1,
    lesion_mm3=12.5,
    lesions=(Lesion((1.0, 2.0, 3.0), 12.5, readers=3, malignancy=4.0),),
    identifying=("PatientName",),
    remarks=(),
    questions=(),
    digest="d",
)


def entry(**changes) -> PreparedPatient:
    values = {
        "patient": "Ärztin 7/β",
        "signature": "s",
        "has_tumour": True,
        "slices": 2,
        "studies": (FACTS,),
        "lesion_pixels": (0, 3),
        "tumour_slices": (False, True),
        "quarantined": (Quarantined("Ärztin 7/β", Path("/data/x"), "mask is empty"),),
    }
    return PreparedPatient(**{**values, **changes})


@pytest.fixture
def slices() -> PatientSlices:
    rng = np.random.default_rng(0)
    images = rng.random((2, 1, 8, 8)).astype(np.float16)
    labels = rng.choice([0, 1, 2, 4], (2, 8, 8)).astype(np.uint8)
    return PatientSlices("Ärztin 7/β", images, labels, np.ones((2, 8, 8), np.uint8))


def test_what_was_stored_comes_back_equal(tmp_path, slices) -> None:
    cache = PatientCache(tmp_path, "key")
    stored = cache.store(entry(), slices)
    loaded = PatientCache(tmp_path, "key").load("Ärztin 7/β", "s")
    assert loaded == stored == entry()
    opened = loaded.open()
    np.testing.assert_array_equal(opened.images, slices.images)
    np.testing.assert_array_equal(opened.labels, slices.labels)
    np.testing.assert_array_equal(opened.foreground, slices.foreground)
    assert opened.images.dtype == np.float16
    assert opened.lesion_pixels is not None
    assert opened.lesion_pixels.tolist() == [0, 3]
    assert opened.tumour_slices is not None
    assert opened.tumour_slices.tolist() == [False, True]


def test_a_patient_whose_files_changed_is_not_known(tmp_path, slices) -> None:
    cache = PatientCache(tmp_path, "key")
    cache.store(entry(), slices)
    assert cache.load("Ärztin 7/β", "other") is None
    assert cache.load("someone else", "s") is None


def test_storing_again_replaces(tmp_path, slices) -> None:
    cache = PatientCache(tmp_path, "key")
    cache.store(entry(), slices)
    cache.store(entry(signature="new", has_tumour=False), slices)
    loaded = cache.load("Ärztin 7/β", "new")
    assert loaded is not None
    assert not loaded.has_tumour
    assert len(list((tmp_path / "key").iterdir())) == 1


def test_a_patient_without_a_usable_study_is_remembered_without_arrays(tmp_path) -> None:
    cache = PatientCache(tmp_path, "key")
    stored = cache.store(entry(slices=0, lesion_pixels=(), tumour_slices=None), None)
    loaded = cache.load("Ärztin 7/β", "s")
    assert loaded is not None
    assert loaded.quarantined[0].reason == "mask is empty"
    assert [path.name for path in stored.folder.iterdir()] == ["index.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"patient": 1}'])
def test_an_index_that_makes_no_sense_counts_as_absent(tmp_path, slices, text: str) -> None:
    cache = PatientCache(tmp_path, "key")
    stored = cache.store(entry(), slices)
    (stored.folder / "index.json").write_text(text)
    assert cache.load("Ärztin 7/β", "s") is None


def test_arrays_with_another_number_of_slices_than_the_index_count_as_absent(tmp_path, slices) -> None:
    cache = PatientCache(tmp_path, "key")
    stored = cache.store(entry(), slices)
    np.save(stored.folder / "labels.npy", np.zeros((1, 8, 8), np.uint8))
    assert cache.load("Ärztin 7/β", "s") is None


def test_the_key_tells_configs_apart() -> None:
    keys = {cache_key(image=ImageConfig(size=size), reader=reader) for size in (64, 96) for reader in ("a", "b")}
    assert len(keys) == 4
