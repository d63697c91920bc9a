import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from common.imaging.cohort import PreparedCohort
from common.imaging.patient import Patient, StudyLocation
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.brats import BratsReader
from common.imaging.readers.image_folder import ImageFolderReader
from common.imaging.remarks import OpenQuestion, Question, Remark, Tally
from common.imaging.split import split_patients
from common.study.experiment import ImageConfig, PreprocessingConfig, SplitConfig


@dataclasses.dataclass(frozen=True)
class CountingReader:
    """A BraTS reader that notes what it reads, and can be told to stop the program."""

    seen: list[str] = dataclasses.field(default_factory=list, repr=False)
    stop_at: str = dataclasses.field(default="", repr=False)
    inner: BratsReader = dataclasses.field(default_factory=BratsReader)

    def find(self, root: Path) -> list[StudyLocation]:
        return self.inner.find(root)

    def read(self, location: StudyLocation) -> Patient:
        if location.patient == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(location.patient)
        return self.inner.read(location)


@dataclasses.dataclass(frozen=True)
class AskingReader:
    """A BraTS reader to which a mask without a tumour is a question, unless it is answered."""

    answered: tuple[str, ...] = ()
    inner: BratsReader = dataclasses.field(default_factory=BratsReader)

    def find(self, root: Path) -> list[StudyLocation]:
        return self.inner.find(root)

    def read(self, location: StudyLocation) -> Patient:
        patient = self.inner.read(location)
        sure = patient.labels is None or patient.has_tumour or "hcc" in self.answered
        asked = () if sure else (Question("hcc", ("tumours", "answered")),)
        return dataclasses.replace(patient, questions=asked, remarks=(Remark("outline", "aorta"),))


@pytest.fixture
def root(tmp_path: Path, write_case) -> Path:
    for number, name in enumerate(("anna", "bert", "cleo")):
        files = {"seg": np.zeros((12, 40, 36), np.uint8)} if name == "cleo" else {}
        write_case(tmp_path / "data", name, files, seed=number)
    return tmp_path / "data"


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., PreparedCohort]:
    def run(root: Path, reader: Any = None, **changes: Any) -> PreparedCohort:
        values: dict[str, Any] = {
            "cache_dir": tmp_path / "cache",
            "organ": "brain",
            "contrasts": ["flair"],
            "image": ImageConfig(size=32),
            "preprocessing": PreprocessingConfig(),
        }
        return prepare_cohort(reader or BratsReader(), root, **{**values, **changes})

    return run


def test_a_folder_becomes_a_cohort_whose_slices_are_read_by_memory_map(root, prepare) -> None:
    cohort = prepare(root)
    assert [p.patient for p in cohort.patients] == ["anna", "bert", "cleo"]
    assert cohort.tumour_by_patient == [("anna", True), ("bert", True), ("cleo", False)]
    assert cohort.modality == "MR"
    assert cohort.patients_known
    assert cohort.quarantine == ()
    anna = cohort.patients[0]
    assert (anna.slices, anna.studies[0].spacing, anna.studies[0].spacing_known) == (12, (1.0, 1.0, 1.0), True)
    assert anna.studies[0].lesion_mm3 == 4 * 8 * 8
    slices = cohort.slices(["cleo", "anna"])
    assert isinstance(slices.patients[0].images, np.memmap)
    assert [p.patient for p in slices.patients] == ["cleo", "anna"]
    batch = slices.all()
    assert tuple(batch.images.shape) == (24, 1, 32, 32)
    assert batch.tumour_pixels().tolist() == [0] * 12 + list(anna.lesion_pixels)
    assert split_patients(cohort.tumour_by_patient, SplitConfig(1, 1, 1)).train


