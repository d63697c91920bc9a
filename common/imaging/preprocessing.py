"""From a patient as stored to slices in [0, 1]: the steps in order, each per patient, none fitted on a site.

The order matters. The foreground is found and cropped **before** z-scoring: afterwards half of the brain lies below
zero, and a crop that keeps what is above zero cuts it away.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from common.errors import BadStudyError, ConfigError
from common.imaging.patient import LESION_LABELS, Patient
from common.imaging.slices import PatientSlices
from common.imaging.steps.bias_field import correct_bias_field
from common.imaging.steps.check import check_preprocessing
from common.imaging.steps.crop import crop_to_each_lung, crop_to_foreground, crop_to_organ
from common.imaging.steps.equalise import equalise
from common.imaging.steps.foreground import bounding_box, ct_foreground, labels_inside, mri_foreground
from common.imaging.steps.intensity import window, z_score
from common.imaging.steps.lung_sides import told_apart
from common.imaging.steps.median import median_in_plane
from common.imaging.steps.organ import FOR_ALL_THAT_IS_THERE, lungs, whole
from common.imaging.steps.resample import resample
from common.imaging.steps.skull import brain_mask
from common.imaging.steps.square import fit_to_square
from common.imaging.steps.stretch import stretch
from common.imaging.steps.study import Study
from common.study.experiment import ImageConfig, PreprocessingConfig

_SLAB = 2
"""Slices that are scaled together: few enough to stay in the processor's cache from step to step."""


@dataclass(frozen=True)
class StepPicture:
    """One slice before and after one step, for people to look at.

    Attributes:
        name: of the step, e.g. ``"median filter"``.
        does: what it does, in a few words, with its settings.
        before, after: (H, W) float32 in [0, 1], squares of one size with pixels of equal sides. Until values are on
            their final scale, both are shown in the range of ``before``.
    """

    name: str
    does: str
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Stage:
    """What a step left behind; ``final_scale``: whether values are in [0, 1] for good."""

    name: str
    does: str
    study: Study
    final_scale: bool = False


def preprocess(patient: Patient, image: ImageConfig, steps: PreprocessingConfig) -> PatientSlices:
    """All steps in order; the slices that show enough of the patient, inferior to superior.

    Labels outside the foreground are dropped. A study without a mask has labels of 0.

    Raises:
        BadStudyError: if nothing can be seen, no slice shows enough, the mask lies outside the patient, or the study
            lacks what a step needs.
        ConfigError: if a step is impossible, for this organ or modality.
    """
    for stage in _stages(patient, image, steps):
        study = stage.study
    return PatientSlices(
        patient=patient.patient,
        images=study.images.transpose(1, 0, 2, 3),
        labels=study.labels,
        foreground=study.inside.astype(np.uint8),
        organ=None if study.organ is None else np.asarray(study.organ > 0, dtype=np.uint8),
        tumour_slices=study.stated,
        remarks=study.remarks,
    )


def trace(patient: Patient, image: ImageConfig, steps: PreprocessingConfig, *, size: int = 256) -> list[StepPicture]:
    """What each step that is on does to one slice: the one with the largest lesion, else the middle one.

    Args:
        size: side of the pictures in pixels.

    Raises:
        BadStudyError, ConfigError: as :func:`preprocess`, whose steps these are.
    """
    pictures: list[StepPicture] = []
    before: _Stage | None = None
    for stage in _stages(patient, image, steps):
        if before is None:
            height = _telling_height(stage.study)
        else:
            first = _shown(before.study, height, size)
            low, high = (0.0, 1.0) if before.final_scale else np.percentile(first, (0.5, 99.5)).tolist()
            high = max(high, low + 1e-6)
            second = _shown(stage.study, height, size)
            limits = [0.0, 1.0] if stage.final_scale else [low, high]
            pictures.append(StepPicture(stage.name, stage.does, window(first, [low, high]), window(second, limits)))
        before = stage
    return pictures


