"""Label maps of synthetic slices as DICOM SEG, referring to the synthetic images."""

from dataclasses import dataclass

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from common.export.dicom import SetHeader, mark_synthetic


@dataclass(frozen=True)
class Segment:
    """What one label value means: in words, and as a code of CID 7151 (segmentation property types)."""

    label: str
    code: Code


SEGMENTS: dict[str, dict[int, Segment]] = {
    "brain": {
        1: Segment("necrotic tumour core", codes.SCT.Necrosis),
        2: Segment("oedema", codes.SCT.Edema),
        4: Segment("enhancing tumour", Code("C113842", "NCIt", "Enhancing Lesion")),
    },
    "lung": {1: Segment("nodule", codes.SCT.Nodule)},
    "liver": {1: Segment("tumour", codes.SCT.Neoplasm)},
}
"""Organ -> label value -> meaning. Segment numbers count from 1 in this order, because a SEG leaves none out."""


def segmentation(
    header: SetHeader, image: Dataset, labels: npt.NDArray[np.uint8], *, series: int, number: int
) -> hd.seg.Segmentation:
    """One label map, a frame for each label that occurs.

    It refers to ``image`` pixel by pixel. Like the image it has no frame of reference and no spacing, since none is
    known.

    Args:
        header: the set's.
        image: the slice's first contrast, which the map lies on.
        labels: (H, W) with 0 and the organ's label values, at least one of them.
        series: number of the segmentations' series.
        number: of the slice.
    """
    meanings = SEGMENTS[header.organ]
    numbers = np.zeros(labels.shape, np.uint8)
    for segment, value in enumerate(meanings, start=1):
        numbers[labels == value] = segment
    algorithm = hd.AlgorithmIdentificationSequence(
        name="label map that the image was made for",
        family=codes.DCM.ArtificialIntelligence,
        version=header.version,
        source="oncofed",
    )
    made = hd.seg.Segmentation(
        source_images=[image],
        pixel_array=numbers,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=segment,
                segment_label=f"{meaning.label} (label {value})",
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=meaning.code,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
            )
            for segment, (value, meaning) in enumerate(meanings.items(), start=1)
        ],
        series_instance_uid=header.uid("series", "segmentation"),
        series_number=series,
        sop_instance_uid=header.uid("segmentation", number),
        instance_number=number,
        manufacturer="oncofed",
        manufacturer_model_name=header.provenance.family,
        software_versions=header.version,
        device_serial_number="0",
        series_description=f"SYNTHETIC {header.organ} label maps",
        content_label="SYNTHETIC",
        content_date=header.created,
        content_time="000000",
    )
    # highdicom takes these from the clock and from chance; the same set shall give the same file.
    del made.InstanceCreationDate, made.InstanceCreationTime
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = header.uid("dimensions")
    mark_synthetic(made, header)
    return made
