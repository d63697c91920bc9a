import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import simulation.cohort.build as build
import simulation.cohort.organs as organs
from common.errors import ConfigError, DataError
from common.imaging.readers.brats import BratsReader
from common.imaging.readers.registry import build_reader
from common.study.progress import Event
from common.study.simulated import CohortConfig, SiteConfig
from simulation.cohort.build import REFERENCE_PARTS, CohortFolders, build_cohort, tumour_flags
from simulation.cohort.ct.anatomy import AnatomyUnavailableError
from simulation.cohort.organs import demo_organ

ORGANS = ("brain", "lung", "liver")
CONTRAST = {"brain": "t1", "lung": "ct", "liver": "ct"}

BRATS_AFFINE = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
"""Of every case in the released archive."""


def volume(case: Path, name: str) -> Any:
    return nib.load(case / f"{case.name}_{name}.nii.gz")


def homes_of(folders: CohortFolders, organ: str) -> list[Path]:
    sites = [folder for name, folder in folders.sites.items() if folders.organs[name] == organ]
    return [*sites, *(folders.reference[organ] / part for part in REFERENCE_PARTS)]


def brain_cases(folders: CohortFolders) -> list[Path]:
    return [case for home in homes_of(folders, "brain") for case in sorted(home.iterdir())]


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}


def test_sites_without_a_path_get_patients(small_cohort: CohortFolders) -> None:
    assert {name: len(list(folder.iterdir())) for name, folder in small_cohort.sites.items()} == {
        "north": 4,
        "south": 1,
        "chest": 1,
        "belly": 1,
    }


def test_every_organ_has_a_reference_set_of_three_parts_with_different_patients(small_cohort: CohortFolders) -> None:
    assert set(small_cohort.reference) == {"brain", "lung", "liver"}
    for organ, folder in small_cohort.reference.items():
        parts = [folder / part for part in REFERENCE_PARTS]
        assert [len(list(part.iterdir())) for part in parts] == [1, 1, 1]
        reader = build_reader(demo_organ(organ).reader, organ=organ, contrasts=[CONTRAST[organ]], options={})
        pixels = {float(reader.read(reader.find(part)[0]).images.sum()) for part in parts}
        assert len(pixels) == 3


@pytest.mark.parametrize("organ", ["brain", "lung", "liver"])
def test_the_organ_s_own_reader_takes_every_patient(small_cohort: CohortFolders, organ: str) -> None:
    reader = build_reader(demo_organ(organ).reader, organ=organ, contrasts=[CONTRAST[organ]], options={})
    patients = [reader.read(place) for folder in homes_of(small_cohort, organ) for place in reader.find(folder)]
    assert len(patients) == len({patient.patient for patient in patients}) == (8 if organ == "brain" else 4)
    assert all(patient.organ == organ and patient.images.shape[1] == 8 for patient in patients)
    planned = [
        flag for folder in homes_of(small_cohort, organ) for flag in tumour_flags(len(list(folder.iterdir())), 0.8)
    ]
    assert [patient.has_tumour for patient in patients] == planned


def test_brain_cohort_of_an_earlier_version_is_found_again(tmp_path: Path) -> None:
    config = CohortConfig(external=0, reference=0)
    folders = build_cohort(config, {"north": SiteConfig(scanner="b", roles=["evaluate"])}, tmp_path)
    assert folders.sites["north"].parent.name == "north-600b0b690ef6"
    assert folders.reference["brain"].name == "reference-6b57a822a0bd"


