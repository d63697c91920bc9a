"""LIDC-IDRI on disk: chest CT series in DICOM, and for each an XML file with what up to four readers outlined."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.dicom.index import Series, index_folder
from common.imaging.dicom.volume import DicomVolume, load_volume
from common.imaging.patient import Lesion, Patient, StudyLocation
from common.imaging.readers.lidc_consensus import AgreedNodule, agreed_nodules
from common.imaging.readers.lidc_xml import Annotation, annotated_series, marks, read_annotation
from common.imaging.remarks import Remark

NODULE = 1
"""The label of every nodule."""

_MOST_READERS = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LidcReader:
    """CT series with their annotations, matched by SeriesInstanceUID and SOPInstanceUID, never by names of folders.

    A nodule that at least ``min_readers`` readers outlined is tumour, whatever its malignancy; its voxels are those
    that ``agreement`` of *these* readers enclose. A disputed nodule, outlined by fewer, and one under 3 mm, which
    readers mark by a point, have no label: their slices count as tumour-free. Both are in ``Patient.lesions``, with
    the number of their readers, the latter with a volume of 0, so that they can be counted. ``min_readers=1`` makes
    every outlined nodule a tumour.

    A scan in which nobody outlined anything is that of a patient without a tumour. One that fewer than
    ``min_readers`` readers have read cannot be used: nothing in it could be agreed on. Several scans of one patient
    have one name. Radiographs and their annotations are passed over, and so is an annotation whose series is absent.

    Args:
        organ: ``lung``; there is no other LIDC organ.
        contrasts: ``("ct",)``.
        min_readers: 1 to 4.
        agreement: above 0 and at most 1.

    Raises:
        ConfigError: for an organ, contrast or option that LIDC does not have.
    """

    organ: str = "lung"
    contrasts: tuple[str, ...] = ("ct",)
    min_readers: int = 3
    agreement: float = 0.5

    def __post_init__(self) -> None:
        if self.organ != "lung":
            raise ConfigError(f"reader lidc: organ is {self.organ!r}, but LIDC-IDRI shows the lung; write organ: lung")
        if self.contrasts != ("ct",):
            raise ConfigError(f"reader lidc: contrasts are {list(self.contrasts)}; LIDC-IDRI has ct alone")
        if type(self.min_readers) is not int or not 1 <= self.min_readers <= _MOST_READERS:
            raise ConfigError(f"reader lidc: min_readers is {self.min_readers!r}; write a whole number from 1 to 4")
        if type(self.agreement) not in (int, float) or not 0 < self.agreement <= 1:
            raise ConfigError(f"reader lidc: agreement is {self.agreement!r}; write a share above 0 and at most 1")

    def find(self, root: Path) -> list[StudyLocation]:
        """Every CT series below ``root``, with the annotations that name it.

        Reads the headers of DICOM files and the start of XML files.

        Raises:
            DataError: if there is no such folder, no CT series in it, or no annotation of any of them.
        """
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {state}; set the site's path to the folder that holds the LIDC-IDRI scans")
        scans = [series for series in index_folder(root) if series.modality == "CT"]
        if not scans:
            raise DataError(
                f"no CT series in {root}: looked for DICOM files of modality CT in it and all folders below; "
                "set the site's path to the folder that holds the LIDC-IDRI scans"
            )
        annotations = _annotations(root)
        known = {scan.uid for scan in scans}
        if not known & annotations.keys():
            raise DataError(
                f"none of {len(scans)} CT series in {root} has an annotation: looked for XML files (LidcReadMessage) "
                "that name one of them; put the XML files of LIDC-IDRI into that folder, anywhere below it"
            )
        absent = len(annotations.keys() - known)
        if absent:
            _log.info("%s: %d annotations passed over, their series are not there", root, absent)
        locations = [_location(scan, annotations.get(scan.uid, [])) for scan in scans]
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One scan, with the nodules its readers agree on as label 1.

        Raises:
            BadStudyError: the series has no annotation or several that differ, the annotation is damaged, was made by
                too few readers or does not fit the series, or the series is no volume (see ``load_volume``).
        """
        scans = [path for path in location.files if not _is_xml(path)]
        annotations = [path for path in location.files if _is_xml(path)]
        if not annotations:
            load_volume(scans)  # Where no annotation can name the series, this says why.
        annotation = _only(annotations)
        readers = len(annotation.sessions)
        if readers < self.min_readers:
            raise BadStudyError(f"was read by {readers} readers, fewer than the {self.min_readers} who must agree")
        outlined = {
            contour.sop_uid
            for session in annotation.sessions
            for nodule in session.nodules
            for contour in nodule.contours
        }
        volume = load_volume(scans, referred=outlined)
        nodules = self._nodules(annotation, volume)
        labels = np.zeros(volume.voxels.shape, np.uint8)
        for nodule in nodules:
            if nodule.readers >= self.min_readers:
                nodule.paint(labels, NODULE)
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=np.ascontiguousarray(volume.to_lps(volume.voxels))[None],
            labels=np.ascontiguousarray(volume.to_lps(labels)),
            spacing=volume.lps_spacing,
            source=location.path,
            lesions=_lesions(nodules, volume),
            identifying=volume.identifying,
            remarks=(*volume.remarks, *self._remarks(nodules)),
        )

    def _remarks(self, nodules: Sequence[AgreedNodule]) -> list[Remark]:
        """What readers marked that is no tumour here."""
        told = []
        for nodule in nodules:
            if not nodule.is_outlined:
                told.append("a nodule under 3 mm, marked by a point")
            elif nodule.readers < self.min_readers:
                told.append(f"a nodule that fewer than {self.min_readers} readers outlined")
            elif not nodule.voxels:
                told.append("a nodule in whose outlines readers agree on no pixel")
        return [Remark("outline", what) for what in dict.fromkeys(told)]

    def _nodules(self, annotation: Annotation, volume: DicomVolume) -> list[AgreedNodule]:
        if annotation.series_uid != volume.series_uid:
            raise BadStudyError("the annotation names another series")
        z, y, x = volume.voxels.shape
        if len(set(volume.sop_uids)) < z:
            raise BadStudyError("several slices have one SOPInstanceUID, so that outlines have no place")
        slices = {uid: index for index, uid in enumerate(volume.sop_uids)}
        return agreed_nodules(annotation, slices, (z, y, x), volume.spacing, self.agreement)


