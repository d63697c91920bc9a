"""A hospital's own DICOM: plain CT or MR series, outlined in a DICOM SEG or an RTSTRUCT."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError, DataError
from common.imaging.dicom.references import referred_series
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.dicom_study import distinct_files, find_series, read_study, study_location


@dataclass(frozen=True)
class DicomReader:
    """Image series with the SEGs and RTSTRUCTs that refer to them, found by their UIDs, whatever the folders.

    An outlined series is one study. Of a study without any outline every series is read, with ``labels`` None; in a
    study with outlines the other series are left aside. An outline of the organ without one of the tumour is that of
    a patient without a tumour.

    Args:
        organ, contrasts: what all series show; exactly one contrast, ``ct`` for CT and any other for MR.
        tumour_segments: names of segments or structures that are tumours (whole name, any case); label 1.
        organ_segments: names of those that are the organ itself.
        series: only series whose description holds this text (any case), e.g. ``flair``; all if empty.

    Raises:
        ConfigError: for an unknown organ or contrast, or no name of a tumour.
    """

    organ: str
    contrasts: tuple[str, ...]
    tumour_segments: tuple[str, ...] = ()
    organ_segments: tuple[str, ...] = ()
    series: str = ""

    def __post_init__(self) -> None:
        prefix = "reader dicom:"
        if self.organ not in ORGANS:
            raise ConfigError(f"{prefix} unknown organ {self.organ!r}; known: {', '.join(ORGANS)}")
        if len(self.contrasts) != 1 or self.contrasts[0] not in CONTRASTS:
            raise ConfigError(f"{prefix} contrasts are {list(self.contrasts)}; give one of {', '.join(CONTRASTS)}")
        if isinstance(self.tumour_segments, str) or not self.tumour_segments:
            raise ConfigError(f"{prefix} list the names of tumours in your outlines, e.g. tumour_segments: [GTV]")
        if isinstance(self.organ_segments, str):
            raise ConfigError(f"{prefix} organ_segments is a list, e.g. organ_segments: [liver]")

    def find(self, root: Path) -> list[StudyLocation]:
        """One location a series that is read, and one for each outline whose series cannot be told.

        Raises:
            DataError: if there is no such folder, or no series of the modality and description in it.
        """
        found, outlines = find_series(root, "CT" if self.contrasts == ("ct",) else "MR")
        images = [one for one in found if self.series.casefold() in one.description.casefold()]
        if not images:
            held = ", ".join(sorted({one.description for one in found})[:5])
            raise DataError(f"{root}: no series is described as {self.series!r}; descriptions are {held}")
        files: dict[str, list[Path]] = defaultdict(list)
        locations = []
        outlined = set()
        for series, path in distinct_files(outlines):
            image = referred_series(path, images)
            if image is not None:
                files[image.uid].append(path)
                outlined.add(image.study_uid)
            elif referred_series(path, found) is None:
                locations.append(study_location(series, path, [path]))
        for one in images:
            if files[one.uid] or one.study_uid not in outlined:
                locations.append(study_location(one, one.files[0].parent, [*one.files, *files[one.uid]]))
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One series, turned to LPS.

        Raises:
            BadStudyError: the series forms no volume, an outline does not fit it or refers to another, or it outlines
                neither a tumour nor the organ.
        """
        return read_study(
            location,
            organ=self.organ,
            contrast=self.contrasts[0],
            tumour=self.tumour_segments,
            inside=self.organ_segments,
            mask_required=False,
        )
