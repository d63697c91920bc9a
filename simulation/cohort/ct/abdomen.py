"""From one real CT of the liver, 20 slices, to a template: what it shows, and where its organs lie."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
from scipy.ndimage import binary_closing, binary_fill_holes, binary_opening, gaussian_filter

from simulation.cohort.ct.thorax import Volume, body_mask, signed_depth

FILES = {
    "tests/reference_files/example_ct_dicom/": "abdomen/",
    "tests/reference_files/example_seg_dicom.nii.gz": "abdomen_labels.nii.gz",
}
"""In TotalSegmentator's source package, and how they are called here; a name ending in ``/`` is a folder."""

SPACING = (2.0, 0.9765625, 0.9765625)
"""mm along (z, y, x)."""

STRUCTURES = {"liver": (5,), "portal": (64,), "aorta": (52,), "cava": (63,), "spleen": (1,)}
"""Structures and their values in TotalSegmentator's label map; ``portal`` is the portal and splenic vein."""

DEPTH_UNIT = 0.25
"""mm of one stored unit of depth."""

LIVER = 95.0
"""HU of liver in the template."""

_TRUNK = (slice(None), slice(150, 430), slice(60, 440))
"""Rows and columns of the scan that hold the trunk without the arms."""

_SMOOTHING = (0.9, 1.4, 1.4)
"""Samples (z, y, x) by which the steps of the label map are rounded off."""


def prepare_abdomen(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """The template from the files of ``FILES`` in ``folder``.

    Returns:
        All (Z, Y, X) at ``SPACING`` mm, z to superior, y to posterior, x to the patient's left: ``image`` int16 HU;
        ``vessels`` int8 HU by which the liver's vessels stand out; for each of ``STRUCTURES`` its ``<name>`` int8
        depth in units of ``DEPTH_UNIT`` mm, positive inside.
    """
    scans = [pydicom.dcmread(path) for path in sorted((folder / "abdomen").iterdir())]
    scans.sort(key=lambda scan: float(scan.ImagePositionPatient[2]))
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in scans])
    stored: Any = nib.as_closest_canonical(nib.load(folder / "abdomen_labels.nii.gz"))
    labels = np.asarray(stored.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
    image, labels = hu[_TRUNK].astype(np.float32), labels[_TRUNK]
    masks = {name: np.isin(labels, values) for name, values in STRUCTURES.items()}
    # The label map leaves the portal vein out of the liver; surgeons and HCC-TACE-Seg do not.
    around = np.stack([binary_fill_holes(plane) for plane in masks["liver"] | masks["portal"]])
    liver = masks["liver"] | (around & masks["portal"])
    masks["liver"] = np.stack([binary_opening(plane, iterations=3) for plane in liver])
    masks["spleen"] = np.stack([binary_closing(plane, iterations=8) for plane in masks["spleen"]])
    # Splenic vein and branches behind the stomach look like a string of beads at this resolution.
    masks["portal"] = np.stack([binary_opening(plane) for plane in masks["portal"]])
    depths = {name: _smooth_depth(mask) for name, mask in masks.items()}
    body = body_mask(image)
    image = _quiet(np.where(body, image, -1000).astype(np.float32), depths["liver"])
    inside, around = _liver_background(image, depths["liver"])
    # The arms' shadow darkens the back of the liver; a person scanned with raised arms has none.
    image -= 0.85 * inside * (around - LIVER)
    return {
        "image": np.rint(np.clip(image, -1000, 1500)).astype(np.int16),
        "vessels": _vessels(image, depths["liver"]),
        **{name: np.clip(np.rint(depth / DEPTH_UNIT), -127, 127).astype(np.int8) for name, depth in depths.items()},
    }


def _smooth_depth(mask: npt.NDArray[np.bool_]) -> Volume:
    return np.asarray(gaussian_filter(signed_depth(mask, SPACING), _SMOOTHING, mode="nearest"), np.float32)


def _quiet(image: Volume, liver: Volume) -> Volume:
    """The scan with less of its own noise, above all the streaks between the arms, which cross the liver."""
    smooth = gaussian_filter(image, (0.7, 1.2, 1.2), mode="nearest")
    weight = np.exp(-(((image - smooth) / 50) ** 2))
    image = image + weight * (smooth - image)
    # Streaks run from side to side: in the liver, rows are averaged more than columns.
    inside = gaussian_filter((liver > 3).astype(np.float32), (0, 1, 1))
    flat = gaussian_filter(image, (0.8, 1.6, 1.2), mode="nearest")
    return np.asarray(image + inside * np.exp(-(((image - flat) / 25) ** 2)) * (flat - image), np.float32)


def _liver_background(image: Volume, liver: Volume) -> tuple[Volume, Volume]:
    """Weight of the liver in [0, 1], and its HU averaged over a neighbourhood larger than its vessels."""
    inside = (liver > 2).astype(np.float32)
    near = gaussian_filter(inside, (2, 12, 12)) + 1e-3
    around = gaussian_filter(image * inside, (2, 12, 12)) / near
    return gaussian_filter((liver > 0).astype(np.float32), (0, 0.7, 0.7)), np.asarray(around, np.float32)


def _vessels(image: Volume, liver: Volume) -> npt.NDArray[np.int8]:
    """HU by which a sample is brighter than the liver around it, where that is a vessel's amount."""
    _, around = _liver_background(image, liver)
    fine = gaussian_filter(image, (0.8, 1.2, 1.2)) - around
    vessels = np.clip(fine - 7, 0, 60) * (liver > 2)
    return np.asarray(np.rint(vessels), np.int8)