def test_a_study_that_may_hold_a_tumour_is_left_out_before_its_question_is_answered(root, prepare) -> None:
    for _ in range(2):  # the second time from the cache
        cohort = prepare(root, AskingReader())
        assert [p.patient for p in cohort.patients] == ["anna", "bert"]
        assert cohort.questions == (OpenQuestion("hcc", ("tumours", "answered"), 1, ("cleo",)),)
        (left_out,) = cohort.quarantine
        assert left_out.patient == "cleo"
        assert "would count as tumour-free" in left_out.reason
    answered = prepare(root, AskingReader(answered=("hcc",)))
    assert answered.tumour_by_patient == [("anna", True), ("bert", True), ("cleo", False)]
    assert (answered.questions, answered.quarantine) == ((), ())


def test_a_question_about_one_study_makes_no_tumour_free_patient_of_another_without_a_mask(
    tmp_path, prepare, write_case
) -> None:
    root = tmp_path / "visits"
    write_case(root, "BraTS-GLI-00001-000", {"seg": np.zeros((12, 40, 36), np.uint8)})
    write_case(root, "BraTS-GLI-00001-001", {"seg": None}, seed=1)
    core = np.zeros((12, 40, 36), np.uint8)
    core[4:8, 10:20, 10:20] = 1
    write_case(root, "BraTS-GLI-00002-000", {"seg": core}, seed=2)
    cohort = prepare(root, AskingReader())
    assert cohort.tumour_by_patient == [("BraTS-GLI-00002", True)]
    assert sorted(bad.patient for bad in cohort.quarantine) == 2 * ["BraTS-GLI-00001"]


def test_what_was_not_used_is_told_with_its_number_and_examples(root, prepare) -> None:
    (root / "anna" / "readme.txt").write_text("by hand")
    for _ in range(2):
        assert prepare(root, AskingReader(answered=("hcc",))).remarks == (
            Tally("file", "*.txt", 1, ("anna/readme.txt",)),
            Tally("outline", "aorta", 3, ("anna", "bert", "cleo")),
        )


def test_asking_for_an_unknown_patient_is_refused(root, prepare) -> None:
    with pytest.raises(ConfigError, match="not in this cohort"):
        prepare(root).slices(["anna", "dora"])


def test_a_second_preparation_reads_nothing_and_gives_the_same(root, prepare) -> None:
    first = prepare(root, CountingReader())
    reader = CountingReader()
    assert prepare(root, reader) == first
    assert reader.seen == []


def test_progress_names_each_patient_whether_cached_or_not(root, prepare) -> None:
    calls: list[tuple[int, int, str]] = []
    for _ in range(2):
        prepare(root, progress=lambda event: calls.append(tuple(event.values.values())))
    assert calls == 2 * [(1, 3, "anna"), (2, 3, "bert"), (3, 3, "cleo")]


def test_a_bad_study_is_quarantined_with_its_reason_and_read_again_only_when_its_files_change(
    root, prepare, write_case
) -> None:
    mask = root / "bert" / "bert_seg.nii.gz"
    good = mask.read_bytes()
    mask.write_bytes(good[:100])
    for _ in range(2):
        reader = CountingReader()
        cohort = prepare(root, reader)
        assert [p.patient for p in cohort.patients] == ["anna", "cleo"]
        (bad,) = cohort.quarantine
        assert (bad.patient, bad.path) == ("bert", root / "bert")
        assert bad.reason == "bert_seg.nii.gz: cannot be read, the file is damaged or incomplete"
    assert reader.seen == []
    mask.write_bytes(good)
    reader = CountingReader()
    assert len(prepare(root, reader).patients) == 3
    assert reader.seen == ["bert"]


def test_a_changed_file_is_prepared_again(root, prepare) -> None:
    before = prepare(root).slices(["anna"]).all()
    path = root / "anna" / "anna_flair.nii.gz"
    path.write_bytes((root / "bert" / "bert_flair.nii.gz").read_bytes())
    reader = CountingReader()
    after = prepare(root, reader).slices(["anna"]).all()
    assert not after.images.equal(before.images)
    prepare(root, CountingReader())


