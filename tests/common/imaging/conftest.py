"""Small studies in the true on-disk formats, made on the spot, and two real patients where they are at hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

LPS_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 39], [0, 0, 1, 0], [0, 0, 0, 1]])
REAL_BRATS = Path(__file__).parents[4] / "shared" / "data" / "brats"
REAL_LIVER = REAL_BRATS.parent / "dicom_seg"

WriteCase = Callable[..., Path]


def brain_like(shape: tuple[int, int, int] = (12, 40, 36), seed: int = 0) -> npt.NDArray[np.int16]:
    """(Z, Y, X) an ellipse of tissue with texture on a background of 0."""
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    inside = (y[:, None] / 0.8) ** 2 + (x[None, :] / 0.7) ** 2 < 1
    texture = np.random.default_rng(seed).normal(300, 40, shape)
    return np.asarray(np.where(inside[None].repeat(len(z), 0), texture, 0), dtype=np.int16)


def lesion_like(shape: tuple[int, int, int] = (12, 40, 36)) -> npt.NDArray[np.uint8]:
    labels = np.zeros(shape, np.uint8)
    labels[4:8, 14:22, 12:20] = 2
    labels[5:7, 16:20, 14:18] = 4
    labels[5:7, 17:19, 15:17] = 1
    return labels


def save_volume(path: Path, values: npt.NDArray[Any], affine: npt.NDArray[np.float64] = LPS_AFFINE) -> None:
    """Writes a (Z, Y, X) volume whose array axes are LPS under ``affine``."""
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine), path)


@pytest.fixture
def write_case() -> WriteCase:
    """Writes one BraTS case; ``files`` replaces or removes (None) single volumes, e.g. ``{"seg": None}``."""

    def write(
        root: Path,
        case: str = "BraTS2021_00001",
        files: Mapping[str, npt.NDArray[Any] | None] | None = None,
        *,
        naming: str = "{case}_{role}.nii.gz",
        contrasts: tuple[str, ...] = ("flair",),
        seed: int = 0,
    ) -> Path:
        folder = root / case
        folder.mkdir(parents=True)
        volumes: dict[str, npt.NDArray[Any] | None] = {
            contrast: brain_like(seed=seed + index) for index, contrast in enumerate(contrasts)
        }
        volumes["seg"] = lesion_like()
        volumes.update(files or {})
        for role, values in volumes.items():
            if values is not None:
                save_volume(folder / naming.format(case=case, role=role), values)
        return folder

    return write


@pytest.fixture
def real_brats() -> Path:
    """The folder of two real patients; the test is skipped where it is absent."""
    if not REAL_BRATS.is_dir():
        pytest.skip("the real BraTS patients are not on this machine")
    return REAL_BRATS


@pytest.fixture
def real_liver() -> Path:
    """The folder of three real CT slices with a DICOM SEG of the liver; the test is skipped where it is absent."""
    if not REAL_LIVER.is_dir():
        pytest.skip("the real CT slices are not on this machine")
    return REAL_LIVER
