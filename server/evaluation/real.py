"""The real side of a comparison: which reference slices are taken, and their features, computed once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.features.extractor import FeatureExtractor
from common.files import read_arrays, write_arrays


def spread_over_patients(
    positions: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """At most ``count`` of ``positions``, as evenly over patients, and over each one's slices, as they allow.

    Args:
        positions: slices to choose from.
        owner: the patient of every slice, indexed by position.

    Returns:
        Chosen positions, ascending.

    >>> spread_over_patients(np.arange(8), np.array([0, 0, 0, 0, 0, 0, 0, 1]), 3).tolist()
    [1, 5, 7]
    """
    by_patient = [positions[owner[positions] == patient] for patient in np.unique(owner[positions])]
    taken = np.zeros(len(by_patient), dtype=np.int64)
    available = np.array([len(own) for own in by_patient], dtype=np.int64)
    while taken.sum() < min(count, available.sum()):
        open_patients = np.flatnonzero(taken < available)
        taken[open_patients[: count - taken.sum()]] += 1
    # The middles of equal stretches: the first and the last tumour slices are the least telling ones.
    chosen = [
        own[((np.arange(n) + 0.5) * len(own) / n).astype(np.int64)] for own, n in zip(by_patient, taken, strict=True)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else positions


def cached_features(extractor: FeatureExtractor, images: Tensor, cache_dir: Path | None) -> Tensor:
    """(N, D) features of real images (N, C, H, W), kept in ``cache_dir`` (None: not kept)."""
    if cache_dir is None:
        return extractor.features(images)
    path = cache_dir / f"features-{digest([images, extractor.fingerprint])[:32]}.npz"
    try:
        return torch.from_numpy(read_arrays(path)["features"])
    except (OSError, KeyError, ValueError, EOFError, BadZipFile):
        features = extractor.features(images)
        write_arrays(path, {"features": features.numpy()})
        return features


def digest(parts: Sequence[Tensor | str]) -> str:
    """SHA-256 of tensors (values, type and shape) and texts, in hexadecimal digits."""
    made = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            made.update(f"{part.dtype} {tuple(part.shape)}".encode())
            made.update(part.contiguous().numpy().tobytes())
        else:
            made.update(part.encode())
    return made.hexdigest()
