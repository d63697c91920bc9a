"""The real side of a comparison: features of reference slices, computed once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor

from common.features.extractor import FeatureExtractor
from common.system.array_files import read_arrays, write_arrays


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
