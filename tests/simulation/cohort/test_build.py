import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import simulation.cohort.build as build
from common.config import CohortConfig, SiteConfig
from common.errors import ConfigError, DataError
from common.imaging.readers.brats import BratsReader
from simulation.cohort.build import REFERENCE_PARTS, CohortFolders, build_cohort, tumour_flags

BRATS_AFFINE = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
"""Of every case in the released archive."""


def volume(case: Path, name: str) -> Any:
    return nib.load(case / f"{case.name}_{name}.nii.gz")


def all_cases(folders: CohortFolders) -> list[Path]:
    homes = [*folders.sites.values(), *(folders.reference / part for part in REFERENCE_PARTS)]
    return [case for home in homes for case in sorted(home.iterdir())]


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}


def test_only_brain_sites_without_a_path_get_patients(small_cohort: CohortFolders) -> None:
    assert {name: len(list(folder.iterdir())) for name, folder in small_cohort.sites.items()} == {
        "north": 4,
        "south": 1,
    }


def test_reference_set_has_three_parts_of_different_patients(small_cohort: CohortFolders) -> None:
    parts = [small_cohort.reference / part for part in REFERENCE_PARTS]
    assert [len(list(part.iterdir())) for part in parts] == [1, 1, 1]
    pixels = {volume(next(part.iterdir()), "t1").get_fdata().sum() for part in parts}
    assert len(pixels) == 3


def test_files_have_the_shape_affine_and_types_of_brats(small_cohort: CohortFolders) -> None:
    for case in all_cases(small_cohort):
        for name in ("t1", "t1ce", "t2", "flair", "seg"):
            image = volume(case, name)
            affine = image.affine.copy()
            assert affine[2, 3] == int(affine[2, 3]) > 0, "a slab keeps its height in the head"
            affine[2, 3] = 0
            assert np.array_equal(affine, BRATS_AFFINE)
            assert image.shape == (240, 240, 8)
            assert image.header.get_zooms() == (1, 1, 1)
            assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
            assert image.get_data_dtype() == (np.uint8 if name == "seg" else np.int16)
        brain = np.asarray(volume(case, "t1").dataobj) > 0
        labels = np.asarray(volume(case, "seg").dataobj)
        assert set(np.unique(labels)) <= {0, 1, 2, 4}
        assert not labels[~brain].any()
        assert 0.03 < brain.mean() < 0.5
        assert all(np.array_equal(np.asarray(volume(case, n).dataobj) > 0, brain) for n in ("t1ce", "t2", "flair"))


def test_our_own_reader_takes_every_patient(small_cohort: CohortFolders) -> None:
    reader = BratsReader(contrasts=("t1", "t1ce", "t2", "flair"))
    folders = [*small_cohort.sites.values(), *(small_cohort.reference / part for part in REFERENCE_PARTS)]
    patients = [reader.read(location) for folder in folders for location in reader.find(folder)]
    assert len(patients) == len({patient.patient for patient in patients}) == 8
    assert {patient.images.shape for patient in patients} == {(4, 8, 240, 240)}


def test_patients_with_a_tumour_are_those_that_were_planned(small_cohort: CohortFolders) -> None:
    cases = sorted(small_cohort.sites["north"].iterdir())
    have = [bool(np.asarray(volume(case, "seg").dataobj).any()) for case in cases]
    assert have == tumour_flags(4, CohortConfig().tumour_share)
    assert any(have)
    assert not all(have)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("count", [1, 10, 16, 20, 30])
def test_tumour_share_is_exact_and_even(share: float, count: int) -> None:
    flags = tumour_flags(count, share)
    assert len(flags) == count
    assert abs(sum(flags) - share * count) <= 0.5 + 1e-6
    for size in range(1, count + 1):
        for start in range(count - size + 1):
            assert abs(sum(flags[start : start + size]) - share * size) < 1 + 1e-6
    assert flags == tumour_flags(count + 5, share)[:count]


def test_second_call_writes_nothing(
    small_cohort: CohortFolders, small_config: CohortConfig, small_sites: dict[str, SiteConfig], small_cache: Path
) -> None:
    before = snapshot(small_cache)
    calls: list[tuple[int, int, str]] = []
    again = build_cohort(small_config, small_sites, small_cache, lambda *call: calls.append(call))
    assert again == small_cohort
    assert calls == []
    assert snapshot(small_cache) == before


