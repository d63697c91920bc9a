"""From a patient as stored to slices in [0, 1]: the steps in order, each per patient, none fitted on a site.

The order matters. The foreground is found and cropped **before** z-scoring: afterwards half of the brain lies below
zero, and a crop that keeps what is above zero cuts it away.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from common.config import ImageConfig, PreprocessingConfig
from common.errors import BadStudyError, ConfigError
from common.imaging.patient import Patient
from common.imaging.slices import PatientSlices
from common.imaging.steps.bias_field import correct_bias_field
from common.imaging.steps.check import check_preprocessing
from common.imaging.steps.crop import crop_to_each_lung, crop_to_foreground, crop_to_organ
from common.imaging.steps.equalise import equalise
from common.imaging.steps.foreground import bounding_box, ct_foreground, labels_inside, mri_foreground
from common.imaging.steps.intensity import moments, window
from common.imaging.steps.median import median_in_plane
from common.imaging.steps.organ import lungs, whole
from common.imaging.steps.resample import resample
from common.imaging.steps.skull import brain_mask
from common.imaging.steps.square import fit_to_square
from common.imaging.steps.stretch import stretch
from common.imaging.steps.study import Mask, Study


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
    outline = study.inside.astype(np.uint8)
    return PatientSlices(
        patient=patient.patient,
        # Several times as fast as numpy's own cast.
        images=torch.from_numpy(study.images.transpose(1, 0, 2, 3)).half().contiguous().numpy(),
        labels=study.labels,
        foreground=outline,
        organ=None if study.organ is None else np.asarray(study.organ > 0, dtype=np.uint8),
        tumour_slices=study.stated,
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
    check_preprocessing(steps, patient.organ)
    is_ct = patient.modality == "CT"
    if is_ct and (steps.skull_strip or steps.bias_field):
        raise ConfigError(f"preprocessing.{patient.organ}: skull_strip and bias_field are for MRI, this study is CT")
    study = _as_stored(patient)
    yield _Stage("as stored", "", study)

    if steps.skull_strip:
        study = _without_skull(study, patient)
        yield _Stage("skull strip", "everything but the brain is taken off (deepbet)", study)
    if steps.bias_field:
        corrected = [correct_bias_field(channel, study.inside) for channel in study.images]
        study = replace(study, images=np.stack(corrected))
        yield _Stage("bias field", "the coils' shading is divided out (N4)", study)
    if steps.spacing is not None:
        if not patient.spacing_known:
            raise BadStudyError("resampling needs a known spacing, which these images do not have")
        study = resample(study, steps.spacing)
        yield _Stage("resample", f"{' x '.join(f'{mm:.3g}' for mm in study.spacing)} mm along z, y, x", study)

    study = _with_organ(study, patient, needed=steps.crop != "foreground")
    if steps.crop == "foreground":
        study = crop_to_foreground(study, image.min_foreground)
    elif steps.crop == "organ":
        study = crop_to_organ(study, steps.margin, image.min_foreground)
    else:
        study = crop_to_each_lung(study, steps.margin, image.min_foreground)
    around = "" if steps.crop == "foreground" else f", with {steps.margin:g} mm around it"
    yield _Stage("crop", f"to the {steps.crop.replace('_', ' ')}{around}", study)

    if steps.median:
        study = replace(study, images=np.stack([median_in_plane(channel, steps.median) for channel in study.images]))
        yield _Stage("median filter", f"radius {steps.median} px, in the plane", study)
    
    study = replace(study, images=np.stack([window(channel, steps.window) for channel in study.images]))
