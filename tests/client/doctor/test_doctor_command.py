"""``oncofed-client doctor`` as a node operator runs it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_files import body, ct_series, segmentation, write
from PIL import Image
from tiny import TINY

from client.doctor.command import doctor
from client.doctor.examination import Examination
from common.errors import DataError
from common.study.config import compose, to_yaml

LIVER = tuple(item.replace("site=brain", "site=liver").replace("organs.brain", "organs.liver") for item in TINY)

SCHEMA = {
    "version", "site", "study", "reader", "path", "organ", "modality", "contrasts", "roles", "fit", "problems",
    "warnings", "patients", "patients_known", "usable_patients", "slices", "parts", "studies", "quarantine",
    "identifying", "identifying_patients", "identifying_policy", "to_review", "duplicates", "outliers", "machine",
    "network", "training", "tasks", "notes", "preprocessing", "versions", "unused", "questions", "answers", "places",
}  # fmt: skip


def found(hospital: Any) -> Examination:
    return Examination.model_validate_json((hospital.folder / "doctor" / "doctor.json").read_bytes())


def damage(hospital: Any, case: str) -> None:
    mask = hospital.data / case / f"{case}_seg.nii.gz"
    mask.write_bytes(mask.read_bytes()[:100])


def copy_case(hospital: Any, case: str, name: str) -> None:
    shutil.copytree(hospital.data / case, hospital.data / name)
    for file in (hospital.data / name).iterdir():
        file.rename(file.with_name(file.name.replace(case, name)))


def write_liver(folder: Path, patients: int, *, identifying: tuple[int, ...] = ()) -> None:
    """HCC-TACE-Seg studies, each with a mass but one of four; some with headers as a hospital's archive has them."""
    for number in range(patients):
        hu = body((8, 48, 48), seed=number)
        liver, mass = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8)
        liver[1:7, 14:34, 10:36] = 1
        if number % 4 != 3:
            mass[3:6, 18:26, 14:22] = 1
        slices = ct_series(hu + 80 * mass, patient=f"HCC_{number:03d}")
        if number in identifying:
            for dataset in slices:
                dataset.PatientName, dataset.StudyDate, dataset.PatientIdentityRemoved = "DOE^JANE", "20200601", "NO"
        study = folder / f"HCC_{number:03d}"
        write(slices, study / "ct")
        write([segmentation(slices, {"Liver": liver, "Mass": mass} if mass.any() else {"Liver": liver})], study / "seg")


def test_a_fit_site_is_told_so_with_the_findings_of_its_data(hospital: Any, client: Callable[..., Any]) -> None:
    before = {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in hospital.data.rglob("*") if f.is_file()}
    said = client("doctor", hospital.site)
    assert said.code == 0, said.err
    sentence = (
        "hospital1 is fit to take part in the study demo: with brain MR of 8 patients it could train the GAN cgan, "
        "train the classifier and test models on its patients."
    )
    assert sentence in said.out
    page = hospital.folder / "doctor" / "index.html"
    assert f"page: {page}" in said.out
    assert f"<p><b>{sentence}</b></p>" in page.read_text()
    assert "It stays in this hospital" in page.read_text()
    assert hospital.files() == {"site.yaml", "doctor/index.html", "doctor/doctor.json"}
    examination = found(hospital)
    assert (examination.patients, examination.usable_patients, examination.slices) == (8, 8, 80)
    assert sum(part.patients for part in examination.parts.values()) == 8
    assert sum(part.with_tumour for part in examination.parts.values()) == 6
    assert sum(part.tumour_slices for part in examination.parts.values()) > 0
    study = examination.studies[0]
    assert (study.patient, study.modality, study.shape, study.spacing) == ("case-3-00", "MR", (10, 44, 40), (1, 1, 1))
    assert study.intensities["flair"]["0"] == 0
    assert 200 < study.intensities["flair"]["50"] < 350
    assert [step.network for step in examination.training] == ["cgan", "small_resnet"]
    for step in examination.training:
        assert step.problem == ""
        assert step.seconds > 0
        assert step.peak_memory_mib > 50
        assert step.losses
    assert examination.machine is not None
    assert examination.machine.cache_bytes > 8 * 10 * 32 * 32 * 4
    assert examination.tasks == ["gan/cgan", "classifier", "evaluate"]
    assert {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in hospital.data.rglob("*") if f.is_file()} == before


def test_json_is_all_that_standard_output_gets(hospital: Any, client: Callable[..., Any]) -> None:
    said = client("doctor", hospital.site, "--json")
    assert said.code == 0
    printed = json.loads(said.out)
    assert set(printed) == SCHEMA
    assert printed == json.loads((hospital.folder / "doctor" / "doctor.json").read_text())
    assert "reading: 8 of 8 patients" in said.err