def test_a_file_touched_without_a_change_of_size_is_prepared_again(root, prepare) -> None:
    prepare(root, CountingReader())
    os.utime(root / "anna" / "anna_flair.nii.gz", ns=(1, 1))
    reader = CountingReader()
    prepare(root, reader)
    assert reader.seen == ["anna"]


@pytest.mark.parametrize(
    "changes",
    [
        {"image": ImageConfig(size=64)},
        {"preprocessing": PreprocessingConfig(window=[-3, 3])},
        {"reader": CountingReader(inner=BratsReader(tumour_free="quarantine"))},
    ],
)
def test_another_way_of_preparing_has_its_own_cache(root, prepare, tmp_path, changes) -> None:
    prepare(root, CountingReader())
    prepare(root, **{"reader": CountingReader(), **changes})
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_an_interrupted_preparation_goes_on_with_the_next_patient(root, prepare, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(root, CountingReader(stop_at="bert"))
    reader = CountingReader()
    assert len(prepare(root, reader).patients) == 3
    assert reader.seen == ["bert", "cleo"]


def test_a_kill_while_writing_leaves_nothing_half_written(root, prepare, tmp_path, monkeypatch) -> None:
    saved = np.save

    def killed(path: Path, array: np.ndarray) -> None:
        if path.name == "foreground.npy":
            raise SystemExit
        saved(path, array)

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(SystemExit):
        prepare(root)
    monkeypatch.undo()
    (key,) = (tmp_path / "cache").iterdir()
    assert [path.name for path in key.iterdir()] == ["studies.json"]
    assert len(prepare(root).patients) == 3


@pytest.mark.parametrize("name", ["images.npy", "index.json"])
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_cache_is_made_again(root, prepare, name: str, damage: str) -> None:
    cohort = prepare(root, CountingReader())
    expected = cohort.slices(["anna"]).all().images
    path = cohort.patients[0].folder / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-60])
    else:
        path.unlink()
    reader = CountingReader()
    again = prepare(root, reader)
    assert reader.seen == ["anna"]
    assert again.slices(["anna"]).all().images.equal(expected)


def test_what_an_abandoned_preparation_left_is_cleared_after_a_while(root, prepare, tmp_path) -> None:
    prepare(root)
    (key,) = (tmp_path / "cache").iterdir()
    old, fresh = key / ".writing-old", key / ".writing-fresh"
    old.mkdir()
    fresh.mkdir()
    os.utime(old, (1, 1))
    prepare(root)
    assert not old.exists()
    assert fresh.exists()


def test_no_patient_name_is_in_the_path_of_the_cache(root, prepare, tmp_path) -> None:
    prepare(root)
    for path in (tmp_path / "cache").rglob("*"):
        assert "anna" not in str(path.relative_to(tmp_path))


def test_a_folder_of_bad_studies_is_an_error_that_counts_and_explains(root, prepare) -> None:
    for path in root.rglob("*_flair.nii.gz"):
        path.write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        prepare(root)
    assert str(root) in str(caught.value)
    assert "none of 3 studies can be used" in str(caught.value)
    assert "anna: anna_flair.nii.gz: cannot be read" in str(caught.value)


def test_a_full_disk_is_an_error_that_names_the_cache_and_leaves_no_remains(
    root, prepare, tmp_path, monkeypatch
) -> None:
    def full(path: Path, array: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"cache: prepared slices cannot be written \(No space left on device\)"):
        prepare(root)
    (key,) = (tmp_path / "cache").iterdir()
    assert [path.name for path in key.iterdir()] == ["studies.json"]


def test_a_cache_folder_that_is_a_file_is_an_error(root, prepare, tmp_path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match="choose another cache folder"):
        prepare(root)


def test_a_folder_that_may_not_be_read_is_an_error(root, prepare, monkeypatch) -> None:
    def forbidden(path: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match="data: not allowed to read"):
        prepare(root)


def test_a_case_without_a_mask_is_quarantined(root, prepare) -> None:
    (root / "anna" / "anna_seg.nii.gz").unlink()
    (bad,) = prepare(root).quarantine
    assert bad.reason == "there is no tumour mask, so it cannot be trained on"


