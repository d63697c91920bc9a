"""pylidc, which is built on the LIDC-IDRI archive, as an independent reading of nodules."""

import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage


@contextmanager
def imported_pylidc(home: Path) -> Iterator[Any]:
    """The module; it imports pkg_resources, which setuptools no longer has, for the path of its database."""
    pytest.importorskip("sqlalchemy")
    resources = types.ModuleType("pkg_resources")

    def resource_filename(package: str, name: str) -> str:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        return str(Path(spec.origin).with_name(name))

    resources.resource_filename = resource_filename  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("HOME", str(home))
        patch.setitem(sys.modules, "pkg_resources", resources)
        module = pytest.importorskip("pylidc")
        importlib.import_module("pylidc.utils")
        yield module


def record(kind: type, **values: Any) -> Any:
    """A row of pylidc's tables that belongs to no database; the class itself refuses to set its attributes."""
    made = kind()
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def farthest(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest in-plane distance in pixels from a pixel of one (Z, Y, X) mask to the other mask."""
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        for mask, reference in ((one, other), (other, one)):
            if mask.any():
                assert reference.any()
                worst = max(worst, float(ndimage.distance_transform_edt(~reference)[mask].max()))
    return worst


def consensus_volume(pylidc: Any, clusters: list[list[Any]], shape: tuple[int, ...], low: np.ndarray) -> np.ndarray:
    """(Z, Y, X) mask of the nodules of at least three readers, as pylidc has it."""
    expected = np.zeros(shape, bool)
    for cluster in clusters:
        if len(cluster) >= 3:
            mask, box = pylidc.utils.consensus(cluster, clevel=0.5, ret_masks=False)
            y, x, z = (slice(side.start - first, side.stop - first) for side, first in zip(box, low, strict=True))
            expected[z, y, x] |= mask.transpose(2, 0, 1)
    return expected
