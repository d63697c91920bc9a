"""The demo cohort on disk: every site's patients and the coordinator's reference set, made once and kept.

Each site has a folder of its own, named by a hash of all that decides its content. A site that is added, or a scanner
that is changed, leaves the other folders as they are; a second call finds everything and writes nothing.
"""

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from common.config import CohortConfig, SiteConfig
from common.errors import ConfigError, DataError
from simulation.cohort.brain.patient import PatientKey, make_patient
from simulation.cohort.brain.scanner import scanner_named
from simulation.cohort.brain.writing import write_brats_case

VERSION = 8
"""Raise when the same parameters give other pixels: every cached cohort is then made anew."""

REFERENCE_PARTS = ("pretraining", "selection", "final")
"""Parts of the reference set, with different patients: public pre-training, choice of a round, final scores."""

LIMITS = (
    "Every patient is a deformation of one anatomy, an average of 152 healthy young adults, with drawn lesions. "
    "Similarity and memorisation figures are optimistic on it, accuracy says nothing about real patients, "
    "and nothing measured on it is clinical evidence."
)
"""What a report must say beside every figure that was measured on the demo cohort."""

TEMPLATE_NOTICE = {
    "template": "MNI ICBM152 2009a nonlinear symmetric, T1 with grey- and white-matter maps, as shipped in nilearn",
    "notice": "Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, "
    "McGill University. Permission to use, copy, modify, and distribute for any purpose and without fee is granted "
    'provided that this notice appears in all copies; provided "as is" without express or implied warranty.',
    "cite": "Fonov et al. 2011, NeuroImage 54:313-327; Fonov et al. 2009, NeuroImage 47:S102; Collins et al. 1999",
}

Progress = Callable[[int, int, str], None]
"""Called with patients done, patients to make, and the case that was finished."""


@dataclass(frozen=True)
class CohortFolders:
    """Where the demo cohort lies.

    Attributes:
        sites: for each site that uses the demo cohort, a folder of BraTS cases.
        reference: organ -> a folder with the parts ``REFERENCE_PARTS``, each a folder of BraTS cases.
    """

    sites: dict[str, Path]
    reference: dict[str, Path]


@dataclass(frozen=True)
class _Case:
    """One patient still to be made, and where."""

    key: PatientKey
    folder: Path
    partial: Path


def build_cohort(
    cohort: CohortConfig,
    sites: Mapping[str, SiteConfig],
    cache_dir: Path,
    progress: Progress | None = None,
    organs: Sequence[str] = ("brain",),
) -> CohortFolders:
    """Makes what is missing of the demo cohort below ``cache_dir``.

    Args:
        cohort: sizes, seed and number of processes (0: one a core; 1: this process).
        sites: of these, brain sites without a path of their own get patients: ``train + validation + test`` of them,
            or ``external`` where the site only evaluates.
        cache_dir: created if missing.
        progress: called once before the first patient and after each.
        organs: those that a reference set is wanted of.

    Raises:
        ConfigError: for an unknown scanner, a site name that cannot be a folder's, or impossible sizes.
        DataError: if the cohort cannot be written, or a worker process was killed.

    Note:
        Worker processes are spawned, so a script that calls this needs the usual ``if __name__ == "__main__":`` guard
        unless ``cohort.workers`` is 1.
    """
    _check(cohort, sites)
    root = cache_dir / "cohort"
    cases: list[_Case] = []
    folders: dict[str, Path] = {}
    described: dict[Path, dict[str, Any]] = {}
    for name, site in sites.items():
        if site.path is not None or site.organ != "brain":
            continue
        count = cohort.external if site.roles == ["evaluate"] else cohort.train + cohort.validation + cohort.test
        parameters = _parameters(cohort, name, site.scanner, count)
        home = root / f"{name}-{_hash(parameters)}"
        described[home] = parameters
        folders[name] = home / "patients"
        cases += _cases(cohort, f"site/{name}", name, site.scanner, count, home, folders[name])
    parameters = _parameters(cohort, "reference", "reference", cohort.reference)
    reference = root / f"reference-{_hash(parameters)}"
    described[reference] = parameters
    for part in REFERENCE_PARTS:
        cases += _cases(cohort, f"reference/{part}", part, "reference", cohort.reference, reference, reference / part)

    missing = [case for case in cases if not case.folder.is_dir()]
    try:
        for home, parameters in described.items():
            _describe(home, parameters)
        _make(missing, cohort.workers or os.cpu_count() or 1, progress)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that made the demo cohort was killed, often for lack of memory: "
            "run again with cohort.workers=1; finished patients are kept"
        ) from error
    except OSError as error:
        raise DataError(
            f"the demo cohort cannot be written below {root}: {error.strerror or error}; "
            "free some space or set simulation.cache_dir to another folder; finished patients are kept"
        ) from error
    return CohortFolders(folders, {"brain": reference})