def _annotations(root: Path) -> dict[str, list[Path]]:
    """SeriesInstanceUID -> the XML files below ``root`` that annotate that CT series."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in _xml_files(root):
        try:
            uid = annotated_series(path)
        except BadStudyError as error:
            _log.info("%s: passed over, %s", path, error.reason)
            continue
        if uid:
            found[uid].append(path)
    return found


def _xml_files(root: Path) -> Iterator[Path]:
    """Visible files named ``*.xml``; links to folders are followed, each folder is entered once."""
    entered = set()
    for folder, children, names in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in entered:
            children.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        children[:] = sorted(child for child in children if not child.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if _is_xml(path) and path.is_file():
                yield path


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml"


def _location(scan: Series, annotations: Sequence[Path]) -> StudyLocation:
    files = (*scan.files, *annotations)
    path = Path(os.path.commonpath([file.parent for file in scan.files]))
    return StudyLocation(scan.patient or scan.uid or scan.study, path, files, patient_known=bool(scan.patient))


def _only(paths: Sequence[Path]) -> Annotation:
    """The one annotation of a series; copies that hold the same marks count once.

    The archive has some that differ in the number of their message alone.

    Raises:
        BadStudyError: if there is none, there are several that differ, or one cannot be read.
    """
    if not paths:
        raise BadStudyError("no annotation names this CT series (an XML file, LidcReadMessage)")
    first, *others = paths
    annotation = read_annotation(first)
    for other in others:
        if marks(read_annotation(other)) != marks(annotation):
            raise BadStudyError(
                f"{first.name} and {other.name} both annotate this series and hold different marks; keep one in the "
                "site's folder"
            )
    return annotation


def _lesions(nodules: Sequence[AgreedNodule], volume: DicomVolume) -> tuple[Lesion, ...]:
    """Every nodule, with its centre on the turned grid."""
    origin, turn = _turned_axes(volume)
    voxel = float(np.prod(volume.spacing))
    lesions = []
    for nodule in nodules:
        z, y, x = (turn.T @ (np.array(nodule.centre) - origin)).tolist()
        lesions.append(Lesion((z, y, x), nodule.voxels * voxel, nodule.readers, nodule.malignancy))
    return tuple(lesions)


def _turned_axes(volume: DicomVolume) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How :meth:`DicomVolume.to_lps` moves indices: stored (z, y, x) = origin + turn @ turned (z, y, x).

    Returns:
        origin (3,), and turn (3, 3), which has one 1 or -1 in each row.
    """
    shape = volume.voxels.shape
    turned = [
        volume.to_lps(np.broadcast_to(index, shape)) for index in np.ogrid[tuple(slice(size) for size in shape)]
    ]  # views: no index volume is ever written out
    origin = np.array([index[0, 0, 0] for index in turned])
    steps = [[index[1, 0, 0], index[0, 1, 0], index[0, 0, 1]] for index in turned]
    return origin, np.array(steps) - origin[:, None]
