"""One patient in the layout of HCC-TACE-Seg: two phases as CT series in one study, and a DICOM segmentation."""

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset

from common.seeding import Label, derive_seed
from simulation.cohort.ct.dicom import SeriesHeader, ct_series, make_uid, save
from simulation.cohort.liver.masses import PHASES
from simulation.cohort.liver.patient import LiverPatient

SEGMENTS = {
    "liver": ("Liver", CodedConcept("10200004", "SCT", "Liver")),
    "mass": ("Mass", CodedConcept("4147007", "SCT", "Mass")),
    "portal": ("Portal vein", CodedConcept("32764006", "SCT", "Portal vein")),
    "aorta": ("Abdominal aorta", CodedConcept("7832008", "SCT", "Abdominal aorta")),
}
"""Names and codes of the segments, in the order of the data set."""

_ANATOMY = CodedConcept("123037004", "SCT", "Anatomical structure")
_ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically abnormal structure")


def write_hcc_tace_case(folder: Path, name: str, patient: LiverPatient) -> None:
    """Writes the study below ``folder``, which exists and is empty.

    Args:
        name: the patient's; with it the UIDs and the folders' names are decided.
    """
    number = derive_seed(Label.HCC_TACE_FOLDER, name) % 100000
    study = folder / f"01-01-2000-NA-CT ABDPEL WC-{number:05d}"
    segmented: list[Dataset] = []
    for index, phase in enumerate(PHASES, start=2):
        header = SeriesHeader(
            patient=name,
            study="liver",
            series=phase,
            number=index,
            description=f"Recon {index} LIVER 3PHASE ({phase})",
            body_part="LIVER",
            kernel=patient.kernel,
            contrast_agent="IV",
            spacing=patient.spacing,
        )
        images = ct_series(patient.phases[phase], patient.inside, header)
        series = study / f"{index}.000000-{header.description.replace('/', ' ')}-{number:05d}"
        series.mkdir(parents=True)
        for image in images:
            save(image, series / f"1-{int(image.InstanceNumber):02d}.dcm")
        if phase == patient.segmented:
            segmented = images
    target = study / f"300.000000-Segmentation-{number:05d}"
    target.mkdir()
    save(segmentation(name, segmented, patient.masks), target / "1-1.dcm")


def segmentation(name: str, images: Sequence[Dataset], masks: dict[str, npt.NDArray[np.bool_]]) -> Dataset:
    """The masks (Z, Y, X) as a DICOM segmentation of ``images``; empty frames are left out.

    Its times and UIDs depend on the patient alone.
    """
    present = [key for key in SEGMENTS if key in masks]
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=index,
            segment_label=SEGMENTS[key][0],
            segmented_property_category=_ABNORMAL if key == "mass" else _ANATOMY,
            segmented_property_type=SEGMENTS[key][1],
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for index, key in enumerate(present, start=1)
    ]
    made = hd.seg.Segmentation(
        source_images=list(images),
        pixel_array=np.stack([masks[key] for key in present], axis=-1).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=make_uid(name, "segmentation"),
        series_number=300,
        sop_instance_uid=make_uid(name, "segmentation", 1),
        instance_number=1,
        manufacturer="SYNTHETIC",
        manufacturer_model_name="oncofed demo cohort",
        software_versions="1",
        device_serial_number="0",
        series_description="Segmentation",
        omit_empty_frames=True,
    )
    made.InstanceCreationDate = made.ContentDate = images[0].ContentDate
    made.InstanceCreationTime = made.ContentTime = images[0].ContentTime
    del made.ContributingEquipmentSequence
    organization = make_uid(name, "segmentation", "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = images[0].DeidentificationMethod
    return made
