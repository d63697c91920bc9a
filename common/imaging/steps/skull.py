"""Skull stripping: where the brain is in an MRI of the whole head."""

import warnings

import nibabel as nib
import numpy as np

from common.errors import BadStudyError
from common.imaging.steps.study import Mask, Spacing, Volume

_WITHOUT = "steps: {skull_strip: false} in site.yaml leaves it out"
FEWEST_SLICES = 16
"""The network was trained on whole heads; of a few slices it makes nothing that can be trusted."""


def brain_mask(head: Volume, spacing: Spacing) -> Mask:
    """(Z, Y, X) True in the brain (cerebellum and brain stem included); from one contrast, best T1, in LPS order.

    Runs on the CPU, with the weights that come with deepbet's wheel, in about 5 s and 1.5 GB.

    Args:
        head: (Z, Y, X) as stored.
        spacing: millimetres along (z, y, x).

    Raises:
        BadStudyError: if there are too few slices, or no brain was found.

    Source: Fisch et al. 2024, deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks.
    """
    from deepbet import BrainExtraction  # brings pandas along: loaded only where a skull is to be taken off

    if len(head) < FEWEST_SLICES:
        raise BadStudyError(f"skull stripping needs a whole head, this study has {len(head)} slices; {_WITHOUT}")
    to_ras = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    image = nib.Nifti1Image(np.ascontiguousarray(head.transpose(2, 1, 0)), to_ras)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's, about the format of deepbet's weights
        network = BrainExtraction(no_gpu=True)
    try:
        _, mask, _ = network.run(image)
    except (AssertionError, ValueError, RuntimeError) as error:  # it has no other way to say that it marked nothing
        raise BadStudyError(f"skull stripping found no brain; {_WITHOUT}") from error
    brain = np.asarray(mask.dataobj).transpose(2, 1, 0) > 0
    if not brain.any():
        raise BadStudyError(f"skull stripping found no brain; {_WITHOUT}")
    return np.ascontiguousarray(brain)