def test_interrupted_build_resumes_and_gives_the_same_bytes(
    small_cohort: CohortFolders,
    small_config: CohortConfig,
    small_sites: dict[str, SiteConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sites = {"south": small_sites["south"]}
    config = replace(small_config, external=2)
    write, written = build.write_brats_case, []

    def stops_half_way(folder: Path, partial: Path, *rest: Any) -> None:
        if written:
            partial.mkdir(parents=True)
            (partial / f"{folder.name}_t1.nii.gz").write_bytes(b"half a file")
            raise KeyboardInterrupt
        write(folder, partial, *rest)
        written.append(folder)

    monkeypatch.setattr(build, "write_brats_case", stops_half_way)
    with pytest.raises(KeyboardInterrupt):
        build_cohort(config, sites, tmp_path)
    kept = snapshot(written[0])
    assert [path.name for path in written[0].parent.iterdir()] == [written[0].name]

    monkeypatch.setattr(build, "write_brats_case", write)
    calls: list[tuple[int, int, str]] = []
    folders = build_cohort(config, sites, tmp_path, lambda *call: calls.append(call))
    assert [call[:2] for call in calls] == [(done, 4) for done in range(5)]
    assert snapshot(written[0]) == kept
    assert len(list(folders.sites["south"].iterdir())) == 2
    for name in ("t2", "seg"):
        first = "Demo_south_0000"
        ours = folders.sites["south"] / first / f"{first}_{name}.nii.gz"
        theirs = small_cohort.sites["south"] / first / f"{first}_{name}.nii.gz"
        assert ours.read_bytes() == theirs.read_bytes()


def test_several_processes_give_the_same_bytes_as_one(
    small_cohort: CohortFolders, small_config: CohortConfig, small_sites: dict[str, SiteConfig], tmp_path: Path
) -> None:
    folders = build_cohort(replace(small_config, reference=1, workers=2), {}, tmp_path)
    for part in REFERENCE_PARTS:
        for path in (folders.reference / part).rglob("*.nii.gz"):
            same = small_cohort.reference / part / path.parent.name / path.name
            assert path.read_bytes() == same.read_bytes()


def test_another_site_changes_nothing_elsewhere(
    small_cohort: CohortFolders, small_config: CohortConfig, small_sites: dict[str, SiteConfig], small_cache: Path
) -> None:
    folders = build_cohort(
        small_config, {**small_sites, "west": SiteConfig(scanner="b", roles=["evaluate"])}, small_cache
    )
    assert folders.reference == small_cohort.reference
    assert {name: folders.sites[name] for name in small_cohort.sites} == small_cohort.sites
    assert len(list(folders.sites["west"].iterdir())) == 1
    shutil.rmtree(folders.sites["west"].parent)


def test_folder_depends_on_every_parameter_of_its_content(small_config: CohortConfig, tmp_path: Path) -> None:
    config = replace(small_config, train=0, validation=0, test=0, reference=0)

    def home(cohort: CohortConfig, scanner: str = "a") -> Path:
        return build_cohort(cohort, {"north": SiteConfig(scanner=scanner)}, tmp_path).sites["north"]

    changes: list[dict[str, Any]] = [{"seed": 4}, {"slices": 9}, {"tumour_share": 0.5}]
    homes = [home(config), home(config, "b"), *(home(replace(config, **change)) for change in changes)]
    assert len(set(homes)) == len(homes)
    assert home(replace(config, workers=2)) == homes[0]


def test_cohort_json_states_parameters_licence_and_limits(small_cohort: CohortFolders) -> None:
    for home in (small_cohort.sites["north"].parent, small_cohort.reference):
        stated = json.loads((home / "cohort.json").read_text())
        assert stated["seed"] == 3
        assert stated["slices"] == 8
        assert "Louis Collins" in stated["anatomy"]["notice"]
        assert "deformation of one anatomy" in stated["limits"]


@pytest.mark.parametrize(
    ("cohort", "site", "named"),
    [
        (CohortConfig(tumour_share=1.5), SiteConfig(), "tumour_share"),
        (CohortConfig(slices=2), SiteConfig(), "slices"),
        (CohortConfig(test=-1), SiteConfig(), "test"),
        (CohortConfig(), SiteConfig(scanner="mystery"), "mystery"),
        (CohortConfig(), SiteConfig(reader="image_folder"), "image_folder"),
    ],
)
def test_impossible_parameters_are_refused_before_anything_is_written(
    cohort: CohortConfig, site: SiteConfig, named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        build_cohort(cohort, {"north": site}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_site_name_that_is_no_folder_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.\./north"):
        build_cohort(CohortConfig(), {"../north": SiteConfig()}, tmp_path)


def test_unwritable_cache_is_a_clear_error(small_config: CohortConfig, tmp_path: Path) -> None:
    (tmp_path / "cohort").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="cache_dir"):
        build_cohort(small_config, {"north": SiteConfig()}, tmp_path)
