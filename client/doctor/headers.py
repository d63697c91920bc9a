"""Header fields of a study that somebody should look at: they name no one by themselves, but free text may."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import nibabel as nib
import pydicom

from common.imaging.deidentification import fields_to_review
from common.imaging.dicom.files import quiet

NIFTI_TEXTS = ("descrip", "aux_file", "db_name", "intent_name")
_PROGRAMS = re.compile(r"fsl|spm|itk|ants|c3d|nibabel|nifti|mri_|afni|te=|time=|brainlab|\d", re.IGNORECASE)
_MOST_FILES = 200


def header_fields_to_review(study: Path) -> tuple[str, ...]:
    """DICOM keywords of one file of each kind in a study, and NIfTI text fields that no program seems to have written.

    Args:
        study: its folder or file. What cannot be read is passed over: the reader tells what is wrong with it.
    """
    found: set[str] = set()
    seen: set[tuple[Path, str]] = set()
    with quiet():
        for file in _files(study):
            if file.name.lower().endswith((".nii", ".nii.gz")):
                found.update(_nifti_texts(file))
            elif (file.parent, file.suffix) not in seen and _is_dicom(file):
                # The files of a series say the same of their patient.
                seen.add((file.parent, file.suffix))
                found.update(_dicom_fields(file))
    return tuple(sorted(found))


def _files(study: Path) -> Iterator[Path]:
    if study.is_file():
        return iter([study])
    return islice((file for file in study.rglob("*") if file.is_file() and not file.name.startswith(".")), _MOST_FILES)


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _dicom_fields(file: Path) -> tuple[str, ...]:
    try:
        return fields_to_review(pydicom.dcmread(file, stop_before_pixels=True))
    except Exception:  # a damaged header makes pydicom raise nearly anything
        return ()


def _nifti_texts(file: Path) -> list[str]:
    try:
        header: Any = nib.load(file).header
        texts = {name: bytes(header[name].tobytes()).decode("latin-1").strip("\0 ") for name in NIFTI_TEXTS}
    except Exception:  # the same for nibabel
        return []
    return [f"NIfTI {name}" for name, text in texts.items() if text and not _PROGRAMS.search(text)]
