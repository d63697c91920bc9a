"""The doctor's page and ``doctor.json``. They may show patients and their names, and stay in the hospital."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from pydantic_core import to_json

from client.doctor.examination import Duplicate, Examination
from client.doctor.examine import Examined
from client.doctor.pictures import strips
from client.doctor.summary import (
    NOT_JOINED,
    PARTS,
    network_title,
    placing_line,
    size,
    step_sentence,
    task_title,
    verdict,
)
from common.figures.formatting import MISSING, listed, plural, significant
from common.imaging.remarks import TITLES
from common.report.page import Pair, Section, as_yaml, render_page
from common.report.tables import Cell, Table, number, prose, word
from common.system.files import write_bytes

SECTIONS = (
    Section("pictures", "Slices"),
    Section("studies", "What was read"),
    Section("balance", "Class balance"),
    Section("headers", "De-identification"),
    Section("odd", "Duplicates and outliers"),
    Section("quarantine", "Quarantine"),
    Section("unused", "Not used"),
    Section("machine", "Machine and training"),
    Section("network", "Network"),
    Section("part", "Taking part"),
    Section("provenance", "Configuration and versions"),
)
_MOST_ROWS = 300
_DUPLICATES = {
    "same_pixels": "equal voxels",
    "same_slices": "slices equal in every pixel",
    "near_copies": "slices alike, as copies that were saved anew are",
    "similar_names": "names alike but for case or punctuation",
    "shared_stem": "names alike but for the last part, as visits of one patient are",
    "several_studies": "several studies of one patient (kept together)",
}


def write_page(examined: Examined, folder: Path, config: dict[str, object]) -> Path:
    """Writes ``index.html`` and ``doctor.json`` into ``folder``; returns the page's path."""
    found = examined.found
    page = render_page(
        "client.doctor",
        "doctor.html",
        SECTIONS,
        found=found,
        verdict=verdict(found),
        strips=strips(examined.cohort) if examined.cohort else [],
        studies=_studies_table(found) if found.studies else None,
        ratings=_ratings(found),
        every_study=_every_study_table(found) if found.studies else None,
        not_shown=max(0, len(found.studies) - _MOST_ROWS),
        balance=_balance_table(found) if found.parts else None,
        identifying=_counts_table("Fields that may identify, and patients that have them.", found.identifying),
        to_review=_counts_table("Fields to review, and studies that have them.", found.to_review),
        duplicates=_duplicates_table(found.duplicates),
        outliers=_outliers_table(found),
        quarantine=_quarantine_table(found),
        questions=_questions_table(found),
        unused=_unused_table(found),
        placing=placing_line(found),
        machine=_machine_pairs(found),
        network=_network_table(found),
        not_joined=NOT_JOINED,
        steps=[step_sentence(step, found) for step in found.training],
        tasks=listed(map(task_title, found.tasks)),
        preprocessing=[Pair(name.replace("_", " "), _told(value)) for name, value in found.preprocessing.items()],
        config=as_yaml(config),
        versions=[Pair(*pair) for pair in sorted(found.versions.items())],
    )
    write_bytes(folder / "doctor.json", as_json(found))
    write_bytes(folder / "index.html", page.encode())
    return folder / "index.html"


def as_json(found: Examination) -> bytes:
    """``doctor.json``; a figure that is not finite is null, since other readers of JSON do not know it."""
    return to_json(found, indent=1, inf_nan_mode="null", ensure_ascii=True) + b"\n"


def _studies_table(found: Examination) -> Table:
    """Voxels, millimetres and intensities over all studies: median, and the range where it is one."""
    studies = found.studies
    rows = [
        _range_row(f"voxels {along}", [float(study.shape[axis]) for study in studies])
        for axis, along in enumerate(("between slices", "down", "across"))
    ]
    known = [study for study in studies if study.spacing_known]
    rows += [
        _range_row(f"spacing {along}, mm", [study.spacing[axis] for study in known])
        for axis, along in enumerate(("between slices", "down", "across"))
        if known
    ]
    for contrast in sorted({contrast for study in studies for contrast in study.intensities}):
        unit = ", HU" if contrast == "ct" else ""
        for percentile in ("1", "50", "99"):
            values = [study.intensities[contrast][percentile] for study in studies if contrast in study.intensities]
            rows.append(_range_row(f"{contrast}, percentile {percentile}{unit}", values))
    rows.append(_range_row("slices with a tumour", [float(study.tumour_slices) for study in studies]))
    lesions = [study.lesion_mm3 / 1000 for study in studies if study.lesion_mm3]
    if lesions:
        rows.append(_range_row("lesions together, ml", lesions))
    caption = f"{plural(len(studies), 'study', 'studies')} as stored, before preprocessing."
    return Table(caption, ["", "lowest", "median", "highest"], rows)


def _ratings(found: Examination) -> str:
    """Lesions by their rating, where any was rated."""
    rated = Counter(lesion.malignant for study in found.studies for lesion in study.lesions)
    if set(rated) <= {None}:
        return ""
    return (
        f"{plural(sum(rated.values()), 'lesion')}: {rated[True]} rated malignant, {rated[False]} benign, "
        f"{rated[None]} undecided or not rated."
    )


