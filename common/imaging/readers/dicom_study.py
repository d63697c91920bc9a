"""What every reader of a DICOM series with outlines has in common: finding series, and one study to one patient."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError, DataError
from common.imaging.dicom.index import Series, index_files, index_folder
from common.imaging.dicom.masks import MASK_MODALITIES, load_masks
from common.imaging.dicom.references import instance_uid, referred_images
from common.imaging.dicom.volume import load_volume
from common.imaging.patient import Patient, StudyLocation


def find_series(root: Path, modality: str) -> tuple[list[Series], list[Series]]:
    """The image series of one modality below ``root``, and the series of outlines.

    Raises:
        DataError: if there is no such folder, or no image series of that modality in it.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root} {state}; set the site's path to the folder that holds the DICOM files")
    found = index_folder(root)
    images = [series for series in found if series.modality == modality]
    if not images:
        others = sorted({series.modality for series in found})
        held = f"only {', '.join(others)}" if others else "no DICOM series at all"
        raise DataError(
            f"no {modality} series in {root}: looked at the header of every file in it and below, and found {held}; "
            "set the site's path to the folder that holds the DICOM files"
        )
    return images, [series for series in found if series.modality in MASK_MODALITIES]


def distinct_files(series: Iterable[Series]) -> list[tuple[Series, Path]]:
    """The files of several series of outlines, with copies of one file once."""
    by_uid = {(instance_uid(path) or str(path)): (one, path) for one in series for path in one.files}
    return list(by_uid.values())


def study_location(series: Series, path: Path, files: Iterable[Path]) -> StudyLocation:
    """Where a study lies; a patient whose ID was removed is called by the study, which then stands for the patient."""
    return StudyLocation(series.patient or series.study_uid, path, tuple(files), patient_known=bool(series.patient))


def read_study(
    location: StudyLocation,
    *,
    organ: str,
    contrast: str,
    tumour: Collection[str],
    inside: Collection[str],
    mask_required: bool,
) -> Patient:
    """One image series and the outlines that refer to it.

    Args:
        tumour: names of the outlines that are lesions; they get label 1.
        inside: names of the outlines that are the organ.
        mask_required: whether a study without outlines is refused; else it has ``labels`` None.

    Raises:
        BadStudyError: there is not exactly one image series, it forms no volume, the outlines do not fit it, or none
            of them is the tumour or the organ.
    """
    try:
        found = index_files(location.files) if location.files else index_folder(location.path)
    except PermissionError as error:
        raise BadStudyError(f"{Path(error.filename).name}: not allowed to read") from error
    outlines = [path for _, path in distinct_files(series for series in found if series.modality in MASK_MODALITIES)]
    images = [series for series in found if series.modality not in MASK_MODALITIES]
    if mask_required and not outlines:
        raise BadStudyError(f"no segmentation refers to any of its {len(images)} series")
    if len(images) != 1:
        named = outlines[0].name if outlines else "the study"
        raise BadStudyError(f"{named}: the series that it was drawn on is not here, or it does not say which one")
    volume = load_volume(
        images[0].files, referred=lambda: frozenset[str]().union(*(referred_images(path) for path in outlines))
    )
    if (volume.modality == "CT") != (contrast == "ct"):
        raise BadStudyError(f"modality is {volume.modality}, but the contrast asked for is {contrast}")
    masks = [load_masks(path, volume, (*tumour, *inside)) for path in outlines]
    lesion = _joined([mask.by_name for mask in masks], tumour, volume.voxels.shape)
    body = _joined([mask.by_name for mask in masks], inside, volume.voxels.shape)
    if masks and lesion is None and body is None:
        names = sorted({name for mask in masks for name in mask.names})
        raise BadStudyError(
            f"{outlines[0].name}: outlines {', '.join(names) or 'nothing'}, but not {', '.join(tumour)}"
        )
    if masks and lesion is None:
        lesion = np.zeros(volume.voxels.shape, np.bool_)  # An organ was outlined, and no lesion in it.
    if body is not None and lesion is not None:
        body |= lesion
    return Patient(
        patient=location.patient,
        organ=organ,
        contrasts=(contrast,),
        images=volume.to_lps(volume.voxels)[None],
        labels=None if lesion is None else volume.to_lps(lesion.view(np.uint8)),
        spacing=volume.lps_spacing,
        source=location.path,
        organ_mask=None if body is None else volume.to_lps(body.view(np.uint8)),
        identifying=tuple(sorted({*volume.identifying, *(field for mask in masks for field in mask.identifying)})),
    )


def _joined(
    files: list[dict[str, npt.NDArray[np.bool_]]], names: Collection[str], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_] | None:
    """The union of all masks called by one of ``names``; None if there is none."""
    wanted = {name.strip().casefold() for name in names}
    masks = [mask for by_name in files for name, mask in by_name.items() if name in wanted]
    if not masks:
        return None
    union = np.zeros(shape, np.bool_)
    for mask in masks:
        union |= mask
    return union
