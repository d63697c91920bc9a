"""One patient at two sites counts twice, or tests what has seen it: looked for before anything is trained.

First by the folders that sites name, then, once their studies are read, by the patients' names and voxels.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from client.data.near_copies import copies
from common.errors import ConfigError
from common.figures.formatting import plural
from common.imaging.cohort import PreparedCohort
from common.study.experiment import Experiment
from common.study.progress import StudyProgress
from common.study.simulated import SiteConfig

IMAGES = "image_folder"
"""The reader of single images; a volume is known by its voxels."""

Copies = list[tuple[str, str]]
"""(patient of one site, patient of the other) whose images are the same."""


def require_own_folders(experiment: Experiment) -> None:
    """Refuses sites whose folders are the same, or lie in each other, by whatever way they are named.

    The sites of one partition share a folder, and have different patients of it.

    Args:
        experiment: with absolute paths.

    Raises:
        ConfigError: naming both sites and the key.
    """
    for (one, first), (other, second) in combinations(sorted(experiment.site.items()), 2):
        if first.path is None or second.path is None or _same_partition(first, second):
            continue
        if how := _overlap(Path(first.path), Path(second.path)):
            raise ConfigError(
                f"{_key(one, first)}={first.path} and {_key(other, second)}={second.path}: {how}, so patients of "
                f"{one} are patients of {other} too: they would count twice, or test what has learnt from them. Name "
                "folders of different patients, or share one folder out with a partition, e.g. "
                f"+partition.shared={{reader: {first.reader}, organ: {first.organ}, path: {first.path}, sites: 2}}"
            )


def _key(name: str, site: SiteConfig) -> str:
    return f"site.{name}.path" if site.partition is None else f"partition.{site.partition}.path"


def _same_partition(first: SiteConfig, second: SiteConfig) -> bool:
    return first.partition is not None and first.partition == second.partition


def _overlap(one: Path, other: Path) -> str:
    """How two folders share files; empty if they do not. Compared as the disk knows them: links and mounts count."""
    if _identity(one) == _identity(other):
        return "are the same folder"
    for inner, outer in ((one, other), (other, one)):
        if any(_identity(above) == _identity(outer) for above in inner.resolve().parents):
            return "lie in each other"
    return ""


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        status = os.stat(path)
    except OSError:
        return str(path.resolve())
    return status.st_dev, status.st_ino


def require_own_patients(
    experiment: Experiment, cohorts: Mapping[str, PreparedCohort], progress: StudyProgress
) -> None:
    """Refuses two sites of one organ that hold the same images, under whatever names.

    Equal names alone are no reason: two hospitals' P01 are different persons. They are told.

    Args:
        experiment: the study.
        cohorts: site -> its patients.

    Raises:
        ConfigError: naming both sites, a patient and the key.
    """
    for one, other in combinations(sorted(cohorts), 2):
        first, second = experiment.site[one], experiment.site[other]
        if first.organ != second.organ:
            continue
        if same := _same_images(cohorts[one], cohorts[other]):
            raise ConfigError(_refused(one, other, same, experiment))
        if first.reader == second.reader == IMAGES and (alike := _alike(cohorts[one], cohorts[other])):
            mine, theirs = alike[0]
            progress.message(
                f"{one} and {other}: images of {plural(len(alike), 'pair')} of patients look like copies of each "
                f"other, e.g. {mine} of {one} and {theirs} of {other}; if they are, take them out of one of the "
                "folders: they would count twice, or test what has learnt from them"
            )
        shared = _names(cohorts[one]) & _names(cohorts[other])
        demo = first.path is None and second.path is None
        if shared and cohorts[one].patients_known and cohorts[other].patients_known and not demo:
            progress.message(
                f"{one} and {other}: {plural(len(shared), 'patient has a name', 'patients have names')} that the other "
                f"site has too, e.g. {min(shared)}, with other images; they count as different persons. If they are "
                "the same, take them out of one of the folders"
            )


def _refused(one: str, other: str, same: Copies, experiment: Experiment) -> str:
    mine, theirs = same[0]
    partition = experiment.site[one].partition
    if partition is not None and partition == experiment.site[other].partition:
        return (
            f"{one} and {other} hold the same images under two names, {mine} and {theirs}: they would count twice, or "
            f"test what has learnt from them. partition.{partition}.duplicates=join gives such patients to one site"
        )
    example = f"{mine} of both" if mine == theirs else f"{mine} of {one} is {theirs} of {other}"
    keys = " and ".join(dict.fromkeys(_key(name, experiment.site[name]) for name in (one, other)))
    return (
        f"{one} and {other} hold the same images of {plural(len(same), 'patient')}, e.g. {example}: they would count "
        f"twice, or test what has learnt from them. Name folders of different patients in {keys}, take the copies out "
        "of one of them, or share one folder out with a partition (+partition.<name>.path)"
    )


def _same_images(first: PreparedCohort, second: PreparedCohort) -> Copies:
    here = dict(_digests(first))
    pairs = {(here[digest], name) for digest, name in _digests(second) if digest in here}
    return sorted(pairs, key=lambda pair: (pair[0] != pair[1], pair))


def _alike(first: PreparedCohort, second: PreparedCohort) -> Copies:
    """Patients whose single images were saved anew, or are sorted into patients otherwise: no study is equal."""
    patients = [(mark, patient) for mark, cohort in (("1", first), ("2", second)) for patient in cohort.patients]
    opened = (replace(patient.open(), patient=f"{mark}{patient.patient}") for mark, patient in patients)
    pairs = copies(opened, sum(patient.slices for _, patient in patients))
    return [(pair.one[1:], pair.other[1:]) for pair in pairs if pair.one[0] != pair.other[0]]


def _digests(cohort: PreparedCohort) -> Iterator[tuple[str, str]]:
    for patient in cohort.patients:
        yield from ((study.digest, patient.patient) for study in patient.studies if study.usable)


def _names(cohort: PreparedCohort) -> set[str]:
    return {patient.patient for patient in cohort.patients}
