"""BraTS on disk: one folder a case, one NIfTI file a contrast, one for the tumour mask."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.patient import LESION_LABELS, Patient, StudyLocation
from common.imaging.readers.nifti import read_voxels

MRI_CONTRASTS = ("t1", "t1ce", "t2", "flair")
NAMES_2021 = {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "seg": "seg"}
NAMES_2023 = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair", "seg": "seg"}

_FILE = re.compile(r"(?P<case>.+)[_-](?P<role>t1|t1ce|t2|flair|t1n|t1c|t2w|t2f|seg)\.nii(\.gz)?", re.IGNORECASE)
_TIMEPOINT = re.compile(r"(?P<patient>BraTS-[A-Za-z]+-\d+)-\d{3}")
_SMALLEST_SIDE = 16
_MOST_VOXELS = 2**28
"""A volume of 512 x 512 x 1024: 1 GB as float32. A damaged header can claim any size."""
_AFFINE_TOLERANCE = 0.01


@dataclass(frozen=True)
class BratsReader:
    """Cases named as in BraTS 2021 (``<case>_t1ce.nii.gz``) or as in BraTS 2023 (``<case>-t1c.nii.gz``).

    Volumes of any size are turned to LPS. Values stay as stored: small values outside the brain, negative ones too,
    are real (they come from resampling) and are left to preprocessing. The 2023 label 3 becomes 4. A case without a
    mask is read with ``labels`` None. A mask in which every voxel is 0 is that of a patient without a tumour.

    A 2023 case ``BraTS-GLI-00012-001`` is the second study of patient ``BraTS-GLI-00012``.

    Args:
        organ: ``brain``; there is no other BraTS organ.
        contrasts: the channels to read, each one of ``MRI_CONTRASTS``.
        tumour_free: ``allow`` patients with an all-zero mask, or ``quarantine`` them where every patient should
            have a tumour.

    Raises:
        ConfigError: for an organ, contrast or option that BraTS does not have.
    """

    organ: str = "brain"
    contrasts: tuple[str, ...] = ("flair",)
    tumour_free: str = "allow"

    def __post_init__(self) -> None:
        if self.organ != "brain":
            raise ConfigError(f"reader brats: organ is {self.organ!r}, but BraTS shows the brain; write organ: brain")
        for contrast in self.contrasts:
            if contrast not in MRI_CONTRASTS:
                raise ConfigError(f"reader brats: unknown contrast {contrast!r}; known: {', '.join(MRI_CONTRASTS)}")
        if not self.contrasts:
            raise ConfigError(f"reader brats: no contrast was asked for; known: {', '.join(MRI_CONTRASTS)}")
        if self.tumour_free not in ("allow", "quarantine"):
            raise ConfigError(f"reader brats: tumour_free is {self.tumour_free!r}; write allow or quarantine")

    def find(self, root: Path) -> list[StudyLocation]:
        """Every case in ``root`` itself, in its folders, and in theirs.

        Raises:
            DataError: if there is no such folder, or no case in it.
        """
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {state}; set the site's path to the folder that holds the BraTS cases")
        cases = [location for folder in _folders(root, levels=2) for location in _cases_in(folder)]
        if not cases:
            raise DataError(
                f"no BraTS case in {root}: looked for <case>_flair.nii.gz, <case>-t2f.nii.gz and the like in it and "
                "two levels below; set the site's path to the folder that holds the case folders"
            )
        return sorted(cases, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One case, oriented to LPS.

        Raises:
            BadStudyError: a file is missing, unreadable or not a volume; grids differ; a value is NaN or infinite;
                an image is constant; the mask holds a value that is no label.
        """
        files = _by_role(location.files or tuple(path for case in _cases_in(location.path) for path in case.files))
        missing = [contrast for contrast in self.contrasts if contrast not in files]
        if missing:
            raise BadStudyError(f"contrast {', '.join(missing)} is missing")
        first = _Volume.load(files[self.contrasts[0]])
        images = np.empty((len(self.contrasts), *first.values.shape), np.float32)
        for contrast, image in zip(self.contrasts, images, strict=True):
            # One at a time: memory that has just been let go is used again, which is faster than new memory.
            volume = first if contrast == self.contrasts[0] else _Volume.load(files[contrast])
            volume.check_same_grid(first)
            volume.check_shows_something()
            image[...] = volume.values
        labels = None
        if "seg" in files:
            mask = _Volume.load(files["seg"])
            mask.check_same_grid(first)
            labels = _labels(mask, renumbered=_role(files[self.contrasts[0]]) not in NAMES_2021)
            if self.tumour_free == "quarantine" and not labels.any():
                raise BadStudyError(f"{mask.name}: mask is empty")
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=images,
            labels=labels,
            spacing=first.spacing,
            source=location.path,
        )