def test_a_folder_without_any_mask_is_a_cohort_that_says_so(root, prepare) -> None:
    for name in ("anna", "bert", "cleo"):
        (root / name / f"{name}_seg.nii.gz").unlink()
    cohort = prepare(root)
    assert not cohort.has_masks
    assert [patient.patient for patient in cohort.patients] == ["anna", "bert", "cleo"]
    assert not cohort.quarantine


def test_only_the_patients_named_take_part(root, prepare) -> None:
    assert [patient.patient for patient in prepare(root, only={"bert", "cleo"}).patients] == ["bert", "cleo"]
    with pytest.raises(DataError, match=r"1 of the 2 patients that should take part are not there, e\.g\. 'dora'"):
        prepare(root, only={"bert", "dora"})


@dataclasses.dataclass(frozen=True)
class NamingReader(CountingReader):
    """A reader that finds a name in the headers of one patient."""

    def read(self, location: StudyLocation) -> Patient:
        patient = super().read(location)
        return dataclasses.replace(patient, identifying=("PatientName",) if location.patient == "bert" else ())


def test_headers_that_identify_a_person_stop_the_site_or_quarantine_the_study(root, prepare) -> None:
    with pytest.raises(
        DataError, match=r"the headers of 1 of 3 patients may identify them \(PatientName\); de-identify"
    ):
        prepare(root, NamingReader())
    cohort = prepare(root, NamingReader(), identifying_data="quarantine")
    assert [patient.patient for patient in cohort.patients] == ["anna", "cleo"]
    (bad,) = cohort.quarantine
    assert bad.reason == "its headers may identify the person (PatientName); de-identify it first"


def test_a_search_is_repeated_only_when_the_folder_has_changed(root, prepare, write_case) -> None:
    finds = []

    @dataclasses.dataclass(frozen=True)
    class Finding(CountingReader):
        def find(self, root: Path) -> list[StudyLocation]:
            finds.append(root)
            return super().find(root)

    prepare(root, Finding())
    prepare(root, Finding())
    assert len(finds) == 1
    write_case(root, "dora", {})
    assert len(prepare(root, Finding()).patients) == 4
    assert len(finds) == 2


def test_a_mask_of_another_brain_is_quarantined(root, prepare, write_case) -> None:
    labels = np.zeros((12, 40, 36), np.uint8)
    labels[:, :3, :3] = 1
    write_case(root, "dora", {"seg": labels})
    (bad,) = prepare(root).quarantine
    assert bad.reason == "the mask lies outside the foreground of the image"


def test_two_studies_of_one_patient_are_one_patient_and_a_bad_one_of_them_is_left_out(tmp_path, prepare, write_case):
    from_2023 = {"naming": "{case}-{role}.nii.gz", "contrasts": ("t2f",), "files": {"seg": None}}
    labels = np.zeros((12, 40, 36), np.uint8)
    labels[5, 15:20, 15:20] = 3
    for number in range(3):
        write_case(
            tmp_path / "data", f"BraTS-GLI-00001-00{number}", **{**from_2023, "seed": number, "files": {"seg": labels}}
        )
    (tmp_path / "data" / "BraTS-GLI-00001-001" / "BraTS-GLI-00001-001-t2f.nii.gz").write_bytes(b"")
    cohort = prepare(tmp_path / "data")
    (patient,) = cohort.patients
    assert (patient.patient, patient.slices) == ("BraTS-GLI-00001", 24)
    assert sum(study.lesion_mm3 for study in patient.studies) == 50
    assert len(cohort.quarantine) == 1


