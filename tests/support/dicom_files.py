"""DICOM files made on the spot: CT series, segmentations, structure sets, enhanced multi-frame images.

Each builder returns data sets, which a test may spoil before :func:`write` puts them on disk:

    slices = ct_series(body(), patient="HCC_001")
    slices[3].ImagePositionPatient[2] += 0.5
    write(slices, folder)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)

Array = npt.NDArray[Any]


def body(shape: tuple[int, int, int] = (8, 32, 40), seed: int = 0) -> npt.NDArray[np.int16]:
    """(Z, Y, X) an ellipse of soft tissue with texture in air, in HU; no two slices are alike."""
    y, x = (np.linspace(-1, 1, n) for n in shape[1:])
    inside = (y[:, None] / 0.8) ** 2 + (x[None, :] / 0.9) ** 2 < 1
    texture = np.random.default_rng(seed).normal(50, 40, shape)
    return np.asarray(np.where(inside, texture, -1000), dtype=np.int16)


def ct_series(
    hu: Array,
    *,
    spacing: tuple[float, float, float] = (2.5, 0.8, 0.8),
    origin: tuple[float, float, float] = (-20.0, -15.0, 100.0),
    orientation: tuple[float, ...] = AXIAL,
    patient: str = "patient-1",
    study: str | None = None,
    series: str | None = None,
    frame_of_reference: str | None = None,
    description: str = "abdomen",
    modality: str = "CT",
    intercept: int = -1024,
) -> list[FileDataset]:
    """One data set a slice of ``hu`` (Z, Y, X), stored as 12 of 16 bits, unsigned, as scanners do.

    Slice z lies at ``origin`` plus z times ``spacing[0]`` along the normal. Instance numbers ascend with z. An MR
    series has no rescaling.
    """
    is_ct = modality == "CT"
    row, column = np.reshape(orientation, (2, 3))
    normal = np.cross(row, column)
    uids = {
        name: value or generate_uid() for name, value in (("st", study), ("se", series), ("fr", frame_of_reference))
    }
    made = []
    for z, slice_hu in enumerate(hu):
        dataset = _new(CTImageStorage if is_ct else MRImageStorage)
        _common(dataset, patient, uids["st"], uids["se"], modality)
        dataset.SeriesDescription = description
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.AcquisitionNumber = 1
        dataset.InstanceNumber = z + 1
        dataset.FrameOfReferenceUID = uids["fr"]
        dataset.ImageOrientationPatient = list(orientation)
        dataset.ImagePositionPatient = [round(float(v), 6) for v in np.add(origin, z * spacing[0] * normal)]
        dataset.SliceThickness = spacing[0]
        dataset.PixelSpacing = list(spacing[1:])
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = slice_hu.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        if is_ct:
            dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = intercept, 1, "HU"
        set_stored(dataset, slice_hu - intercept if is_ct else slice_hu)
        made.append(dataset)
    return made


def set_stored(dataset: Dataset, stored: Array) -> None:
    """Replaces the stored pixels (Y, X) of a plain slice."""
    dtype = np.int16 if dataset.PixelRepresentation else np.uint16
    dataset.PixelData = np.ascontiguousarray(stored.astype(dtype)).tobytes()


def write(datasets: Sequence[Dataset], folder: Path, name: str = "{:03d}.dcm") -> list[Path]:
    """Writes data sets in their order; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(number) for number in range(len(datasets))]
    for dataset, path in zip(datasets, paths, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def enhanced(slices: Sequence[Dataset]) -> Dataset:
    """The slices as one multi-frame file, converted by highdicom."""
    first = slices[0]
    for dataset in slices:
        dataset.ensure_file_meta()
    convert = {
        "CT": hd.legacy.LegacyConvertedEnhancedCTImage,
        "MR": hd.legacy.LegacyConvertedEnhancedMRImage,
    }[first.Modality]
    return convert(list(slices), generate_uid(), 1, generate_uid(), 1)


def segmentation(
    slices: Sequence[Dataset],
    masks: Mapping[str, Array],
    *,
    kind: str = "BINARY",
    omit_empty_frames: bool = True,
    series: str | None = None,
) -> Dataset:
    """A DICOM SEG, written by highdicom, of masks by label.

    Args:
        masks: label -> (Z, Y, X) mask on the grid of ``slices``, in their order; FRACTIONAL takes values in [0, 1].
        kind: ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    """
    descriptions = [
        hd.seg.SegmentDescription(
            number, label, codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, label in enumerate(masks, start=1)
    ]
    dtype = np.float32 if kind == "FRACTIONAL" else np.uint8
    return hd.seg.Segmentation(
        source_images=list(slices),
        pixel_array=np.stack(list(masks.values()), axis=-1).astype(dtype),
        segmentation_type=hd.seg.SegmentationTypeValues(kind),
        segment_descriptions=descriptions,
        series_instance_uid=UID(series or generate_uid()),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="synthetic",
        manufacturer_model_name="synthetic",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=omit_empty_frames,
    )


def structure_set(
    slices: Sequence[Dataset], contours: Mapping[str, Sequence[tuple[int, Array]]], *, series: str | None = None
) -> FileDataset:
    """An RTSTRUCT with closed planar contours.

    Args:
        contours: name of the structure -> (slice, (N, 2) pixels (x, y), pixel centres at whole numbers) for each.
    """
    first = slices[0]
    dataset = _new(RTStructureSetStorage)
    _common(dataset, first.PatientID, first.StudyInstanceUID, series or generate_uid(), "RTSTRUCT")
    dataset.StructureSetLabel = "outlines"
    images = [_reference(one) for one in slices]
    of_series = _item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=images)
    of_study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[of_series],
    )
    dataset.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[of_study])
    ]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, drawn) in enumerate(contours.items(), start=1):
        dataset.StructureSetROISequence.append(
            _item(
                ROINumber=number,
                ROIName=name,
                ReferencedFrameOfReferenceUID=first.FrameOfReferenceUID,
                ROIGenerationAlgorithm="MANUAL",
            )
        )
        dataset.ROIContourSequence.append(
            _item(ReferencedROINumber=number, ContourSequence=[_contour(slices[z], points) for z, points in drawn])
        )
        dataset.RTROIObservationsSequence.append(
            _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
        )
    return dataset


def _contour(image: Dataset, points: Array) -> Dataset:
    row, column = np.reshape(np.array(image.ImageOrientationPatient, float), (2, 3))
    y_step, x_step = (float(step) for step in image.PixelSpacing)
    places = np.array(image.ImagePositionPatient, float) + np.outer(points[:, 0] * x_step, row)
    places = places + np.outer(points[:, 1] * y_step, column)
    return _item(
        ContourImageSequence=[_reference(image)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[round(float(value), 4) for value in places.ravel()],
    )


def _reference(image: Dataset) -> Dataset:
    return _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _new(sop_class: UID) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    return dataset


def _common(dataset: Dataset, patient: str, study: str, series: str, modality: str) -> None:
    dataset.PatientID, dataset.PatientName = patient, f"{patient}^"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.StudyDate = dataset.StudyTime = dataset.ReferringPhysicianName = dataset.Manufacturer = ""
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "synthetic"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.Modality = modality
    dataset.SeriesNumber = 1
