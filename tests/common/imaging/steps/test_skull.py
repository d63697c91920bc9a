from pathlib import Path

import nibabel as nib
import nilearn
import numpy as np
import pytest
from scipy import ndimage

from common.errors import BadStudyError
from common.imaging.steps.skull import brain_mask

TEMPLATE = Path(nilearn.__file__).parent / "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


def head() -> tuple[np.ndarray, np.ndarray]:
    """(Z, Y, X) LPS at 2 mm: the MNI brain in a dark skull and a bright scalp, and where the brain is."""
    volume = np.asarray(nib.load(TEMPLATE).dataobj)[::2, ::2, ::2].transpose(2, 1, 0)[:, ::-1, ::-1]
    volume = np.pad(volume, ((12, 10), (10, 10), (10, 10))).astype(np.float32)
    brain = ndimage.binary_fill_holes(volume > 0)
    distance = ndimage.distance_transform_edt(~ndimage.binary_closing(brain, iterations=3), 2.0)
    volume[(distance > 0) & (distance <= 8)] = 25
    volume[(distance > 8) & (distance <= 14)] = 230
    return volume + np.random.default_rng(0).random(volume.shape, dtype=np.float32) * 10, brain


def test_the_brain_is_found_in_a_head() -> None:
    volume, brain = head()
    found = brain_mask(volume, (2.0, 2.0, 2.0))
    assert found.dtype == bool
    overlap = 2 * np.count_nonzero(found & brain) / (found.sum() + brain.sum())
    assert overlap > 0.95
    skin = ndimage.distance_transform_edt(~brain, 2.0) > 8
    assert found[skin].mean() < 0.001


def test_a_few_slices_and_an_image_without_a_head_are_refused() -> None:
    with pytest.raises(BadStudyError, match="needs a whole head, this study has 3 slices"):
        brain_mask(np.ones((3, 20, 20), np.float32), (1.0, 1.0, 1.0))
    with pytest.raises(BadStudyError, match="no brain"):
        brain_mask(np.zeros((20, 32, 32), np.float32), (1.0, 1.0, 1.0))