def test_image_folders_carry_the_class_of_images_without_a_mask(tmp_path, prepare) -> None:
    rng = np.random.default_rng(0)
    for name in ("tumour/a", "tumour/b", "healthy/c"):
        pixels = np.zeros((40, 40), np.uint8)
        pixels[6:34, 6:34] = rng.integers(80, 200, (28, 28))
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{name}.png")
    mask = np.zeros((40, 40), np.uint8)
    mask[12:20, 12:20] = 255
    Image.fromarray(mask).save(tmp_path / "data" / "tumour" / "a_mask.png")
    reader = ImageFolderReader("brain", ("t1",), ("tumour",))
    for _ in range(2):
        cohort = prepare(tmp_path / "data", reader, contrasts=["t1"], min_tumour_pixels=5)
        assert not cohort.patients_known
        assert not cohort.patients[0].studies[0].spacing_known
        assert cohort.tumour_by_patient == [("healthy/c.png", False), ("tumour/a.png", True), ("tumour/b.png", True)]
        slices = cohort.slices([p.patient for p in cohort.patients])
        assert slices.tumour_class().tolist() == [False, True, True]
        assert slices.tumour_positions().tolist() == [1]
        assert slices.healthy_positions().tolist() == [0]


def test_what_is_known_of_a_folder_is_told_once_and_again_when_it_is_read_from_the_cache(tmp_path, prepare) -> None:
    rng = np.random.default_rng(0)
    for name in ("tumour/a", "tumour/b", "benign/c", "benign/d"):
        pixels = np.zeros((40, 40), np.uint8)
        pixels[6:34, 6:34] = rng.integers(80, 200, (28, 28))
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{name}.png")
    mask = np.zeros((40, 40), np.uint8)
    mask[12:20, 12:20] = 2
    mask[20:30, 12:30] = 1
    Image.fromarray(mask).save(tmp_path / "data" / "tumour" / "a_mask.png")
    Image.fromarray(np.uint8(mask == 1)).save(tmp_path / "data" / "benign" / "c_mask.png")
    (tmp_path / "data" / "patients.csv").write_text("file;patient\na;ann\nb;bob\nc;cid\nd;dan\ne;eve\n")
    reader = ImageFolderReader("brain", ("flair",), ("tumour",), tumour_values=(2,))
    for _ in range(2):
        cohort = prepare(tmp_path / "data", reader)
        assert {(one.kind, one.what, one.count) for one in cohort.remarks} == {
            ("file", "rows of patients.csv whose file is not there", 1),
            ("guess", "folder benign is not in tumour_classes, taken as without a tumour", 2),
            ("guess", "no mask beside an image of a tumour class, taken as a tumour without an outline", 1),
            ("value", "1", 1),
        }
        assert [(one.about, one.options, one.count, one.examples) for one in cohort.questions] == [
            ("1", ("tumour_values", "other_values"), 1, ("cid",))
        ]
        assert cohort.tumour_by_patient == [("ann", True), ("bob", True), ("dan", False)]
        assert cohort.patients_known
    answered = ImageFolderReader("brain", ("flair",), ("tumour",), tumour_values=(2,), other_values=("1",))
    cohort = prepare(tmp_path / "data", answered)
    assert cohort.questions == ()
    assert cohort.tumour_by_patient == [("ann", True), ("bob", True), ("cid", False), ("dan", False)]


def test_the_index_is_plain_json_with_counts(root, prepare) -> None:
    anna = prepare(root).patients[0]
    index = json.loads((anna.folder / "index.json").read_text())
    assert index["patient"] == "anna"
    assert index["slices"] == 12
    assert sum(index["lesion_pixels"]) > 0


def test_the_real_patients_are_prepared(real_brats, prepare) -> None:
    cohort = prepare(real_brats, image=ImageConfig(size=64))
    by_name = {p.patient: p for p in cohort.patients}
    assert {name: p.studies[0].lesion_mm3 for name, p in by_name.items()} == {
        "TCGA-DU-7294": 24188,
        "TCGA-FG-6692": 30179,
    }
    assert all(100 < p.slices < 130 for p in cohort.patients)
    assert split_patients(cohort.tumour_by_patient, SplitConfig(8, 2, 20)).train