def _range_row(title: str, values: Sequence[float]) -> list[Cell]:
    return [word(title), *(number(_figure(value)) for value in (min(values), median(values), max(values)))]


def _figure(value: float) -> str:
    whole = value == round(value) and abs(value) < 1e6
    return f"{value:.0f}".replace("-", "\N{MINUS SIGN}") if whole else significant(value)


def _every_study_table(found: Examination) -> Table:
    rows = []
    for study in found.studies[:_MOST_ROWS]:
        z, y, x = study.shape
        spacing = " x ".join(f"{step:.3g}" for step in study.spacing) if study.spacing_known else MISSING
        brightness = "; ".join(
            f"{contrast} {_figure(values['1'])} to {_figure(values['99'])}"
            for contrast, values in study.intensities.items()
        )
        rows.append(
            [
                word(study.patient),
                word(study.modality),
                word(f"{z} x {y} x {x}"),
                word(spacing),
                word(brightness),
                number(study.tumour_slices),
                word("yes" if study.has_mask else "no"),
                prose(study.path),
            ]
        )
    columns = ["patient", "modality", "voxels", "mm", "percentiles 1 to 99", "tumour slices", "mask", "where"]
    return Table("Each study that could be read; voxels and millimetres along z, y, x.", columns, rows)


def _balance_table(found: Examination) -> Table:
    rows = [
        [
            word(PARTS[part]),
            number(balance.patients),
            number(balance.with_tumour),
            number(balance.slices),
            number(balance.tumour_slices),
            number(f"{balance.tumour_slices / balance.slices:.0%}" if balance.slices else None),
        ]
        for part, balance in found.parts.items()
        if part != "unused" or balance.patients
    ]
    columns = ["part", "patients", "with a tumour", "slices", "with a tumour", "share"]
    return Table("Patients and prepared slices by part of the study's split.", columns, rows)


def _counts_table(caption: str, counts: dict[str, int]) -> Table | None:
    rows = [[word(field), number(count)] for field, count in counts.items()]
    return Table(caption, ["field", "how many"], rows) if rows else None


def _duplicates_table(duplicates: Sequence[Duplicate]) -> Table | None:
    rows = [
        [
            word(_DUPLICATES[duplicate.kind]),
            word(listed(dict.fromkeys(study.patient for study in duplicate.studies))),
            prose("; ".join(dict.fromkeys(study.path for study in duplicate.studies))),
        ]
        for duplicate in duplicates[:_MOST_ROWS]
    ]
    return Table("Studies or patients that may be one.", ["what", "patients", "where"], rows) if rows else None


def _outliers_table(found: Examination) -> Table | None:
    rows = [
        [word(outlier.patient), word(outlier.what), number(outlier.value), number(outlier.usual), prose(outlier.path)]
        for outlier in found.outliers[:_MOST_ROWS]
    ]
    return Table("Far from this site's median.", ["patient", "what", "value", "usual", "where"], rows) if rows else None


def _quarantine_table(found: Examination) -> Table | None:
    rows = [
        [
            prose(reason.reason),
            number(len(reason.studies)),
            prose(", ".join(dict.fromkeys(study.patient for study in reason.studies[:_MOST_ROWS]))),
        ]
        for reason in found.quarantine
    ]
    return Table("Studies that were left out, by reason.", ["reason", "studies", "patients"], rows) if rows else None


def _questions_table(found: Examination) -> Table | None:
    rows = [
        [word(one.about), number(one.count), prose(", ".join(one.examples)), word(", ".join(one.options))]
        for one in found.questions
    ]
    columns = ["holds", "studies", "for example", "options that answer it"]
    return Table("Studies that would count as tumour-free, and what they hold.", columns, rows) if rows else None


def _unused_table(found: Examination) -> Table | None:
    rows = [
        [word(TITLES[one.kind]), word(one.what), number(one.count), prose(", ".join(one.examples))]
        for one in found.unused[:_MOST_ROWS]
    ]
    caption = "What of the files was not taken up, or was read on a guess; files and slices, otherwise studies."
    return Table(caption, ["kind", "what", "how many", "for example"], rows) if rows else None


def _machine_pairs(found: Examination) -> list[Pair]:
    machine = found.machine
    if machine is None:
        return []
    return [
        Pair("device", f"{machine.device} {machine.device_name}".strip()),
        Pair("cache takes", size(machine.cache_bytes)),
        Pair("free beside it", size(machine.free_bytes)),
        *(Pair(f"weights {name}", state) for name, state in machine.weights.items()),
    ]


def _network_table(found: Examination) -> Table | None:
    network = found.network
    if network is None:
        return None
    rows = [[word(check.what), word(check.state), prose(check.told)] for check in network.checks]
    return Table(f"The way to the coordinator: {network_title(network)}.", ["what", "state", "found"], rows)


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return MISSING if value is None else str(value)