@dataclass(frozen=True)
class _Volume:
    """One NIfTI file in LPS: values (Z, Y, X) as stored, spacing (z, y, x) in mm, the affine of (X, Y, Z)."""

    name: str
    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, float, float]

    @staticmethod
    def load(path: Path) -> "_Volume":
        try:
            image: Any = nib.load(path)
            shape, affine = tuple(image.shape), np.asarray(image.affine, dtype=np.float64)
            if math.prod(shape) > _MOST_VOXELS:
                raise BadStudyError(
                    f"{path.name}: {' x '.join(map(str, shape))} voxels are more than can be one volume"
                )
            values = read_voxels(path, image)
            values = values.reshape(shape[:3]) if len(shape) > 3 and set(shape[3:]) == {1} else values
        except (BadStudyError, ImportError):  # A package that is missing is no damaged file.
            raise
        except Exception as error:  # A damaged header or stream makes nibabel raise nearly anything.
            raise BadStudyError(f"{path.name}: cannot be read, the file is damaged or incomplete") from error
        if values.ndim != 3:
            raise BadStudyError(f"{path.name}: has {values.ndim} dimensions, expected a volume of 3")
        if values.dtype.kind not in "iuf":
            raise BadStudyError(f"{path.name}: its voxels are no plain numbers")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BadStudyError(f"{path.name}: holds values that are NaN or infinite")
        turn = _to_lps(affine, path.name)
        affine = affine @ inv_ornt_aff(turn, values.shape)
        x, y, z = (float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
        values = apply_orientation(values, turn).transpose(2, 1, 0)
        if min(values.shape[1:]) < _SMALLEST_SIDE or len(values) == 0:
            raise BadStudyError(
                f"{path.name}: {len(values)} slices of {values.shape[1]} x {values.shape[2]} voxels are too small"
            )
        return _Volume(path.name, values, affine, (z, y, x))

    def check_same_grid(self, other: "_Volume") -> None:
        if self.values.shape != other.values.shape:
            mine, theirs = ("x".join(map(str, v.values.shape[::-1])) for v in (self, other))
            raise BadStudyError(f"{self.name}: has {mine} voxels, {other.name} has {theirs}")
        if not np.allclose(self.affine, other.affine, atol=_AFFINE_TOLERANCE):
            raise BadStudyError(f"{self.name}: lies elsewhere in space than {other.name}")

    def check_shows_something(self) -> None:
        if self.values.min() == self.values.max():
            raise BadStudyError(f"{self.name}: image is empty, every voxel has the same value")


def _to_lps(affine: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """How a volume's axes are turned and flipped to LPS, as nibabel writes it."""
    try:
        with np.errstate(all="ignore"):
            if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
                raise ValueError("singular")
            return np.asarray(ornt_transform(io_orientation(affine), axcodes2ornt(("L", "P", "S"))))
    except ValueError as error:  # Two axes that point the same way, also within rounding.
        raise BadStudyError(f"{name}: its header gives no usable orientation and spacing") from error


def _labels(mask: _Volume, *, renumbered: bool) -> npt.NDArray[np.uint8]:
    """(Z, Y, X) labels in the 2021 numbering; ``renumbered``: the file follows 2023, where 3 is enhancing tumour."""
    numbering = {0: 0, 1: 1, 2: 2, 3: 4} if renumbered else {0: 0, **{value: value for value in LESION_LABELS}}
    labels = np.zeros(mask.values.shape, np.uint8)
    inside = mask.values != 0
    values = mask.values[inside]
    odd = sorted(set(np.unique(values).tolist()) - set(numbering))
    if odd:
        found = ", ".join(f"{value:g}" for value in odd[:3])
        raise BadStudyError(f"{mask.name}: mask holds {found}; labels are {', '.join(map(str, numbering))}")
    labels[inside] = np.asarray([numbering.get(value, 0) for value in range(5)], np.uint8)[values.astype(np.intp)]
    return labels


def _folders(root: Path, levels: int) -> Iterator[Path]:
    yield root
    if levels:
        for child in sorted(root.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _folders(child, levels - 1)


def _cases_in(folder: Path) -> list[StudyLocation]:
    """The cases whose files lie in ``folder``: one in BraTS, but a flat folder of many cases works too."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match and not path.name.startswith(".") and path.is_file():
            files[match["case"]].append(path)
    return [StudyLocation(_patient(case), folder, tuple(paths)) for case, paths in files.items()]


def _patient(case: str) -> str:
    match = _TIMEPOINT.fullmatch(case)
    return match["patient"] if match else case


def _role(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    return match["role"].lower() if match else ""


def _by_role(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Contrast (or ``seg``) -> file."""
    files: dict[str, Path] = {}
    for path in paths:
        role = _role(path)
        name = NAMES_2021.get(role) or NAMES_2023[role]
        if name in files:
            raise BadStudyError(f"{files[name].name} and {path.name} are both {name}; keep one")
        files[name] = path
    return files
