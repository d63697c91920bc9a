from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from common.imaging.readers.registry import build_reader
from simulation.cohort.key import PatientKey
from simulation.cohort.liver.masses import Kind, Mass
from simulation.cohort.liver.patient import LARGEST_SHARE, LiverPatient, make_liver_patient
from simulation.cohort.liver.writing import write_hcc_tace_case

KEY = PatientKey(seed=5, site="site/north", index=0, scanner="a", tumour=True, slices=8)


@pytest.fixture(scope="module")
def patients(made_up_anatomy: Path) -> list[LiverPatient]:
    """Three with a mass and one without."""
    return [make_liver_patient(replace(KEY, index=index, tumour=index < 3), made_up_anatomy) for index in range(4)]


def test_same_key_gives_the_same_patient_and_another_key_another(
    patients: list[LiverPatient], made_up_anatomy: Path
) -> None:
    assert np.array_equal(make_liver_patient(KEY, made_up_anatomy).phases["AP"], patients[0].phases["AP"])
    other = make_liver_patient(replace(KEY, seed=6), made_up_anatomy)
    assert not np.array_equal(other.phases["AP"], patients[0].phases["AP"])


def test_masses_lie_in_the_liver_and_leave_slices_free(patients: list[LiverPatient]) -> None:
    for patient in patients[:3]:
        mass = patient.masks["mass"]
        assert 0 < mass.any(axis=(1, 2)).mean() <= LARGEST_SHARE
    assert "mass" not in patients[3].masks


def test_no_two_masks_overlap(patients: list[LiverPatient]) -> None:
    for patient in patients:
        assert np.sum(list(patient.masks.values()), axis=0).max() == 1


def test_arterial_phase_lights_up_the_aorta_and_the_portal_phase_the_liver(patients: list[LiverPatient]) -> None:
    for patient in patients:
        means = {
            phase: {name: hu[mask].mean() for name, mask in patient.masks.items()}
            for phase, hu in patient.phases.items()
        }
        assert means["AP"]["aorta"] > means["PVP"]["aorta"] + 30
        assert means["PVP"]["liver"] > means["AP"]["liver"] + 10
        assert means["PVP"]["portal"] > means["AP"]["portal"]


def test_hypervascular_masses_are_bright_first_and_washed_out_later(made_up_anatomy: Path) -> None:
    from simulation.cohort.fields import Grid

    grid = Grid.regular((0, 0, 0), (40, 60, 60), 2.0)
    depth = np.full(grid.shape, 50.0, np.float32)
    contrast = {kind: [] for kind in Kind}
    for seed in range(40):
        mass = Mass(np.random.default_rng(seed), np.array([20.0, 30.0, 30.0]), 10.0)
        phases = {phase: np.full(grid.shape, 90, np.float32) for phase in ("AP", "PVP")}
        found = mass.box(grid)
        assert found is not None
        mass.draw(phases, found[1], found[0], depth[found[0]])
        inside = mass.distance(found[1], depth[found[0]]) < -1.5
        contrast[mass.kind].append([np.median(phases[phase][found[0]][inside]) - 90 for phase in ("AP", "PVP")])
    arterial, portal = np.median(contrast[Kind.HYPERVASCULAR], axis=0)
    assert arterial > 30
    assert portal < -15
    assert np.median(contrast[Kind.HYPOVASCULAR], axis=0)[0] < 0


def test_findings_lie_beside_the_masses(patients: list[LiverPatient]) -> None:
    for patient in patients[:3]:
        assert not (patient.findings & patient.masks["mass"]).any()


def test_slices_are_as_many_as_were_asked_for_or_as_the_template_has(made_up_anatomy: Path) -> None:
    assert len(make_liver_patient(replace(KEY, slices=24, tumour=False), made_up_anatomy).phases["AP"]) == 20


def test_reader_gives_back_what_was_drawn(patients: list[LiverPatient], tmp_path: Path) -> None:
    reader = build_reader("hcc_tace", organ="liver", contrasts=["ct"], options={})
    for index, patient in enumerate(patients):
        folder = tmp_path / f"Demo_north_{index:04d}"
        folder.mkdir()
        write_hcc_tace_case(folder, folder.name, patient)
    for drawn, location in zip(patients, reader.find(tmp_path), strict=True):
        read = reader.read(location)
        hu = drawn.phases[drawn.segmented]
        inside = np.ones(hu.shape[1:], bool) if drawn.inside is None else drawn.inside
        np.testing.assert_allclose(read.images[0][:, inside], hu[:, inside], atol=0.5)
        assert read.spacing == pytest.approx(drawn.spacing)
        assert read.identifying == ()
        mass = drawn.masks.get("mass", np.zeros(hu.shape, bool))
        assert read.labels is not None
        assert read.organ_mask is not None
        assert np.array_equal(read.labels > 0, mass)
        assert np.array_equal(read.organ_mask > 0, mass | drawn.masks["liver"])
        assert read.has_tumour == mass.any()


def test_study_has_both_phases_and_a_segmentation_of_one_with_named_segments(
    patients: list[LiverPatient], tmp_path: Path
) -> None:
    for patient in (patients[0], patients[3]):
        folder = tmp_path / patient.segmented / str("mass" in patient.masks)
        folder.mkdir(parents=True)
        write_hcc_tace_case(folder, "Demo_north_0000", patient)
        headers = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
        series = {header.SeriesInstanceUID: header.SeriesDescription for header in headers if header.Modality == "CT"}
        assert sorted(series.values()) == ["Recon 2 LIVER 3PHASE (AP)", "Recon 3 LIVER 3PHASE (PVP)"]
        assert len({header.StudyInstanceUID for header in headers}) == 1
        (outlines,) = [header for header in headers if header.Modality == "SEG"]
        referred = outlines.ReferencedSeriesSequence[0].SeriesInstanceUID
        assert f"({patient.segmented})" in series[referred]
        labels = [segment.SegmentLabel for segment in outlines.SegmentSequence]
        expected = ["Liver", "Mass", "Portal vein", "Abdominal aorta"]
        assert labels == [label for label in expected if label != "Mass" or "mass" in patient.masks]
        frames = sum(int(mask.any(axis=(1, 2)).sum()) for mask in patient.masks.values())
        assert outlines.NumberOfFrames == frames, "empty frames are left out"


def test_files_are_the_same_bytes_again_and_small(patients: list[LiverPatient], tmp_path: Path) -> None:
    stored = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        write_hcc_tace_case(tmp_path / run, "Demo_north_0000", patients[0])
        files = sorted(path for path in (tmp_path / run).rglob("*") if path.is_file())
        stored.append({path.relative_to(tmp_path / run): path.read_bytes() for path in files})
    assert stored[0] == stored[1]
    assert sum(map(len, stored[0].values())) < 4e6 * 8 / 20
