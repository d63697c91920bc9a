"""Preprocessed slices on disk, one folder a patient, read by memory map.

``<cache_dir>/<key>/<patient hash>/{images,labels,foreground}.npy``, ``organ.npy`` where it differs from the foreground,
and ``index.json``. The key says how they were made;
the index says from which files. A patient's folder is written under another name and renamed when it is whole, so that
whatever is there under its own name is complete.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from common.imaging.facts import StudyFacts
from common.imaging.patient import Quarantined, StudyLocation
from common.imaging.remarks import Tally
from common.imaging.slices import PatientSlices
from common.system.files import write_bytes

SCHEMA = 7
"""Raised whenever preprocessing or the files' layout changes, so that older caches are not taken for current ones."""

ARRAYS = ("images", "labels", "foreground")
ORGAN = "organ"
_INDEX = "index.json"
_STUDIES = "studies.json"
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True)
class PreparedPatient:
    """What the index says of one patient, without opening an array.

    Attributes:
        patient: the site's own name for the patient.
        signature: of the files it was made from.
        has_tumour: at full resolution, so that it does not depend on the image size.
        slices: slices kept; 0 if no study of the patient was usable.
        studies: what is known of each study that could be read; one that is left out all the same included.
        lesion_pixels: lesion pixels of each prepared slice.
        tumour_slices: the class stated for each slice, where the data set does.
        quarantined: the patient's studies that were left out.
        folder: where its arrays lie.
    """

    patient: str
    signature: str
    has_tumour: bool
    slices: int
    studies: tuple[StudyFacts, ...]
    lesion_pixels: tuple[int, ...]
    tumour_slices: tuple[bool, ...] | None
    quarantined: tuple[Quarantined, ...]
    folder: Path = field(default=Path(), compare=False)

    @property
    def has_masks(self) -> bool:
        """Whether its tumours are outlined, it is known to have none, or its slices are sorted by class."""
        return self.tumour_slices is not None or any(study.has_mask for study in self.studies if study.usable)

    @property
    def identifying(self) -> tuple[str, ...]:
        """Header fields of its studies that may identify the person, by keyword."""
        return tuple(sorted({keyword for study in self.studies for keyword in study.identifying}))

    def open(self) -> PatientSlices:
        """The slices, as memory maps."""
        images, labels, foreground = (np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
        organ = self.folder / f"{ORGAN}.npy"
        return PatientSlices(
            patient=self.patient,
            images=images,
            labels=labels,
            foreground=foreground,
            organ=np.load(organ, mmap_mode="r") if organ.exists() else None,
            tumour_slices=None if self.tumour_slices is None else np.asarray(self.tumour_slices, dtype=np.bool_),
            lesion_pixels=np.asarray(self.lesion_pixels, dtype=np.int64),
        )


def cache_key(**parts: Any) -> str:
    """A name for one way of preparing one folder: equal parts, equal name.

    >>> cache_key(size=64) == cache_key(size=64), cache_key(size=64) == cache_key(size=96)
    (True, False)
    """
    text = json.dumps({"schema": SCHEMA, **parts}, sort_keys=True, default=dataclasses.asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PatientCache:
    """The patients prepared in one way.

    Args:
        cache_dir: the folder of all caches; made if missing.
        key: what :func:`cache_key` gave.

    Raises:
        DataError: if the folder cannot be made or written to.
    """

    def __init__(self, cache_dir: Path, key: str) -> None:
        self.folder = cache_dir / key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(cache_dir, error) from error
        for leftover in self.folder.glob(".writing-*"):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)

    def load(self, patient: str, current_signature: str) -> PreparedPatient | None:
        """What is known of a patient; None if it was never prepared, its files changed, or the cache is damaged."""
        folder = self._folder_of(patient)
        try:
            entry = _from_json(json.loads((folder / _INDEX).read_text(encoding="utf-8")), folder)
            if entry.slices and not _fit(_arrays(entry.open()), entry.slices):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError):
            return None
        return entry if entry.signature == current_signature and entry.patient == patient else None

    def store(self, entry: PreparedPatient, slices: PatientSlices | None) -> PreparedPatient:
        """Writes one patient, all or nothing; returns the entry with its folder.

        Raises:
            DataError: if it cannot be written, e.g. because the disk is full.
        """
        target = self._folder_of(entry.patient)
        working = None
        try:
            working = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.folder))
            if slices is not None:
                for name, array in _arrays(slices).items():
                    np.save(working / f"{name}.npy", np.ascontiguousarray(array))
            (working / _INDEX).write_text(json.dumps(_to_json(entry), indent=1), encoding="utf-8")
            # A kill between these two lines loses this patient's old arrays only, and they are out of date.
            shutil.rmtree(target, ignore_errors=True)
            os.replace(working, target)
        except OSError as error:
            raise _unwritable(self.folder.parent, error) from error
        finally:
            if working is not None:
                shutil.rmtree(working, ignore_errors=True)
        return dataclasses.replace(entry, folder=target)

    def found(self, listing: str) -> tuple[list[StudyLocation], tuple[Tally, ...]] | None:
        """The studies, and the files passed over, when the folder looked like ``listing``; None if it has changed."""
        try:
            kept = json.loads((self.folder / _STUDIES).read_text(encoding="utf-8"))
            if kept["listing"] != listing:
                return None
            studies = [
                StudyLocation(some["patient"], Path(some["path"]), tuple(map(Path, some["files"])), some["known"])
                for some in kept["studies"]
            ]
            over = [{**one, "examples": tuple(one["examples"])} for one in kept["passed_over"]]
            return studies, tuple(Tally(**one) for one in over)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def keep_found(self, listing: str, locations: Sequence[StudyLocation], passed_over: Sequence[Tally]) -> None:
        """Remembers what a search found, so that headers need not be read again for each message.

        Raises:
            DataError: if it cannot be written.
        """
        studies = [
            {
                "patient": one.patient,
                "path": str(one.path),
                "files": list(map(str, one.files)),
                "known": one.patient_known,
            }
            for one in locations
        ]
        try:
            kept = {
                "listing": listing,
                "studies": studies,
                "passed_over": [dataclasses.asdict(one) for one in passed_over],
            }
            write_bytes(self.folder / _STUDIES, json.dumps(kept).encode())
        except OSError as error:
            raise _unwritable(self.folder.parent, error) from error

    def _folder_of(self, patient: str) -> Path:
        return self.folder / hashlib.sha256(patient.encode()).hexdigest()[:20]


