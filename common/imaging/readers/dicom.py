"""A hospital's own DICOM: plain CT or MR series, outlined in a DICOM SEG or an RTSTRUCT."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError, DataError
from common.imaging.dicom.references import referred_series
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.dicom_study import find_series, match_outlines, read_study, study_location
from common.imaging.readers.outline_meaning import OutlineNames


@dataclass(frozen=True)
class DicomReader:
    """Image series with the SEGs and RTSTRUCTs that refer to them, found by their UIDs, whatever the folders.

    An outlined series is one study. Of a study without any outline every series is read, with ``labels`` None; in a
    study with outlines the other series are left aside. An outline of the organ without one of the tumour is that of
    a patient without a tumour, unless there is an outline of which nobody has said what it is: that is asked.

    Args:
        organ, contrasts: what all series show; exactly one contrast, ``ct`` for CT and any other for MR.
        tumour_segments: names of segments or structures that are tumours (any case, ``*`` for any text); label 1.
        organ_segments: names of those that are the organ itself.
        other_segments: names of those that are neither.
        empty_segments: names of tumours of which an outline that is drawn on no slice says that there is none.
        series: only series whose description holds this text (any case), e.g. ``flair``; all if empty.

    Raises:
        ConfigError: for an unknown organ or contrast, no name of a tumour, or a name with two meanings.
    """

    organ: str
    contrasts: tuple[str, ...]
    tumour_segments: tuple[str, ...] = ()
    organ_segments: tuple[str, ...] = ()
    other_segments: tuple[str, ...] = ()
    empty_segments: tuple[str, ...] = ()
    series: str = ""

    def __post_init__(self) -> None:
        prefix = "reader dicom:"
        if self.organ not in ORGANS:
            raise ConfigError(f"{prefix} unknown organ {self.organ!r}; known: {', '.join(ORGANS)}")
        if len(self.contrasts) != 1 or self.contrasts[0] not in CONTRASTS:
            raise ConfigError(f"{prefix} contrasts are {list(self.contrasts)}; give one of {', '.join(CONTRASTS)}")
        self._names()

    def find(self, root: Path) -> list[StudyLocation]:
        """One location a series that is read, and one for each outline whose series cannot be told.

        Raises:
            DataError: if there is no such folder, or no series of the modality and description in it.
        """
        found, outlines = find_series(root, "CT" if self.contrasts == ("ct",) else "MR")
        images = [one for one in found if self.series.casefold() in one.description.casefold()]
        if not images:
            held = ", ".join(sorted({one.description or "nothing" for one in found})[:5])
            raise DataError(
                f"{root}: no series is described as {self.series!r}; descriptions are {held}; change the option series"
            )
        drawn = match_outlines(images, outlines)
        outlined = {image.study for image in drawn.on}
        locations = [
            study_location(series, path, [path])
            for series, path in drawn.astray
            if referred_series(path, found) is None
        ]
        for one in images:
            if one in drawn.on:
                locations.append(drawn.location(one))
            elif one.study not in outlined:
                locations.append(study_location(one, one.files[0].parent, one.files))
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One series, turned to LPS.

        Raises:
            BadStudyError: the series forms no volume, an outline does not fit it or refers to another, or it outlines
                neither a tumour nor the organ.
        """
        return read_study(
            location, organ=self.organ, contrast=self.contrasts[0], names=self._names(), mask_required=False
        )

    def _names(self) -> OutlineNames:
        return OutlineNames(
            "dicom", self.tumour_segments, self.organ_segments, self.other_segments, self.empty_segments
        )