def tumour_flags(count: int, share: float) -> list[bool]:
    """Which of ``count`` patients have a tumour: ``share`` of them, spread evenly.

    Any run of consecutive patients holds the share to within one patient, and a patient keeps the flag when more
    patients are added.

    >>> tumour_flags(5, 0.6)
    [True, False, True, False, True]
    """
    # A margin of rounding: 0.7 * 5 is 3.5 in decimal but not always in binary.
    below = [int(i * share + 0.5 + 1e-9) for i in range(count + 1)]
    return [after > before for before, after in pairwise(below)]


def _check(cohort: CohortConfig, sites: Mapping[str, SiteConfig]) -> None:
    for name, site in sites.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ConfigError(f"site.{name}: a site's name may hold letters, digits, '_', '.' and '-' only")
        if site.path is None and site.organ == "brain":
            scanner_named(site.scanner)
            if site.reader != "brats":
                raise ConfigError(
                    f"site.{name}.reader={site.reader}: the demo cohort's brain is written for the reader brats; "
                    f"set site.{name}.reader=brats, or site.{name}.path to data of your own"
                )
    if not 0 <= cohort.tumour_share <= 1:
        raise ConfigError(f"cohort.tumour_share={cohort.tumour_share}: must lie between 0 and 1")
    if cohort.slices < 8:
        raise ConfigError(f"cohort.slices={cohort.slices}: must be at least 8; 155 makes full volumes")
    for key in ("train", "validation", "test", "external", "reference", "workers"):
        if getattr(cohort, key) < 0:
            raise ConfigError(f"cohort.{key}={getattr(cohort, key)}: must not be negative")


def _parameters(cohort: CohortConfig, name: str, scanner: str, patients: int) -> dict[str, Any]:
    """Everything that decides one folder's content."""
    return {
        "generator": "oncofed demo cohort, brain",
        "version": VERSION,
        "name": name,
        "seed": cohort.seed,
        "scanner": scanner,
        "patients": patients,
        "slices": cohort.slices,
        "tumour_share": cohort.tumour_share,
    }


def _hash(parameters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]


def _cases(
    cohort: CohortConfig, owner: str, label: str, scanner: str, count: int, home: Path, folder: Path
) -> Iterator[_Case]:
    for index, tumour in enumerate(tumour_flags(count, cohort.tumour_share)):
        case = f"Demo_{label}_{index:04d}"
        key = PatientKey(cohort.seed, owner, index, scanner, tumour, cohort.slices)
        yield _Case(key, folder / case, home / "partial" / f"{case}-{os.getpid()}")


def _describe(home: Path, parameters: Mapping[str, Any]) -> None:
    """Writes ``cohort.json`` unless it is there, and removes what an interrupted build left half-made."""
    path = home / "cohort.json"
    if not path.is_file():
        home.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**parameters, "limits": LIMITS, "anatomy": TEMPLATE_NOTICE}, indent=2)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text + "\n", encoding="utf-8")
        os.replace(draft, path)
    for leftover in (home / "partial").glob("*"):
        # A younger one may belong to another build that runs now.
        if time.time() - leftover.stat().st_mtime > 3600:
            shutil.rmtree(leftover, ignore_errors=True)


def _make(cases: Sequence[_Case], workers: int, progress: Progress | None) -> None:
    """Makes ``cases``, in this process or in several."""
    if not cases:
        return
    if progress:
        progress(0, len(cases), "")
    for done, name in enumerate(_finished(cases, min(workers, len(cases))), start=1):
        if progress:
            progress(done, len(cases), name)
    for partial in {case.partial.parent for case in cases}:
        if partial.is_dir() and not any(partial.iterdir()):
            partial.rmdir()


def _finished(cases: Sequence[_Case], workers: int) -> Iterator[str]:
    """Names of the cases as they are finished."""
    if workers == 1:
        yield from map(_make_case, cases)
        return
    # Spawned, not forked: the caller may have used torch, whose threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running: set[Future[str]] = {pool.submit(_make_case, case) for case in cases}
        try:
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield future.result()
        finally:
            # After an error or Ctrl-C only the patients in work are finished.
            pool.shutdown(wait=True, cancel_futures=True)


def _make_case(case: _Case) -> str:
    """Runs in a worker process."""
    case.folder.parent.mkdir(parents=True, exist_ok=True)
    volumes = make_patient(case.key)
    partial = case.partial.with_name(f"{case.folder.name}-{os.getpid()}")
    write_brats_case(case.folder, partial, volumes.images, volumes.labels, volumes.first_slice)
    return case.folder.name
