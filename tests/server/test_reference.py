"""The reference set's three parts never share a patient, also when files change while a coordinator runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import DataError
from common.imaging.patient import StudyLocation
from common.imaging.readers.image_folder import ImageFolderReader
from common.study.config import compose
from common.study.progress import NoProgress
from server.reference import PARTS, reference_part
from server.settings import StudySettings
from tests.support.tiny_images import write_image_site


@pytest.fixture
def settings(tmp_path: Path) -> StudySettings:
    root = tmp_path / "reference"
    for seed, part in enumerate(PARTS):
        write_image_site(root / part, 2, seed=seed)
    experiment = compose(
        [
            "image.size=32",
            "organs.liver.steps={crop: foreground, median: 0, equalise: false}",
            "reference.liver.reader=image_folder",
            "+reference.liver.options.tumour_classes=[tumour]",
            "+reference.liver.options.hu_range=[-100,250]",
        ]
    )
    return StudySettings(
        experiment, "run", tmp_path / "run", 3, {"liver": root}, tmp_path / "cache", NoProgress(), "in_process"
    )


def test_a_patient_in_two_parts_is_refused(settings: StudySettings) -> None:
    root = settings.reference["liver"]
    shutil.rmtree(root / "selection")
    shutil.copytree(root / "final", root / "selection")
    with pytest.raises(DataError, match=r"p2-00 is in both selection and final; keep it in one part only"):
        reference_part(settings, "liver", "pretraining")


def test_a_patient_who_comes_to_a_second_part_later_is_refused_too(settings: StudySettings) -> None:
    root = settings.reference["liver"]
    for part in PARTS:
        assert len(set(reference_part(settings, "liver", part).owner)) == 2
    shutil.rmtree(root / "selection")
    shutil.copytree(root / "final", root / "selection")
    with pytest.raises(DataError, match="is in both"):
        reference_part(settings, "liver", "final")


def test_a_set_whose_parts_are_disjoint_is_indexed_once(
    settings: StudySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    find = ImageFolderReader.find

    def listening(reader: ImageFolderReader, root: Path) -> list[StudyLocation]:
        listed.append(root.name)
        return find(reader, root)

    monkeypatch.setattr(ImageFolderReader, "find", listening)
    reference_part(settings, "liver", "selection")
    reference_part(replace(settings, name="other"), "liver", "final")
    # Nothing else asks for the part that is not prepared here.
    assert listed.count("pretraining") == 1
