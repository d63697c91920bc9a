"""One patient as the BraTS 2021 archive stores it."""

import gzip
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

VOLUME_SHAPE = (155, 240, 240)
"""Slices, rows and columns of a full BraTS volume, 1 mm each."""


def brats_affine(first_slice: int) -> npt.NDArray[np.float64]:
    """(4, 4) voxel (x, y, z) to RAS mm: x to the left, y to the back, z up, as in every BraTS case.

    A slab keeps its place in the world: its origin lies ``first_slice`` mm above a full volume's.
    """
    return np.array([[-1, 0, 0, 0], [0, -1, 0, VOLUME_SHAPE[1] - 1], [0, 0, 1, first_slice], [0, 0, 0, 1]], np.float64)


def write_brats_case(
    folder: Path,
    partial: Path,
    images: Mapping[str, npt.NDArray[np.int16]],
    labels: npt.NDArray[np.uint8],
    first_slice: int = 0,
) -> None:
    """Writes ``<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz``; the folder appears when all of it is on disk.

    Args:
        folder: the case's folder, named like the case; left alone if it exists.
        partial: where the case is put together; on the same file system, and not where a reader looks.
        images: (Z, Y, X) int16 for each contrast.
        labels: (Z, Y, X) uint8, stored beside the images.
        first_slice: position of the first slice in a full volume.
    """
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    affine = brats_affine(first_slice)
    volumes: dict[str, npt.NDArray[Any]] = {**images, "seg": labels}
    for name, volume in volumes.items():
        image = nib.Nifti1Image(np.ascontiguousarray(volume.T), affine)
        image.header.set_xyzt_units("mm")
        # A fixed time stamp: the same patient gives the same bytes.
        compressed = gzip.compress(image.to_bytes(), compresslevel=2, mtime=0)
        (partial / f"{folder.name}_{name}.nii.gz").write_bytes(compressed)
    try:
        os.replace(partial, folder)
    except OSError:
        # Another process finished the same case first; its bytes are the same.
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)
