"""HCC-TACE-Seg on disk: CT phases of the liver, and a DICOM SEG of one of them for each study."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.imaging.dicom.references import referred_series
from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.dicom_study import distinct_files, find_series, read_study, study_location


@dataclass(frozen=True)
class HccTaceReader:
    """Studies of the collection HCC-TACE-Seg of The Cancer Imaging Archive, found by their UIDs.

    Each DICOM SEG is one study: it refers to the CT series (a contrast phase) that it was drawn on, and only that
    series is read. Segments are matched by label: ``mass`` becomes label 1, ``liver`` and ``mass`` together become
    ``organ_mask``; portal vein and abdominal aorta are left aside. A segmentation of the liver without a mass is that
    of a patient without a tumour. A patient with several segmentations has several studies.

    Args:
        organ: ``liver``; there is no other.
        contrasts: ``ct``; there is no other.

    Raises:
        ConfigError: for another organ or contrast.
    """

    organ: str = "liver"
    contrasts: tuple[str, ...] = ("ct",)

    def __post_init__(self) -> None:
        if self.organ != "liver":
            raise ConfigError(f"reader hcc_tace: organ is {self.organ!r}, but it shows the liver; write organ: liver")
        if self.contrasts != ("ct",):
            raise ConfigError(f"reader hcc_tace: contrasts are {list(self.contrasts)}, but it has ct alone")

    def find(self, root: Path) -> list[StudyLocation]:
        """One location a SEG, and one for each CT study to which none refers (its read says so).

        Raises:
            DataError: if there is no such folder, or no CT series in it.
        """
        images, outlines = find_series(root, "CT")
        locations = []
        outlined = set()
        for series, path in distinct_files(one for one in outlines if one.modality == "SEG"):
            phase = referred_series(path, images)
            outlined.update({series.study_uid, *([phase.study_uid] if phase else [])})
            locations.append(study_location(phase or series, path, [*(phase.files if phase else ()), path]))
        studies = {one.study_uid: one for one in reversed(images) if one.study_uid not in outlined}
        for uid, first in studies.items():
            files = [path for one in images if one.study_uid == uid for path in one.files]
            locations.append(study_location(first, first.files[0].parent, files))
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One study, turned to LPS.

        Raises:
            BadStudyError: no segmentation refers to the study, or it refers to a series that is not there; the series
                forms no volume; the segmentation does not fit it, or outlines neither mass nor liver.
        """
        return read_study(
            location, organ=self.organ, contrast="ct", tumour=("mass",), inside=("liver",), mask_required=True
        )
