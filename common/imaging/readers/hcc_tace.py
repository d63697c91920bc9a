"""HCC-TACE-Seg on disk: CT phases of the liver, and a DICOM SEG of one of them for each study."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.imaging.dicom.index import Series
from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.dicom_study import find_series, match_outlines, read_study, study_location
from common.imaging.readers.outline_meaning import OutlineNames

_VESSELS = ("portal vein", "abdominal aorta")


@dataclass(frozen=True)
class HccTaceReader:
    """Studies of the collection HCC-TACE-Seg of The Cancer Imaging Archive, found by their UIDs.

    Each CT series (a contrast phase) to which a DICOM SEG refers is one study, and only those series are read. Segments
    are matched by label: ``mass`` becomes label 1, ``liver`` and ``mass`` together become ``organ_mask``; portal vein
    and abdominal aorta are left aside. A segmentation of the liver without a mass is that of a patient without a
    tumour, unless it has a segment of which nobody has said what it is: that is asked. A patient with several outlined
    series has several studies.

    Args:
        organ: ``liver``; there is no other.
        contrasts: ``ct``; there is no other.
        tumour_segments, organ_segments, other_segments, empty_segments: as ``DicomReader`` takes them, beside the four
            labels of the collection, which keep their meaning unless one of the lists names them.

    Raises:
        ConfigError: for another organ or contrast, or a name with two meanings.
    """

    organ: str = "liver"
    contrasts: tuple[str, ...] = ("ct",)
    tumour_segments: tuple[str, ...] = ("mass",)
    organ_segments: tuple[str, ...] = ("liver",)
    other_segments: tuple[str, ...] = _VESSELS
    empty_segments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.organ != "liver":
            raise ConfigError(f"reader hcc_tace: organ is {self.organ!r}, but it shows the liver; write organ: liver")
        if self.contrasts != ("ct",):
            raise ConfigError(f"reader hcc_tace: contrasts are {list(self.contrasts)}, but it has ct alone")
        self._names()

    def find(self, root: Path) -> list[StudyLocation]:
        """One location a series with a SEG, one for each SEG whose series cannot be told, and one for each CT study
        to which none refers (their read says so).

        Raises:
            DataError: if there is no such folder, or no CT series in it.
        """
        images, outlines = find_series(root, "CT")
        drawn = match_outlines(images, [one for one in outlines if one.modality == "SEG"])
        locations = [study_location(series, path, [path]) for series, path in drawn.astray]
        locations += [drawn.location(image) for image in drawn.on]
        bare: dict[str, list[Series]] = defaultdict(list)
        for one in images:
            if one.study not in drawn.by_study:
                bare[one.study].append(one)
        for several in bare.values():
            files = [path for one in several for path in one.files]
            locations.append(study_location(several[0], several[0].files[0].parent, files))
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One study, turned to LPS.

        Raises:
            BadStudyError: no segmentation refers to the study, or it refers to a series that is not there; the series
                forms no volume; the segmentation does not fit it, or outlines neither mass nor liver.
        """
        return read_study(location, organ=self.organ, contrast="ct", names=self._names(), mask_required=True)

    def _names(self) -> OutlineNames:
        lists = [self.tumour_segments, self.organ_segments, self.other_segments, self.empty_segments]
        names = OutlineNames("hcc_tace", *lists)
        named = {*names.tumour_segments, *names.organ_segments, *names.other_segments}
        return OutlineNames(
            "hcc_tace",
            *(
                (*given, *(name for name in usual if name not in named))
                for given, usual in zip(lists, (("mass",), ("liver",), _VESSELS, ()), strict=True)
            ),
        )
