"""The masks of a SEG or an RTSTRUCT by name, with one kind of error."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError
from common.imaging.deidentification import identifying_fields
from common.imaging.dicom.files import quiet, read_file
from common.imaging.dicom.segmentation import segment_labels, segment_masks
from common.imaging.dicom.structure_set import structure_masks, structure_names
from common.imaging.dicom.volume import DicomVolume

MASK_MODALITIES = ("SEG", "RTSTRUCT")


@dataclass(frozen=True)
class Masks:
    """What one file outlines.

    Attributes:
        names: everything that it outlines, in small letters, sorted.
        by_name: name -> (Z, Y, X) mask on the volume's grid, for those that were asked for and are there.
        identifying: header fields that may identify the person, by keyword.
    """

    names: tuple[str, ...]
    by_name: dict[str, npt.NDArray[np.bool_]]
    identifying: tuple[str, ...]


def load_masks(path: Path, volume: DicomVolume, names: Collection[str]) -> Masks:
    """The masks called ``names``, whatever the case of the letters, of a SEG or RTSTRUCT.

    Raises:
        BadStudyError: the file cannot be read, is neither, or does not fit the volume.
    """
    wanted = {name.strip().casefold() for name in names}
    with quiet():
        try:
            dataset = read_file(path)
            modality = dataset.get("Modality")
            if modality not in MASK_MODALITIES:
                raise BadStudyError(f"{path.name}: modality is {modality}, expected {' or '.join(MASK_MODALITIES)}")
            found = identifying_fields(dataset)
            is_seg = modality == "SEG"
            titles = segment_labels(dataset) if is_seg else structure_names(dataset)
            outline = segment_masks if is_seg else structure_masks
            masks = outline(path.name, dataset, volume, wanted)
            return Masks(tuple(sorted(set(titles.values()))), masks, found)
        except (BadStudyError, ImportError):  # A package that is missing is no damaged file.
            raise
        except Exception as error:  # pydicom and highdicom raise nearly anything over a damaged file.
            raise BadStudyError(f"{path.name}: cannot be understood, the file is damaged or incomplete") from error
