"""A CT series as DICOM files: nothing in them names a person, and the same patient gives the same bytes."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

PADDING = -2000
"""Stored value outside a round field of view."""

INTERCEPT = -1024


@dataclass(frozen=True)
class SeriesHeader:
    """What the header of a series says.

    Attributes:
        patient: the patient's name and ID.
        study: names the study; with ``patient`` it decides the UIDs.
        series: names the series within its study.
        number: of the series.
        description: of the series.
        body_part: as DICOM writes it.
        kernel: reconstruction kernel.
        contrast_agent: empty for none.
        spacing: mm along (z, y, x).
    """

    patient: str
    study: str
    series: str
    number: int
    description: str
    body_part: str
    kernel: str
    contrast_agent: str
    spacing: tuple[float, float, float]


def make_uid(*names: str | int) -> str:
    """A UID below 2.25 (ITU-T X.667) that depends on ``names`` alone.

    >>> make_uid("a", 1) == make_uid("a", 1) != make_uid("a", 2)
    True
    """
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, ('oncofed', *names)))).int}"


def ct_series(
    hu: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_] | None, header: SeriesHeader
) -> list[Dataset]:
    """The series' slices from the lowest to the highest.

    Args:
        hu: (Z, Y, X) Hounsfield units, z to superior, y to posterior, x to the patient's left.
        inside: (Y, X) where the scanner reconstructs; None for everywhere.
        header: what the header says.
    """
    stored = np.rint(hu).astype(np.int16) - np.int16(INTERCEPT)
    if inside is not None:
        stored[:, ~inside] = PADDING
    return [_slice(plane, index, len(stored), header, inside is not None) for index, plane in enumerate(stored)]


def save(dataset: Dataset, path: Path) -> None:
    """Writes one file with the preamble of a DICOM file."""
    dataset.save_as(path, enforce_file_format=True)


def _slice(plane: npt.NDArray[np.int16], index: int, count: int, header: SeriesHeader, padded: bool) -> Dataset:
    study = make_uid(header.patient, header.study)
    uid = UID(make_uid(header.patient, header.study, header.series, index))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    image = Dataset()
    image.file_meta = meta
    image.SpecificCharacterSet = "ISO_IR 100"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = uid
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20000101"
    image.StudyTime = image.ContentTime = "000000"
    image.AccessionNumber = ""
    image.Modality = "CT"
    image.Manufacturer = "SYNTHETIC"
    image.ReferringPhysicianName = ""
    image.SeriesDescription = header.description
    image.ManufacturerModelName = "oncofed demo cohort"
    # The caret says that there is one name component on purpose.
    image.PatientName = f"{header.patient}^"
    image.PatientID = header.patient
    image.PatientBirthDate = ""
    image.PatientSex = ""
    image.PatientIdentityRemoved = "YES"
    image.DeidentificationMethod = "deformed anatomy and drawn lesions: no such patient exists"
    image.BodyPartExamined = header.body_part
    if header.contrast_agent:
        image.ContrastBolusAgent = header.contrast_agent
    image.SliceThickness = header.spacing[0]
    image.KVP = 120
    image.GantryDetectorTilt = 0
    image.ConvolutionKernel = header.kernel
    image.PatientPosition = "HFS"
    image.StudyInstanceUID = study
    image.SeriesInstanceUID = make_uid(header.patient, header.study, header.series)
    image.StudyID = "1"
    image.SeriesNumber = header.number
    # Counted from the head, as most scanners do; readers must not sort by it.
    image.InstanceNumber = count - index
    rows, columns = plane.shape
    x, y = (-(n - 1) / 2 * step for n, step in ((columns, header.spacing[2]), (rows, header.spacing[1])))
    height = round(-250.0 + index * header.spacing[0], 4)
    image.ImagePositionPatient = [round(x, 6), round(y, 6), height]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.FrameOfReferenceUID = make_uid(header.patient, header.study, "frame of reference")
    image.PositionReferenceIndicator = ""
    image.SliceLocation = height
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = rows, columns
    image.PixelSpacing = [header.spacing[1], header.spacing[2]]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    if padded:
        image.PixelPaddingValue = PADDING
    image.WindowCenter, image.WindowWidth = 40, 400
    image.RescaleIntercept, image.RescaleSlope = INTERCEPT, 1
    image.RescaleType = "HU"
    image.PixelData = plane.astype("<i2").tobytes()
    return image
