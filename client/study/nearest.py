"""Which real lesions of this site its synthetic ones resemble most: what a copied lesion would show up in."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.slices import kept_here
from client.study.arms import has_images, made_images
from client.study.choice import crops_around, nearest_to
from common.imaging.slices import Slices, lesion_mask
from common.imaging.spread import spread_over_patients
from common.metrics.similarity import WINDOW
from common.system.array_files import write_arrays
from common.training.kinds import SyntheticSlices

COMPARED = 300
"""Lesions a side."""
SHOWN = 4


def keep_nearest(data: SiteData, work: WorkFolder, path: Path) -> None:
    """Writes the synthetic lesions that are most like a real training lesion, each beside that one; nothing if there
    are no synthetic lesions.

    Beside them stands how like each real lesion is to the nearest one of another patient: nearer than that is what a
    copy would be. The search does not turn or mirror lesions.
    """
    path.unlink(missing_ok=True)
    if has_images(work, "synthetic") and (found := nearest_lesions(made_images(work, "synthetic"), kept_here(data))):
        write_arrays(path, found)


def nearest_lesions(made: SyntheticSlices, training: Slices) -> dict[str, npt.NDArray[np.generic]]:
    """The ``SHOWN`` most alike pairs, and the similarities of all.

    Returns:
        ``made`` and ``real`` (k, s, s), the windows that were compared; ``made_labels`` and ``real_labels``;
        ``ssim`` (k,) of the windows; ``all_ssim`` (N,) of every synthetic lesion; ``floor_ssim`` (M,) of real ones
        against other patients' ones; ``crop`` the side s in pixels. Empty if either side has no lesion.
    """
    donors = spread_over_patients(training.tumour_positions(), training.owner, COMPARED)
    own = (made.tumour & lesion_mask(made.labels).flatten(1).any(1)).nonzero().squeeze(1)
    if not len(donors) or not len(own):
        return {}
    real = training.batch(donors)
    own = own[torch.linspace(0, len(own) - 1, min(len(own), COMPARED)).long()]
    size = _window(lesion_mask(real.labels))
    real_crops, real_labels = _crops(real.images, real.labels, size)
    made_crops, made_labels = _crops(made.images[own], made.labels[own], size)
    patients = real.patients.numpy()
    # A synthetic lesion sits in a healthy slice, so no real lesion is the slice that it was built on.
    found = nearest_to(made_crops, real_crops, np.full(len(own), -1), patients)
    floor = nearest_to(real_crops, real_crops, patients, patients)
    shown = np.argsort(-found.ssim, kind="stable")[:SHOWN]
    pairs = found.index[shown]
    return {
        "made": made_crops[shown, 0].numpy().astype(np.float16),
        "made_labels": made_labels[shown].numpy(),
        "real": real_crops[pairs, 0].numpy().astype(np.float16),
        "real_labels": real_labels[pairs].numpy(),
        "ssim": found.ssim[shown],
        "all_ssim": found.ssim,
        "floor_ssim": floor.ssim[~np.isnan(floor.ssim)],
        "crop": np.array(size),
    }


def _crops(images: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    mask = lesion_mask(labels)
    return crops_around(images, mask, size), crops_around(labels.unsqueeze(1), mask, size).squeeze(1)


def _window(masks: Tensor) -> int:
    """Side of a window that holds nine of ten lesions and a rim of 4 pixels around them."""
    sides = torch.stack([masks.any(1).sum(1), masks.any(2).sum(1)]).amax(0)
    most = min(masks.shape[1:])
    return min(most, max(WINDOW, int(torch.quantile(sides.float(), 0.9)) + 8))
