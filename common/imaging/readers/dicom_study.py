"""What every reader of a DICOM series with outlines has in common: finding series, and one study to one patient."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import BadStudyError, DataError
from common.imaging.dicom.index import Series, index_files, index_folder
from common.imaging.dicom.masks import MASK_MODALITIES, load_masks, outline_names
from common.imaging.dicom.references import instance_uid, names_no_images, referred_images, referred_series
from common.imaging.dicom.volume import NO_SERIES, load_volume
from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.outline_meaning import OutlineNames, weigh
from common.imaging.remarks import Remark


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
        others = ", ".join(sorted({series.modality or "files that state no Modality" for series in found}))
        raise DataError(
            f"no {modality} series in {root}: looked at the header of every file in it and below, and found "
            f"{f'only {others}' if others else 'no DICOM series at all'}; set the site's path to the folder that holds "
            "the DICOM files"
        )
    return images, [series for series in found if series.modality in MASK_MODALITIES]


@dataclass(frozen=True)
class Drawn:
    """Which outlines were drawn on which series.

    Attributes:
        on: image series -> its outlines.
        by_study: study -> all its outlines, also those whose series is none of the images.
        astray: (series of outlines, file) of those whose series cannot be told.
    """

    on: dict[Series, list[Path]]
    by_study: dict[str, list[Path]]
    astray: list[tuple[Series, Path]]

    def location(self, image: Series) -> StudyLocation:
        """An outlined series with its outlines, and with the others of its study: these may show what it lacks."""
        others = [path for path in self.by_study[image.study] if path not in self.on[image]]
        return study_location(image, image.files[0].parent, [*image.files, *self.on[image], *others])


def match_outlines(images: Sequence[Series], outlines: Iterable[Series]) -> Drawn:
    """The outlines by the series that they were drawn on; copies of one file count once."""
    drawn = Drawn({}, defaultdict(list), [])
    for series, path in distinct_files(outlines):
        image = referred_series(path, images)
        if image is None:
            drawn.astray.append((series, path))
        else:
            drawn.on.setdefault(image, []).append(path)
        drawn.by_study[(image or series).study].append(path)
    return drawn


def distinct_files(series: Iterable[Series]) -> list[tuple[Series, Path]]:
    """The files of several series of outlines, with copies of one file once."""
    by_uid = {(instance_uid(path) or str(path)): (one, path) for one in series for path in one.files}
    return list(by_uid.values())


def study_location(series: Series, path: Path, files: Iterable[Path]) -> StudyLocation:
    """Where a study lies; a patient whose ID was removed is called by the study, which then stands for the patient."""
    return StudyLocation(series.patient or series.study, path, tuple(files), patient_known=bool(series.patient))


def read_study(
    location: StudyLocation, *, organ: str, contrast: str, names: OutlineNames, mask_required: bool
) -> Patient:
    """One image series and the outlines that refer to it; tumours get label 1.

    Args:
        names: what the outlines are.
        mask_required: whether a study without outlines is refused; else it has ``labels`` None.

    Raises:
        BadStudyError: there is not exactly one image series, it forms no volume, the outlines do not fit it, none of
            them is the tumour or the organ, or it has no tumour, but another series of the study may have one.
    """
    try:
        found = index_files(location.files) if location.files else index_folder(location.path)
    except PermissionError as error:
        raise BadStudyError(f"{Path(error.filename).name}: not allowed to read") from error
    outlines = [path for _, path in distinct_files(series for series in found if series.modality in MASK_MODALITIES)]
    images = [series for series in found if series.modality not in MASK_MODALITIES]
    for series in images:
        if not series.uid:
            raise BadStudyError(f"{series.files[0].name}: {NO_SERIES}")
    if mask_required and not outlines:
        raise BadStudyError(f"no segmentation refers to any of its {len(images)} series")
    if len(images) != 1:
        named = outlines[0].name if outlines else "the study"
        raise BadStudyError(f"{named}: the series that it was drawn on is not here, or it does not say which one")
    own = [path for path in outlines if referred_series(path, images) is not None]
    volume = load_volume(
        images[0].files, referred=lambda: frozenset[str]().union(*(referred_images(path) for path in own))
    )
    if (volume.modality == "CT") != (contrast == "ct"):
        raise BadStudyError(f"modality is {volume.modality}, but the contrast asked for is {contrast}")
    masks = [(path.name, load_masks(path, volume, names.is_drawn)) for path in own]
    outlined = weigh(masks, names, volume.voxels.shape) if masks else None
    if outlined is not None and not outlined.tumour.any():
        for path in outlines:
            if path not in own:
                _check_other(path, names)
    remarks = [*volume.remarks, *(outlined.remarks if outlined else ())]
    remarks += [_BY_SPACE for path in own if names_no_images(path)]
    organ_mask = None if outlined is None else outlined.organ
    return Patient(
        patient=location.patient,
        organ=organ,
        contrasts=(contrast,),
        images=volume.to_lps(volume.voxels)[None],
        labels=None if outlined is None else volume.to_lps(outlined.tumour.view(np.uint8)),
        spacing=volume.lps_spacing,
        source=location.path,
        organ_mask=None if organ_mask is None else volume.to_lps(organ_mask.view(np.uint8)),
        identifying=tuple(sorted({*volume.identifying, *(field for _, mask in masks for field in mask.identifying)})),
        remarks=tuple(dict.fromkeys(remarks)),
        questions=() if outlined is None else outlined.questions,
    )


_BY_SPACE = Remark("guess", "outlines that name no images, taken as drawn on the one series in their space")


def _check_other(path: Path, names: OutlineNames) -> None:
    """Refuses a series without a tumour where outlines of another series in its study are, or may be, of tumours."""
    others = [name for name in outline_names(path) if names.meaning(name) in ("tumour_segments", None)]
    if others:
        raise BadStudyError(
            f"{path.name}: outlines {', '.join(others)} on another series of this study, on which no tumour is "
            "outlined, so that it may show a tumour that nobody drew on it; name in other_segments what is none"
        )