def test_files_have_the_shape_affine_and_types_of_brats(small_cohort: CohortFolders) -> None:
    for case in brain_cases(small_cohort):
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
    patients = [reader.read(place) for folder in homes_of(small_cohort, "brain") for place in reader.find(folder)]
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
    calls: list[Event] = []
    again = build_cohort(small_config, small_sites, small_cache, calls.append, ORGANS)
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
    write, written = organs.write_brats_case, []

    def stops_half_way(folder: Path, partial: Path, *rest: Any) -> None:
        if written:
            partial.mkdir(parents=True)
            (partial / f"{folder.name}_t1.nii.gz").write_bytes(b"half a file")
            raise KeyboardInterrupt
        write(folder, partial, *rest)
        written.append(folder)

    monkeypatch.setattr(organs, "write_brats_case", stops_half_way)
    with pytest.raises(KeyboardInterrupt):
        build_cohort(config, sites, tmp_path)
    kept = snapshot(written[0])
    assert [path.name for path in written[0].parent.iterdir()] == [written[0].name]

    monkeypatch.setattr(organs, "write_brats_case", write)
    calls: list[Event] = []
    folders = build_cohort(config, sites, tmp_path, calls.append)
    assert [(call.values["done"], call.values["total"]) for call in calls] == [(done, 4) for done in range(5)]
    assert snapshot(written[0]) == kept
    assert len(list(folders.sites["south"].iterdir())) == 2
    for name in ("t2", "seg"):
        first = "Demo_south_0000"
        ours = folders.sites["south"] / first / f"{first}_{name}.nii.gz"
        theirs = small_cohort.sites["south"] / first / f"{first}_{name}.nii.gz"
        assert ours.read_bytes() == theirs.read_bytes()


def test_several_processes_give_the_same_bytes_as_one(
    small_cohort: CohortFolders, small_config: CohortConfig, made_up_anatomy: Path, tmp_path: Path
) -> None:
    shutil.copytree(made_up_anatomy, tmp_path / "anatomy" / made_up_anatomy.name)
    folders = build_cohort(replace(small_config, workers=2), {}, tmp_path, organs=["lung"])
    for organ, reference in folders.reference.items():
        files = [path for path in reference.rglob("*") if path.is_file() and path.name != "cohort.json"]
        assert len(files) > 10
        for path in files:
            same = small_cohort.reference[organ] / path.relative_to(reference)
            assert path.read_bytes() == same.read_bytes()


def test_another_site_changes_nothing_elsewhere(
    small_cohort: CohortFolders, small_config: CohortConfig, small_sites: dict[str, SiteConfig], small_cache: Path
) -> None:
    folders = build_cohort(
        small_config, {**small_sites, "west": SiteConfig(scanner="b", roles=["evaluate"])}, small_cache, organs=ORGANS
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
    said = {"brain": "Louis Collins", "lung": "Apache-2.0", "liver": "Apache-2.0"}
    one = {"brain": "one anatomy", "lung": "one thorax", "liver": "one abdomen"}
    for organ in ORGANS:
        for home in (homes_of(small_cohort, organ)[0].parent, small_cohort.reference[organ]):
            stated = json.loads((home / "cohort.json").read_text())
            assert stated["seed"] == 3
            assert stated["slices"] == 8
            assert said[organ] in str(stated["anatomy"])
            assert f"deformation of {one[organ]}" in stated["limits"]


@pytest.mark.parametrize(
    ("cohort", "site", "named"),
    [
        (CohortConfig(tumour_share=1.5), SiteConfig(), "tumour_share"),
        (CohortConfig(slices=2), SiteConfig(), "slices"),
        (CohortConfig(test=-1), SiteConfig(), "test"),
        (CohortConfig(), SiteConfig(scanner="mystery"), "mystery"),
        (CohortConfig(), SiteConfig(reader="image_folder"), "image_folder"),
        (CohortConfig(), SiteConfig(organ="lung"), r"reader=brats.*lung.*reader lidc"),
        (CohortConfig(), SiteConfig(organ="liver", reader="hcc_tace", scanner="mystery"), "mystery"),
        (CohortConfig(), SiteConfig(organ="kidney"), r"organ=kidney: the demo cohort has brain, lung, liver"),
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


def test_no_ct_patient_means_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "fetch_ct_anatomies", lambda *given: pytest.fail("was fetched"))
    config = CohortConfig(external=0, reference=0)
    sites = {"chest": SiteConfig(reader="lidc", organ="lung", roles=["evaluate"])}
    build_cohort(config, sites, tmp_path, organs=["brain", "liver"])


def test_missing_anatomy_is_told_before_any_patient_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*given: object) -> None:
        raise AnatomyUnavailableError("no network")

    monkeypatch.setattr(build, "fetch_ct_anatomies", unreachable)
    sites = {"chest": SiteConfig(reader="lidc", organ="lung"), "north": SiteConfig()}
    with pytest.raises(AnatomyUnavailableError):
        build_cohort(CohortConfig(train=1, reference=0), sites, tmp_path)
    assert not list(tmp_path.iterdir())