def _stages(patient: Patient, image: ImageConfig, steps: PreprocessingConfig) -> Iterator[_Stage]:
    """The study as stored, then as each step leaves it."""
    is_ct = patient.modality == "CT"
    check_preprocessing(steps, patient.organ)
    if is_ct and (steps.skull_strip or steps.bias_field):
        raise ConfigError(
            f"organs.{patient.organ}.steps: skull_strip and bias_field are for MRI, this study is CT; set both to false"
        )
    study = _as_stored(patient)
    yield _Stage("as stored", "", study)

    study = study.within(bounding_box(study.inside))
    yield _Stage("foreground", f"the empty border around the {'body' if is_ct else 'head'} is cut off", study)

    if steps.skull_strip:
        study = _without_skull(study, patient)
        yield _Stage("skull strip", "all but the brain is taken off (deepbet)", study)

    if steps.bias_field:
        study = replace(study, images=np.stack([correct_bias_field(one, study.inside) for one in study.images]))
        yield _Stage("bias field", "the shading of the coils is divided out (N4)", study)

    if steps.spacing is not None:
        if not patient.spacing_known:
            raise BadStudyError(
                "resampling needs a known spacing, which these images do not have; "
                "steps: {spacing: null} in site.yaml leaves it out"
            )
        study = resample(study, steps.spacing)
        yield _Stage("resample", f"to {' x '.join(f'{mm:.3g}' for mm in study.spacing)} mm along z, y, x", study)

    study = _with_organ(study, patient, needed=steps.crop != "foreground", both=steps.crop == "each_lung")
    crop = steps.crop
    if crop == "each_lung" and study.organ is not None and not told_apart(study.organ):
        crop = "organ"
        study = study.with_remark("guess", "one lung, or two that cannot be told apart: shown in one box")
    whole_study = study
    if crop == "foreground":
        study = crop_to_foreground(study, image.min_foreground)
    elif crop == "organ":
        study = crop_to_organ(study, steps.margin, image.min_foreground)
    else:
        study = crop_to_each_lung(study, steps.margin, image.min_foreground)
    study = _telling_what_went(whole_study, study, patient, crop)
    if steps.crop != "foreground" or steps.skull_strip:
        shown = {"foreground": "brain", "organ": patient.organ, "each_lung": "right and the left lung"}[crop]
        yield _Stage("crop", f"to the {shown}" + f", {steps.margin:g} mm around" * (steps.crop != "foreground"), study)

    if steps.median:
        study = replace(study, images=np.stack([median_in_plane(one, steps.median) for one in study.images]))
        yield _Stage("median filter", f"radius {steps.median} px in the plane", study)

    windowed = np.empty(study.images.shape, np.float32)
    inside = np.ascontiguousarray(study.inside)  # Looking up values by a mask in one piece is three times as fast.
    for one, out in zip(study.images, windowed, strict=True):
        window(one if is_ct else z_score(one, inside, out), steps.window, out)
    study = replace(study, images=windowed)
    limits = f"{steps.window[0]:g} to {steps.window[1]:g}"
    does = f"{limits} HU become 0 to 1" if is_ct else f"z-scores in the brain; {limits} become 0 to 1"
    yield _Stage("window" if is_ct else "z-score", does, study, final_scale=True)

    if steps.stretch is not None:
        study = replace(study, images=np.stack([stretch(one, study.region, steps.stretch) for one in study.images]))
        does = f"percentiles {steps.stretch[0]:g} and {steps.stretch[1]:g} of what is inside become 0 and 1"
        yield _Stage("contrast stretch", does, study, final_scale=True)

    if steps.equalise:
        study = replace(study, images=np.stack([equalise(one, study.inside) for one in study.images]))
        yield _Stage(
            "histogram equalisation", "each brightness becomes equally frequent inside", study, final_scale=True
        )

    study = _as_squares(study, image.size)
    yield _Stage("scale", f"to {image.size} x {image.size} px, black outside", study, final_scale=True)


def _as_stored(patient: Patient) -> Study:
    images = patient.images
    find = ct_foreground if patient.modality == "CT" else mri_foreground
    inside = find(images, single=_single_images(patient))
    labels = np.zeros(inside.shape, np.uint8) if patient.labels is None else patient.labels
    kept = labels_inside(labels, inside)
    lost = np.count_nonzero(kept, axis=(1, 2)) < 0.5 * np.count_nonzero(labels, axis=(1, 2))
    if lost.any():
        # A slice of a tumour must not become one without: where most of it would go, the mask is believed.
        inside[lost] |= labels[lost] > 0
        kept[lost] = labels[lost]
    outline = patient.organ_mask
    study = Study(
        images=images,
        inside=inside,
        labels=kept,
        organ=None if outline is None or not outline.any() else whole(outline, kept, inside),
        stated=patient.tumour_slices,
        height=np.arange(len(inside), dtype=np.float64) * patient.spacing[0],
        spacing=patient.spacing,
    )
    beyond = f"a tumour outside the {_body(patient)} as it was found, taken in on some slices"
    return study.with_remark("guess", beyond) if lost.any() else study


