"""Synthetic slices as DICOM that nobody can take for an examination.

The SOP class is Secondary Capture Image Storage. It is the one whose Conversion Type knows ``SYN``, a synthetic image
(PS3.3 C.8.6.1), and it asks for no geometry: MR or CT Image Storage would demand a pixel spacing, a position and the
settings of a scanner, all of which would have to be invented. The modality is ``OT``, since no scanner took part; what
the slice looks like stands in the series' description. Every object says ``SyntheticData`` YES (PS3.3 C.12.1).

``PatientIdentityRemoved`` is left out: it would claim that somebody made sure that nothing of a patient remained.
"""

import io
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from common.export.manifest import Content
from common.export.provenance import Provenance

LARGEST = 2**16 - 1
"""The stored value of the grey value 1; 0 is stored as 0."""

_STUDY = {Content.GENERATED: "SYNTHETIC, no patient", Content.ALTERED: "SYNTHETIC, made on a patient's image"}
_DERIVATION = {
    Content.GENERATED: "Synthetic image, made as a whole by a generative network; no examination of a patient.",
    Content.ALTERED: "Partly synthetic image: a generative network changed an image of a patient. Not to be read as an "
    "examination.",
}
_BODY_PARTS = {"brain": "BRAIN", "lung": "CHEST", "liver": "LIVER"}
"""Terms of PS3.16 Annex L. A slice of the chest shows both lungs, so that no laterality is asked for."""


@dataclass(frozen=True)
class SetHeader:
    """What all DICOM objects of one set have in common.

    Attributes:
        set_id: of the manifest; with it all UIDs are decided.
        created: the day that a segmentation must state.
        version: of this project.
    """

    set_id: str
    organ: str
    content: Content
    provenance: Provenance
    created: date
    version: str

    @property
    def patient(self) -> str:
        """ID, and with a caret the name, of the patient that there is not."""
        return f"SYNTHETIC-{self.set_id[:16]}"

    @property
    def derivation(self) -> str:
        """How the pixels came about, in words."""
        p = self.provenance
        return f"{_DERIVATION[self.content]} Network: {p.model} ({p.family}), run {p.run}, round {p.round}."

    def uid(self, *parts: str | int) -> UID:
        """The same for the same set and parts; derived from nothing else."""
        return generate_uid(entropy_srcs=["\x1f".join(["oncofed", self.set_id, *map(str, parts)])])


def synthetic_image(
    header: SetHeader, stored: npt.NDArray[np.uint16], contrast: str, *, series: int, number: int
) -> FileDataset:
    """One slice of one contrast.

    Args:
        header: the set's.
        stored: (H, W), 0 to ``LARGEST``.
        contrast: what it looks like.
        series: number of the contrast's series, from 1.
        number: of the slice, from 1.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = header.uid("image", contrast, number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.PatientName, image.PatientID = f"{header.patient}^", header.patient
    image.PatientBirthDate = image.PatientSex = ""
    image.StudyInstanceUID = header.uid("study")
    image.StudyDate = image.StudyTime = image.StudyID = image.AccessionNumber = image.ReferringPhysicianName = ""
    image.SeriesInstanceUID, image.SeriesNumber = header.uid("series", contrast), series
    image.SeriesDescription = f"SYNTHETIC {header.organ} {contrast}"
    image.Modality, image.ConversionType = "OT", "SYN"
    image.InstanceNumber = number
    image.ImageType = ["DERIVED", "SECONDARY", "SYNTHETIC"]
    image.DerivationDescription = f"{header.derivation} Grey value = stored value / {LARGEST}, without a physical unit."
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.WindowCenter, image.WindowWidth = (LARGEST + 1) // 2, LARGEST + 1
    image.set_pixel_data(np.ascontiguousarray(stored), "MONOCHROME2", 16, generate_instance_uid=False)
    mark_synthetic(image, header)
    return image


def mark_synthetic(dataset: Dataset, header: SetHeader) -> None:
    """Says on any object of the set that it is synthetic, and what synthesised it."""
    dataset.SyntheticData = "YES"
    dataset.StudyDescription = _STUDY[header.content]
    dataset.BodyPartExamined = _BODY_PARTS[header.organ]
    dataset.PatientOrientation = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "oncofed", header.provenance.family
    dataset.SoftwareVersions = header.version
    network = Dataset()
    network.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SynthesizingEquipment)]
    network.Manufacturer, network.ManufacturerModelName = "oncofed", header.provenance.model
    network.SoftwareVersions = header.version
    network.ContributionDescription = header.derivation
    dataset.ContributingEquipmentSequence = [network]


def code_item(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def dicom_bytes(dataset: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10)."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