def test_the_page_goes_where_it_is_told(hospital: Any, client: Callable[..., Any], tmp_path: Path) -> None:
    assert client("doctor", hospital.site, "--out", str(tmp_path / "elsewhere")).code == 0
    assert (tmp_path / "elsewhere" / "doctor" / "index.html").exists()
    assert hospital.files() == {"site.yaml"}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, new_hospital: Callable[[Path], Any]) -> Any:
    """A hospital with damaged studies, copies and a study that is twenty times as bright, already examined."""
    hospital = new_hospital(tmp_path_factory.mktemp("troubled"))
    damage(hospital, "case-3-05")
    damage(hospital, "case-3-06")
    copy_case(hospital, "case-3-00", "another")
    copy_case(hospital, "case-3-01", "CASE_3_01")
    bright = hospital.data / "case-3-04" / "case-3-04_flair.nii.gz"
    image = nib.load(bright)
    header = image.header.copy()
    header["descrip"] = b"Jane Doe"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int16) * 20, image.affine, header), bright)
    # A copy of a patient who trains would test: no classifier is trained on that.
    with pytest.raises(DataError, match="cannot take part"):
        doctor(hospital.site, TINY, None, None, as_json_only=False)
    return hospital


def test_bad_studies_copies_and_lookalikes_are_found(troubled: Any) -> None:
    examination = found(troubled)
    (reason,) = examination.quarantine
    assert reason.reason == "cannot be read, the file is damaged or incomplete"
    assert [study.patient for study in reason.studies] == ["case-3-05", "case-3-06"]
    assert {(one.kind, tuple(study.patient for study in one.studies)) for one in examination.duplicates} == {
        ("same_pixels", ("CASE_3_01", "case-3-01")),
        ("same_pixels", ("another", "case-3-00")),
        ("similar_names", ("CASE_3_01", "case-3-01")),
    }
    (outlier,) = examination.outliers
    assert outlier.patient == "case-3-04"
    assert examination.to_review == {"NIfTI descrip": 1}
    page = (troubled.folder / "doctor" / "index.html").read_text()
    for text in (
        "case-3-05, case-3-06",
        "another and case-3-00",
        "NIfTI descrip",
        "brightness of flair",
        "both train and test",
    ):
        assert text in page
    assert "Jane Doe" not in page + (troubled.folder / "doctor" / "doctor.json").read_text()


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_opens_offline_and_never_scrolls_sideways(
    troubled: Any, measure: Callable[[Path, int], Any], width: int
) -> None:
    page = measure(troubled.folder / "doctor" / "index.html", width)
    assert page.title == "Doctor: hospital1"
    assert page.content <= width, page.wide
    assert page.wide == []
    assert page.fetched == []
    assert page.images == 8
    assert page.broken == 0


def test_a_site_whose_headers_identify_is_refused_or_goes_on_without_them(
    hospital: Any, client: Callable[..., Any]
) -> None:
    shutil.rmtree(hospital.data)
    write_liver(hospital.data, 6, identifying=(1, 2))
    hospital.settings(reader="hcc_tace", organ="liver")
    refused = client("doctor", hospital.site, study=LIVER)
    assert refused.code == 3
    assert "hospital1 cannot take part in the study demo yet." in refused.out
    assert "identifying_data: quarantine" in refused.out
    assert refused.err.splitlines()[-1].startswith("error: hospital1 cannot take part in the study demo yet.")
    examination = found(hospital)
    assert not examination.fit
    assert examination.identifying == {"PatientName": 2, "StudyDate": 2}
    assert examination.training == []
    page = (hospital.folder / "doctor" / "index.html").read_text()
    assert "hospital1 cannot take part" in page
    assert "There are no slices to show" in page
    assert "DOE" not in page.upper().replace("DOES", "")

    hospital.settings(reader="hcc_tace", organ="liver", identifying_data="quarantine")
    accepted = client("doctor", hospital.site, study=LIVER)
    assert accepted.code == 0, accepted.err
    examination = found(hospital)
    assert examination.fit
    assert (examination.patients, examination.usable_patients) == (6, 4)
    assert [study.patient for study in examination.quarantine[0].studies] == ["HCC_001", "HCC_002"]
    assert all(step.problem == "" for step in examination.training)


@pytest.mark.parametrize(
    ("settings", "study", "problem"),
    [
        ({"path": "nowhere"}, TINY, "nowhere does not exist"),
        ({"organ": "lung", "reader": "lidc"}, TINY, "the study is not about the lung"),
        ({"device": "cuda:7"}, TINY, "device: cuda:7 is set in site.yaml"),
        ({}, (*TINY, "models.cgan.perceptual=vgg19", "models.cgan.perceptual_weight=1"), "weights.vgg19"),
    ],
)
def test_what_keeps_a_site_from_taking_part_is_a_problem_on_the_page(
    hospital: Any, client: Callable[..., Any], settings: dict[str, str], study: tuple[str, ...], problem: str
) -> None:
    hospital.settings(**settings)
    said = client("doctor", hospital.site, study=study)
    assert said.code == 3
    assert problem in said.out
    examination = found(hospital)
    assert not examination.fit
    assert any(problem in text for text in examination.problems)
    assert examination.training == []
    assert "cannot take part" in (hospital.folder / "doctor" / "index.html").read_text()


