"""The masks of a SEG or an RTSTRUCT by name, with one kind of error."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydicom import Dataset

from common.errors import BadStudyError
from common.imaging.deidentification import identifying_fields
from common.imaging.dicom.files import quiet, read_file
from common.imaging.dicom.outlines import Mask, Outlines
from common.imaging.dicom.segmentation import segment_labels, segment_masks
from common.imaging.dicom.structure_set import structure_masks, structure_names
from common.imaging.dicom.volume import DicomVolume

MASK_MODALITIES = ("SEG", "RTSTRUCT")

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Masks:
    """What one file outlines.

    Attributes:
        names: everything that it outlines, as ``plain_name`` writes it, sorted.
        outlines: those that were asked for.
        identifying: header fields that may identify the person, by keyword.
    """

    names: tuple[str, ...]
    outlines: Outlines
    identifying: tuple[str, ...]

    @property
    def by_name(self) -> dict[str, Mask]:
        """Name -> (Z, Y, X) mask on the volume's grid."""
        return self.outlines.masks


def load_masks(path: Path, volume: DicomVolume, wanted: Callable[[str], bool]) -> Masks:
    """What a SEG or RTSTRUCT outlines, with the masks of what is ``wanted``, which is asked for each name.

    Raises:
        BadStudyError: the file cannot be read, is neither, or does not fit the volume.
    """

    def load(dataset: Dataset, is_seg: bool) -> Masks:
        found = identifying_fields(dataset)
        names = _names(path, dataset, is_seg)
        return Masks(names, (segment_masks if is_seg else structure_masks)(path.name, dataset, volume, wanted), found)

    return _understood(path, load)


def outline_names(path: Path) -> tuple[str, ...]:
    """Everything that a SEG or RTSTRUCT outlines, as ``plain_name`` writes it, sorted.

    Raises:
        BadStudyError: the file cannot be read, or is neither.
    """
    return _understood(path, lambda dataset, is_seg: _names(path, dataset, is_seg))


def _names(path: Path, dataset: Dataset, is_seg: bool) -> tuple[str, ...]:
    return tuple(sorted(set((segment_labels if is_seg else structure_names)(path.name, dataset).values())))


def _understood(path: Path, load: Callable[[Dataset, bool], Loaded]) -> Loaded:
    """What ``load`` makes of a file of outlines and of whether it is a SEG."""
    with quiet():
        try:
            dataset = read_file(path)
            modality = dataset.get("Modality")
            if modality not in MASK_MODALITIES:
                raise BadStudyError(f"{path.name}: modality is {modality}, expected {' or '.join(MASK_MODALITIES)}")
            return load(dataset, modality == "SEG")
        except (BadStudyError, ImportError):  # A package that is missing is no damaged file.
            raise
        except Exception as error:  # pydicom and highdicom raise nearly anything over a damaged file.
            raise BadStudyError(f"{path.name}: cannot be understood, the file is damaged or incomplete") from error