def _unwritable(cache_dir: Path, error: OSError) -> DataError:
    return DataError(
        f"{cache_dir}: prepared slices cannot be written ({error.strerror or error}); "
        "free some space there, or choose another cache folder"
    )


def _arrays(slices: PatientSlices) -> dict[str, np.ndarray[Any, Any]]:
    arrays: dict[str, np.ndarray[Any, Any]] = {name: getattr(slices, name) for name in ARRAYS}
    return arrays if slices.organ is None else {**arrays, ORGAN: slices.organ}


def _fit(arrays: Mapping[str, np.ndarray[Any, Any]], count: int) -> bool:
    """Whether these are ``count`` slices and nothing else that a file of this name could hold."""
    images = arrays["images"].shape
    return images[:1] == (count,) and all(
        array.dtype.kind in "biuf" and array.shape == (images if name == "images" else (count, *images[2:]))
        for name, array in arrays.items()
    )


def _to_json(entry: PreparedPatient) -> dict[str, Any]:
    values = dataclasses.asdict(entry)
    del values["folder"]
    values["studies"] = [study.to_json() for study in entry.studies]
    values["quarantined"] = [{**dataclasses.asdict(bad), "path": str(bad.path)} for bad in entry.quarantined]
    return values


def _from_json(values: dict[str, Any], folder: Path) -> PreparedPatient:
    stated = values["tumour_slices"]
    return PreparedPatient(
        **{
            **values,
            "studies": tuple(StudyFacts.from_json(study) for study in values["studies"]),
            "lesion_pixels": tuple(values["lesion_pixels"]),
            "tumour_slices": None if stated is None else tuple(stated),
            "quarantined": tuple(
                Quarantined(bad["patient"], Path(bad["path"]), bad["reason"]) for bad in values["quarantined"]
            ),
            "folder": folder,
        }
    )
