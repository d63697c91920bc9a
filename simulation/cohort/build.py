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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from common.errors import ConfigError, DataError
from common.study.allowed import require_allowed
from common.study.progress import Listener, piece_done
from common.study.simulated import CohortConfig, SiteConfig
from simulation.cohort.ct.anatomy import ANATOMY, fetch_ct_anatomies
from simulation.cohort.key import PatientKey
from simulation.cohort.organs import demo_organ

REFERENCE_PARTS = ("pretraining", "selection", "final")
"""Parts of the reference set, with different patients: public pre-training, choice of a round, final scores."""


@dataclass(frozen=True)
class CohortFolders:
    """Where the demo cohort lies.

    Attributes:
        sites: for each site that uses the demo cohort, a folder of cases in the format of its organ's reader.
        reference: organ -> a folder with the parts ``REFERENCE_PARTS``, each such a folder of cases.
        organs: the organ of each of ``sites``.
    """

    sites: dict[str, Path]
    reference: dict[str, Path]
    organs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Case:
    """One patient still to be made, and where."""

    organ: str
    key: PatientKey
    folder: Path
    partial: Path
    anatomy: Path | None


def build_cohort(
    cohort: CohortConfig,
    sites: Mapping[str, SiteConfig],
    cache_dir: Path,
    progress: Listener | None = None,
    organs: Sequence[str] = ("brain",),
) -> CohortFolders:
    """Makes what is missing of the demo cohort below ``cache_dir``.

    Args:
        cohort: sizes, seed and number of processes (0: one a core; 1: this process).
        sites: of these, sites without a path of their own get patients: ``train + validation + test`` of them, or
            ``external`` where the site only evaluates.
        cache_dir: created if missing.
        progress: called once before the first patient and after each.
        organs: those that a reference set is wanted of.

    Raises:
        ConfigError: for an unknown organ, scanner or reader, a site name that cannot be a folder's, or impossible
            sizes.
        AnatomyUnavailableError: if there are patients of the lung or liver to make and their anatomy cannot be had.
        DataError: if the cohort cannot be written, or a worker process was killed.

    Note:
        Worker processes are spawned, so a script that calls this needs the usual ``if __name__ == "__main__":`` guard
        unless ``cohort.workers`` is 1.
    """
    check_demo(cohort, sites, organs)
    root = cache_dir / "cohort"
    cases: list[_Case] = []
    folders: dict[str, Path] = {}
    described: dict[Path, tuple[str, dict[str, Any]]] = {}
    demo = {name: site for name, site in sites.items() if site.path is None}
    for name, site in demo.items():
        count = patients_of(cohort, site)
        parameters = _parameters(cohort, site.organ, name, site.scanner, count)
        home = root / f"{name}-{_hash(parameters)}"
        described[home] = site.organ, parameters
        folders[name] = home / "patients"
        cases += _cases(cohort, site.organ, f"site/{name}", name, site.scanner, count, home, folders[name])
    references: dict[str, Path] = {}
    for organ in organs:
        parameters = _parameters(cohort, organ, "reference", "reference", cohort.reference)
        # The first organ's folder keeps the name that it had when it was the only one.
        home = references[organ] = root / f"reference{'' if organ == 'brain' else f'-{organ}'}-{_hash(parameters)}"
        described[home] = organ, parameters
        for part in REFERENCE_PARTS:
            cases += _cases(cohort, organ, f"reference/{part}", part, "reference", cohort.reference, home, home / part)

    missing = [case for case in cases if not case.folder.is_dir()]
    if any(demo_organ(case.organ).needs_ct_anatomy for case in missing):
        anatomy = fetch_ct_anatomies(cache_dir).folder
        missing = [replace(case, anatomy=anatomy) for case in missing]
    try:
        for home, description in described.items():
            _describe(home, *description)
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
    return CohortFolders(folders, references, {name: site.organ for name, site in demo.items()})


def patients_of(cohort: CohortConfig, site: SiteConfig) -> int:
    """How many demo patients a site gets."""
    return cohort.external if site.roles == ["evaluate"] else cohort.train + cohort.validation + cohort.test


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


def check_demo(
    cohort: CohortConfig, sites: Mapping[str, SiteConfig], organs: Sequence[str], section: str = "site"
) -> None:
    """Refuses what :func:`build_cohort` could not make; raises ``ConfigError`` as it does.

    Args:
        section: of the configuration, in which ``sites`` stand.
    """
    for organ in organs:
        demo_organ(organ)
    for name, site in sites.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ConfigError(f"{section}.{name}: a site's name may hold letters, digits, '_', '.' and '-' only")
        if site.path is not None:
            continue
        demo = demo_organ(site.organ)
        if site.scanner not in demo.scanners:
            raise ConfigError(
                f"{section}.{name}.scanner={site.scanner}: known scanners of the demo cohort are "
                f"{', '.join(demo.scanners)}"
            )
        if site.reader != demo.reader:
            raise ConfigError(
                f"{section}.{name}.reader={site.reader}: the demo cohort's {site.organ} is written for the reader "
                f"{demo.reader}; set {section}.{name}.reader={demo.reader}, or {section}.{name}.path to your own data"
            )
    require_allowed(cohort, "cohort.")


def _parameters(cohort: CohortConfig, organ: str, name: str, scanner: str, patients: int) -> dict[str, Any]:
    """Everything that decides one folder's content."""
    parameters = {
        "generator": f"oncofed demo cohort, {organ}",
        "version": demo_organ(organ).version,
        "name": name,
        "seed": cohort.seed,
        "scanner": scanner,
        "patients": patients,
        "slices": cohort.slices,
        "tumour_share": cohort.tumour_share,
    }
    return {**parameters, "anatomy": ANATOMY} if demo_organ(organ).needs_ct_anatomy else parameters


def _hash(parameters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]


def _cases(
    cohort: CohortConfig, organ: str, owner: str, label: str, scanner: str, count: int, home: Path, folder: Path
) -> Iterator[_Case]:
    for index, tumour in enumerate(tumour_flags(count, cohort.tumour_share)):
        case = f"Demo_{label}_{index:04d}"
        key = PatientKey(cohort.seed, owner, index, scanner, tumour, cohort.slices)
        yield _Case(organ, key, folder / case, home / "partial" / f"{case}-{os.getpid()}", None)


def _describe(home: Path, organ: str, parameters: Mapping[str, Any]) -> None:
    """Writes ``cohort.json`` unless it is there, and removes what an interrupted build left half-made."""
    path, made = home / "cohort.json", demo_organ(organ)
    if not path.is_file():
        home.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**parameters, "limits": made.limits, "anatomy": made.anatomy}, indent=2)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text + "\n", encoding="utf-8")
        os.replace(draft, path)
    for leftover in (home / "partial").glob("*"):
        # A younger one may belong to another build that runs now.
        if time.time() - leftover.stat().st_mtime > 3600:
            shutil.rmtree(leftover, ignore_errors=True)


def _make(cases: Sequence[_Case], workers: int, progress: Listener | None) -> None:
    """Makes ``cases``, in this process or in several."""
    if not cases:
        return
    if progress:
        progress(piece_done(0, len(cases), ""))
    for done, name in enumerate(_finished(cases, min(workers, len(cases))), start=1):
        if progress:
            progress(piece_done(done, len(cases), name))
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
    partial = case.partial.with_name(f"{case.folder.name}-{os.getpid()}")
    demo_organ(case.organ).make_case(case.key, case.folder, partial, case.anatomy)
    return case.folder.name
