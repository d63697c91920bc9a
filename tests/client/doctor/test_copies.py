"""What the doctor says of patients that show the same slices, and what a study then makes of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny import TINY

from client.data.preparation import local_study
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.doctor.visits import visits
from client.study.leaks import require_no_leak
from common.errors import RefusalError
from common.system.files import read_json


def data_of(hospital, study: tuple[str, ...]) -> SiteData:
    return SiteData.of(local_study(hospital.site, list(study), None))


def copy_of(data: Path, name: str, new: str, change: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
    """A patient under another name, perhaps with other grey values."""
    shutil.copytree(data / name, data / new)
    for file in sorted((data / new).iterdir()):
        file.rename(file.with_name(file.name.replace(name, new)))
    if change is not None:
        file = data / new / f"{new}_flair.nii.gz"
        image = nib.load(file)
        nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)).astype(np.int16), image.affine), file)


def crossing(hospital, study: tuple[str, ...]) -> tuple[str, str]:
    """Names of a training patient, and of a copy that the split gives to the test part."""
    first = data_of(hospital, study).split.train[0]
    for number in range(200):
        copy_of(hospital.data, first, f"twin-{number}")
        split = data_of(hospital, study).split
        if f"twin-{number}" in split.test and first in split.train:
            return first, f"twin-{number}"
        shutil.rmtree(hospital.data / f"twin-{number}")
    raise AssertionError("no such name")


def test_equal_slices_across_the_split_are_predicted_refused_and_mended_by_the_option(hospital, client) -> None:
    first, twin = crossing(hospital, TINY)
    said = client("doctor", hospital.site)
    assert said.code == 3
    assert f"{first} and {twin} would both train and test" in said.out
    assert "duplicates: join" in said.out
    data = data_of(hospital, TINY)
    with pytest.raises(RefusalError, match=r"duplicates in its site\.yaml") as refused:
        require_no_leak(data, WorkFolder.of(data.study))
    assert first not in str(refused.value)
    hospital.settings(duplicates="join")
    said = client("doctor", hospital.site)
    assert said.code == 0, said.out
    joined = data_of(hospital, TINY)
    require_no_leak(joined, WorkFolder.of(joined.study))
    names = [name for name, _ in joined.cohort.tumour_by_patient]
    assert first in names
    assert twin not in names
    assert len(names) == 8
    part = joined.cohort.slices([first])
    assert len(part) == sum(p.slices for p in data.cohort.patients if p.patient in (first, twin))
    assert np.array_equal(part.tumour_pixels[: len(part) // 2], part.tumour_pixels[len(part) // 2 :])


def test_a_copy_in_other_grey_values_is_named_and_joined_too(hospital, client) -> None:
    copy_of(hospital.data, "case-3-00", "z-copy", lambda image: np.where(image > 0, image * 0.7 + 20, 0))
    said = client("doctor", hospital.site)
    assert "case-3-00 = z-copy" in said.out
    (found,) = [
        one
        for one in read_json(hospital.folder / "doctor" / "doctor.json")["duplicates"]
        if one["kind"] == "near_copies"
    ]
    assert [study["patient"] for study in found["studies"]] == ["case-3-00", "z-copy"]
    hospital.settings(duplicates="join")
    assert len(data_of(hospital, TINY).cohort.patients) == 8


def test_where_answers_are_guarded_nobody_is_joined(hospital, client) -> None:
    copy_of(hospital.data, "case-3-00", "z-copy")
    hospital.settings(duplicates="join", privacy="{epsilon: 8.0, patients: 8}")
    assert len(data_of(hospital, TINY).cohort.patients) == 9


def test_a_site_without_copies_is_told_of_none(hospital, client) -> None:
    said = client("doctor", hospital.site)
    assert said.code == 0
    assert "same slices" not in said.out
    kinds = [one["kind"] for one in read_json(hospital.folder / "doctor" / "doctor.json")["duplicates"]]
    assert kinds == []


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["X_1", "X_2", "Y_1", "Z", "W"], [["X_1", "X_2"]]),
        (["P01-a", "P01-b", "P02-a", "P02-b"], [["P01-a", "P01-b"], ["P02-a", "P02-b"]]),
        (["P01-a", "P01-b"], [["P01-a", "P01-b"]]),
        (["0003_pre", "0003_post", "0004_pre"], [["0003_post", "0003_pre"]]),
        (
            ["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "BraTS-GLI-00006-000"],
            [["BraTS-GLI-00005-000", "BraTS-GLI-00005-001"]],
        ),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-03_ses-1"], [["sub-01_ses-1", "sub-01_ses-2"]]),
        (["TCGA_CS_4941_19960909", "TCGA_CS_4941_19970112", "TCGA_CS_4942_19970222", "TCGA_CS_4943_1"],
         [["TCGA_CS_4941_19960909", "TCGA_CS_4941_19970112"]]),
        (["P01v1", "P01v2", "P02v1", "P03v1"], [["P01v1", "P01v2"]]),
        (["P1 t0", "P1 t1", "P2 t0", "P3 t0"], [["P1 t0", "P1 t1"]]),
        ([f"case_{n:03d}" for n in range(1, 30)], []),
        (["case_001", "case_002"], []),
        (["case_1", "case_2", "case_3"], []),
        ([f"HCC_{n:03d}" for n in range(1, 6)], []),
        ([f"case-3-{n:02d}" for n in range(8)], []),
        ([f"LIDC-IDRI-{n:04d}" for n in range(1, 4)], []),
        ([f"TCGA-02-{n:04d}" for n in (3, 6, 9)] + [f"TCGA-06-{n:04d}" for n in (1, 5, 7, 8)], []),
        ([f"C3L-{n:05d}" for n in (625, 626, 627)] + [f"C3N-{n:05d}" for n in (1, 2, 3, 4, 5)], []),
        (["ann", "bob", "12", "P12"], []),
        ([], []),
    ],
)  # fmt: skip
def test_names_that_look_like_visits_are_told_and_plain_numbering_is_not(
    names: list[str], groups: list[list[str]]
) -> None:
    assert visits(names) == groups


def test_the_warning_of_visits_names_the_table_that_helps(hospital, client) -> None:
    (hospital.data / "case-3-00").rename(hospital.data / "P01-a")
    for old, new in (("case-3-00", "P01-a"), ("case-3-01", "P01-b")):
        if (hospital.data / old).exists():
            (hospital.data / old).rename(hospital.data / new)
        for file in sorted((hospital.data / new).iterdir()):
            file.rename(file.with_name(file.name.replace(old, new)))
    said = client("doctor", hospital.site)
    assert "1 group of patients have names that differ in the last part only" in said.out
    assert "patients.csv (columns file, patient)" in said.out
    assert "names that may be visits of one patient: P01-a, P01-b" in said.out