def _single_images(patient: Patient) -> bool:
    """Whether its slices are images of their own, not neighbours in a volume: a scan says how far apart they are."""
    return not patient.spacing_known


def _body(patient: Patient) -> str:
    return "head" if patient.organ == "brain" else "body"


def _telling_what_went(before: Study, after: Study, patient: Patient, crop: str) -> Study:
    """The study ``after`` a crop with what it left out told: slices with a tumour, and images of their own."""
    shown = {"foreground": _body(patient), "organ": patient.organ, "each_lung": "lung"}[crop]
    gone = ~np.isin(before.height, after.height)
    tumour = np.isin(before.height, after.height[after.shows_tumour], invert=True) & before.shows_tumour
    told = [(f"with a tumour, and less of the {shown} than image.min_foreground asks for", tumour)]
    if _single_images(patient):
        empty = ~before.inside.any(axis=(1, 2))
        told.append((f"without a {_body(patient)}", gone & empty))
        told.append((f"with less of the {shown} than image.min_foreground asks for", gone & ~empty & ~tumour))
    for what, slices in told:
        if slices.any():
            after = after.with_remark("slice", what, int(np.count_nonzero(slices)))
    return after


def _without_skull(study: Study, patient: Patient) -> Study:
    """The brain, with lesions that the network took for something else."""
    best = patient.contrasts.index("t1") if "t1" in patient.contrasts else 0
    brain = (brain_mask(study.images[best], study.spacing) | (study.labels > 0)) & study.inside
    return replace(study, images=study.images * brain, inside=brain)


def _with_organ(study: Study, patient: Patient, *, needed: bool, both: bool) -> Study:
    """The organ, where it is less than the foreground and known; ``both`` tells the right lung from the left.

    Raises:
        BadStudyError: if it is ``needed`` and not known.
    """
    if patient.organ == "lung" and patient.modality == "CT" and (study.organ is None or both):
        try:
            return replace(study, organ=lungs(study.images[0], study.inside, study.spacing, study.labels))
        except BadStudyError:
            if needed:
                raise
            return replace(study, organ=None)
    if needed and patient.organ != "brain" and study.organ is None:
        raise BadStudyError(
            f"there is no mask of the {patient.organ}, which crop=organ needs; name it in the site's options (reader "
            f"dicom: organ_segments), or {FOR_ALL_THAT_IS_THERE.format(organ=patient.organ)}"
        )
    return study


def _as_squares(study: Study, size: int) -> Study:
    height, width = study.inside.shape[1:]
    _, dy, dx = study.spacing
    outline = fit_to_square(study.inside, size, (dy, dx), "nearest")
    pixel = max(height * dy, width * dx) / size
    squares = torch.from_numpy(np.empty((len(outline), len(study.images), size, size), np.float16))
    for start in range(0, len(outline), _SLAB):
        slab = slice(start, start + _SLAB)
        shown = study.images[:, slab] * study.inside[slab].astype(np.float32)
        square = fit_to_square(shown, size, (dy, dx), "area")
        square *= outline[slab].astype(np.float32)
        squares[slab] = torch.from_numpy(square).transpose(0, 1)  # several times as fast as numpy's own cast
    return replace(
        study,
        images=squares.transpose(0, 1).numpy(),
        inside=outline,
        labels=fit_to_square(study.labels, size, (dy, dx), "nearest") * outline,
        organ=None if study.organ is None else fit_to_square(study.organ, size, (dy, dx), "nearest") * outline,
        spacing=(study.spacing[0], pixel, pixel),
    )


def _telling_height(study: Study) -> float:
    """Millimetres of the slice with the largest lesion, or of the middle of the patient."""
    lesion = np.isin(study.labels, LESION_LABELS).sum(axis=(1, 2))
    shown = np.flatnonzero(study.inside.any(axis=(1, 2)))
    return float(study.height[int(lesion.argmax()) if lesion.any() else shown[len(shown) // 2]])


def _shown(study: Study, height: float, size: int) -> npt.NDArray[np.float32]:
    """(size, size) the slice nearest to a height; where both lungs have one, that with the lesion."""
    distance = np.abs(study.height - height)
    nearest = np.flatnonzero(distance <= distance.min() + 1e-3)
    index = max(nearest.tolist(), key=lambda z: (np.count_nonzero(study.labels[z]), study.region[z].sum()))
    plane = study.images[0, index].astype(np.float32)
    lowest = min(0.0, float(plane.min()))  # the colour of what is added to make it square
    return np.asarray(fit_to_square(plane - lowest, size, study.spacing[1:], "area") + lowest)