def test_a_training_step_that_fails_is_a_problem(
    hospital: Any, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr("client.doctor.rehearsal.train_gan", broken)
    said = client("doctor", hospital.site)
    assert said.code == 3
    gan, classifier = found(hospital).training
    assert gan.problem == "RuntimeError: no kernel for this"
    assert classifier.problem == ""
    assert "one training step of cgan failed: RuntimeError: no kernel for this" in said.out


def test_a_model_that_trains_beside_other_sites_synthetic_slices_is_tried_with_noise(
    hospital: Any, client: Callable[..., Any]
) -> None:
    domains = "[{organ: brain, contrasts: [flair]}, {organ: brain, contrasts: [t1]}]"
    settings = ("exchange=proxies", f"domains={domains}", "width=4", "blocks=1")
    study = [item for item in TINY if not item.startswith("models.")]
    study += ["model=[wgan_gp,cyclegan]", *(f"models.cyclegan.{one}" for one in settings), "models.wgan_gp.width=4"]
    client("doctor", hospital.site, study=study)
    (step,) = [step for step in found(hospital).training if step.network == "cyclegan"]
    assert step.problem == ""
    assert "proxy_adversarial" in step.losses


def test_images_without_patients_or_masks_say_what_they_cannot_do(hospital: Any, client: Callable[..., Any]) -> None:
    shutil.rmtree(hospital.data)
    random = np.random.default_rng(0)
    for number in range(12):
        folder = hospital.data / ("tumour" if number % 2 else "healthy")
        folder.mkdir(parents=True, exist_ok=True)
        image = np.zeros((48, 40), np.uint8)
        image[4:-4, 4:-4] = random.integers(90, 220, (40, 32))
        Image.fromarray(image).save(folder / f"{number}.png")
    hospital.settings(reader="image_folder", options="{tumour_classes: [tumour]}")
    said = client("doctor", hospital.site)
    assert said.code == 0, said.err
    examination = found(hospital)
    assert not examination.patients_known
    assert "gan/cgan" not in examination.tasks
    assert [step.network for step in examination.training] == ["small_resnet"]
    assert any("name no patients" in warning for warning in examination.warnings)
    assert (
        "it has no tumours with masks beside slices without a tumour"
        in (hospital.folder / "doctor" / "index.html").read_text()
    )


def test_the_study_may_come_as_a_file(hospital: Any, client: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(compose([*TINY, "name=trial"]), leaving=True))
    said = client("doctor", hospital.site, "--study", str(config), study=())
    assert said.code == 0, said.err
    assert found(hospital).study == "trial"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--study", "missing.yaml"), "not both"),
        (("image.size=33",), "image.size=33"),
        (("no_such_key=1",), "no_such_key"),
    ],
)
def test_a_wrong_option_starts_nothing(
    hospital: Any, client: Callable[..., Any], more: tuple[str, ...], text: str
) -> None:
    said = client("doctor", hospital.site, *more)
    assert said.code == 2
    assert text in said.err
    assert hospital.files() == {"site.yaml"}


def test_a_private_study_is_rehearsed_without_a_look_at_the_hospitals_account(
    hospital: Any, client: Callable[..., Any], tmp_path: Path
) -> None:
    """Twice, with a budget that would not suffice: nothing is charged, no trace of a ledger is left, and no patient's
    role is decided for good."""
    head = tmp_path / "elsewhere" / "head.json"
    budget = f"privacy: {{epsilon: 8, patients: 4, head: {head}}}\n"
    hospital.site.write_text(hospital.site.read_text() + budget)
    private = (*TINY, "privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2")
    for _ in range(2):
        said = client("doctor", hospital.site, study=private)
        assert said.code == 0, said.err
        assert "oncofed-client budget" in said.out
        assert [step.problem for step in found(hospital).training] == ["", ""]
    assert not head.exists()
    left = {name for name in hospital.files() if "ledger" in name or "privacy" in name}
    assert left == {"privacy/roster.json", "privacy/roster.lock"}
    assert json.loads((hospital.site.parent / "privacy" / "roster.json").read_text())["roles"] == {}
    # The same site trains for nobody who asks for no privacy, and is told so.
    said = client("doctor", hospital.site)
    assert "it trains with differential privacy only" in said.out
