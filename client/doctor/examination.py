"""What the doctor found, typed: the content of ``doctor.json``, from which the page and the summary are made."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from common.imaging.listing import as_text
from common.imaging.remarks import Kind
from common.placement import Placement


class Finding(BaseModel):
    """Base of the parts."""

    model_config = ConfigDict(extra="forbid")


class PartBalance(Finding):
    """One part of the split: how many patients and slices, and how many of them with a tumour."""

    patients: int
    with_tumour: int
    slices: int
    tumour_slices: int


class LesionRow(Finding):
    """One lesion that the data set tells apart: readers who marked it, and their median rating, 1 to 5."""

    volume_mm3: float
    readers: int
    malignancy: float | None
    malignant: bool | None


class StudyRow(Finding):
    """One study as it was read.

    Attributes:
        shape, spacing: along (z, y, x), in voxels and millimetres.
        intensities: contrast -> percentile -> value as stored (CT: HU).
        digest: of the voxels.
    """

    patient: str
    path: str
    modality: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    spacing_known: bool
    intensities: dict[str, dict[str, float]]
    has_mask: bool
    tumour_slices: int
    lesion_mm3: float
    lesions: list[LesionRow]
    identifying: list[str]
    digest: str


class Named(Finding):
    """A study by its patient's name and its path."""

    patient: str
    path: str


class QuarantineReason(Finding):
    """Why studies were left out, and which."""

    reason: str
    studies: list[Named]


class Unused(Finding):
    """Something that was not taken up, or was read on a guess; see :class:`common.imaging.remarks.Tally`."""

    kind: Kind
    what: str
    count: int
    examples: list[str]


class Unanswered(Finding):
    """What the hospital has to say before studies can be used; see :class:`common.imaging.remarks.OpenQuestion`."""

    about: str
    options: list[str]
    count: int
    examples: list[str]


DuplicateKind = Literal["same_pixels", "same_slices", "near_copies", "similar_names", "shared_stem", "several_studies"]


class Duplicate(Finding):
    """Studies or patients that may be one.

    Attributes:
        kind: ``same_pixels`` (two studies have equal voxels), ``same_slices`` (patients with a slice in common, equal
            in every pixel), ``near_copies`` (the same, saved anew), ``similar_names`` (names that differ in case or
            punctuation only), ``shared_stem`` (names that look like visits of one patient), ``several_studies`` (of
            one patient; they are kept together).
    """

    kind: DuplicateKind
    studies: list[Named]


class Outlier(Finding):
    """A study that differs from what is usual at this site, in words."""

    patient: str
    path: str
    what: str
    value: str
    usual: str


class Machine(Finding):
    """Where a study would run.

    Attributes:
        cache_bytes: what the prepared slices take.
        free_bytes: left on the disk that holds them.
        device: as ``site.yaml`` names it.
        weights: name of each file that the study needs here -> ``found``, ``to download``, or what is wrong.
    """

    cache_dir: str
    cache_bytes: int
    free_bytes: int
    device: str
    device_name: str
    weights: dict[str, str]


class TrainingStep(Finding):
    """One step of one network on this site's slices; ``problem`` is empty if it went well."""

    network: str
    problem: str
    losses: dict[str, float] = {}
    seconds: float = 0.0
    peak_memory_mib: float = 0.0


class NetworkCheck(Finding):
    """One thing that a node needs to reach its coordinator.

    Attributes:
        what: e.g. ``name``, ``TLS`` or ``clock``.
        told: what was found, and with a warning or a problem also the way out; no full stop at the end.
    """

    what: str
    state: Literal["good", "warning", "problem"]
    told: str


class Network(Finding):
    """The way to the coordinator; checks that a problem made impossible are left out.

    Attributes:
        federation, address: empty if ``connection.yaml`` cannot be used.
    """

    federation: str
    address: str
    checks: list[NetworkCheck]


class Examination(Finding):
    """Everything. Paths and names are in it: it stays at the site.

    Attributes:
        version: of this layout.
        fit: whether the site can take part.
        problems: why it cannot, in sentences; empty if it can.
        warnings: what somebody should look at, in sentences.
        unused: what of the files was not taken up, or was read on a guess.
        questions: what has to be answered, as studies that may hold tumours would otherwise count as tumour-free.
        answers: the lines of ``site.yaml`` that answer them, to be looked through before they are pasted.
        identifying, to_review: header field -> patients (studies) that have it.
        network: the way to the coordinator; None if the site has not joined a federation.
        places: where lesions would lie that are put into this site's healthy slices; None if none can be.
        tasks, notes: what the site would say of itself at hello.
    """

    version: Literal[1] = 1
    site: str
    study: str
    reader: str
    path: str
    organ: str
    modality: str = ""
    contrasts: list[str] = []
    roles: list[str] = []
    fit: bool = False
    problems: list[str] = []
    warnings: list[str] = []
    patients: int = 0
    patients_known: bool = True
    usable_patients: int = 0
    slices: int = 0
    parts: dict[str, PartBalance] = {}
    studies: list[StudyRow] = []
    quarantine: list[QuarantineReason] = []
    unused: list[Unused] = []
    questions: list[Unanswered] = []
    answers: str = ""
    identifying: dict[str, int] = {}
    identifying_patients: int = 0
    identifying_policy: str = ""
    to_review: dict[str, int] = {}
    duplicates: list[Duplicate] = []
    outliers: list[Outlier] = []
    machine: Machine | None = None
    network: Network | None = None
    places: Placement | None = None
    training: list[TrainingStep] = []
    tasks: list[str] = []
    notes: list[str] = []
    preprocessing: dict[str, object] = {}
    versions: dict[str, str] = {}


def named(patient: str, path: Path) -> Named:
    """A study by its patient's name and its path."""
    return Named(patient=patient, path=as_text(str(path)))


def good(what: str, told: str) -> NetworkCheck:
    """A check that went well."""
    return NetworkCheck(what=what, state="good", told=told)


def warning(what: str, told: str) -> NetworkCheck:
    """A check that somebody should look at."""
    return NetworkCheck(what=what, state="warning", told=told)


def problem(what: str, told: str) -> NetworkCheck:
    """A check that keeps the node from taking part."""
    return NetworkCheck(what=what, state="problem", told=told)
