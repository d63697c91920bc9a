"""The site report: one page from what the client app left in the hospital. It may show patients and stays there."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from client.report.explanations import explanation_section
from client.report.gallery import kind_groups, missing_kinds, step_rows
from client.report.inputs import FILES, PartCounts, SiteInputs, Summary, read_inputs
from client.report.mistakes import mistakes_table
from client.report.reliability import reliability_charts
from client.report.training import training_groups, training_table
from common.figures.formatting import MISSING, PERCENT, listed, plural, role_titles
from common.imaging.remarks import TITLES
from common.placement import Placement
from common.report.arms import (
    ARM_COLUMNS,
    CONFUSION_COLUMNS,
    Scores,
    arm_rows,
    arms_charts,
    arms_table,
    confusion_rows,
    confusion_tables,
    verdict,
)
from common.report.figures import figure_cell
from common.report.page import Pair, ReportError, Section, as_yaml, render_page
from common.report.privacy import composed_table, epsilon_text, left_out, mechanisms_table, sentences
from common.report.tables import Cell, Table, number, prose, word, write_csv
from common.system.files import write_bytes

SECTIONS = (
    Section("data", "Data and quarantine"),
    Section("gallery", "Real beside synthetic"),
    Section("arms", "Does it help: the arms"),
    Section("mistakes", "The worst mistakes"),
    Section("explanations", "What the classifiers look at"),
    Section("cross-site", "Other models here"),
    Section("training", "Training"),
    Section("privacy", "Privacy"),
    Section("limits", "Limits"),
    Section("provenance", "Configuration and versions"),
)

_NAMES = {"examples": "weight in averages, where every site declares its own", "examples_of": "which is its number of"}
LOCAL, FEDERATED = "this site alone", "in federation"


def build_site_report(site_dir: Path) -> Path:
    """Writes ``site_dir/report/`` from ``site_dir/results/``.

    The folder then holds ``index.html``, ``results.json`` (the same figures), ``arms.csv``, ``confusion.csv`` and a
    copy of ``predictions.csv``, in which names of patients that begin like a formula are marked as text. A part that is
    missing or unreadable is named on the page with the reason. In simulation
    (``site_dir`` is ``<run>/sites/<site>``) the page links to the study report of that run.

    Returns:
        The path of ``index.html``.

    Raises:
        ReportError: if there is no ``results`` folder or none of its files.
    """
    folder = site_dir / "results"
    if not any((folder / name).exists() for name in FILES.values()):
        raise ReportError(f"{folder}: no results of a site there; give the folder of a site that took part in a study")
    inputs = read_inputs(folder)
    summary = inputs.summary
    scopes: dict[str, Scores] = {FEDERATED: inputs.federated_arms, LOCAL: inputs.arms}
    scopes = {scope: scores for scope, scores in scopes.items() if scores}
    page = render_page(
        "client.report",
        "site.html",
        SECTIONS,
        name=summary.site if summary else site_dir.name,
        summary=summary,
        absent=inputs.absent,
        done=_done(inputs),
        counts=_counts_table(summary) if summary else None,
        quarantine=_quarantine_table(summary) if summary and summary.quarantine else None,
        unused=_unused_table(summary) if summary and summary.unused else None,
        declared=_pairs(summary.declared, missing="not declared") if summary else [],
        preprocessing=_pairs(summary.preprocessing) if summary else [],
        steps=step_rows(inputs.steps),
        groups=kind_groups(inputs.gallery),
        places=_places_table(inputs.places) if inputs.places else None,
        missing_kinds=missing_kinds(inputs.gallery) if inputs.gallery else [],
        arms_charts=arms_charts(scopes),
        arms_tables=[
            {
                "title": scope,
                "table": arms_table(_arms_caption(scope), scores),
                "reliability": reliability_charts(scores),
                "confusions": confusion_tables(scores),
            }
            for scope, scores in scopes.items()
        ],
        mistakes=mistakes_table(inputs.predictions),
        explained=explanation_section(inputs.explanations),
        cross_site=_cross_site_table(inputs),
        training=training_groups(inputs.training),
        training_table=training_table(inputs.training) if inputs.training else None,
        privacy=_privacy(inputs),
        limits=_limits(inputs),
        config=as_yaml(summary.config) if summary and summary.config else "",
        versions=[Pair(*pair) for pair in sorted(summary.versions.items())] if summary else [],
        study_report=_study_report(site_dir),
    )
    report = site_dir / "report"
    write_bytes(report / "results.json", to_json(inputs.figures(), indent=2, inf_nan_mode="null"))
    told = {"local": inputs.arms, "federated": inputs.federated_arms}
    write_csv(report / "arms.csv", ARM_COLUMNS, arm_rows(told))
    write_csv(report / "confusion.csv", CONFUSION_COLUMNS, confusion_rows(told))
    if inputs.predictions:
        with (folder / FILES["predictions"]).open(newline="", encoding="utf-8") as file:
            predictions = csv.DictReader(file)
            write_csv(report / FILES["predictions"], predictions.fieldnames or [], predictions)
    write_bytes(report / "index.html", page.encode())
    return report / "index.html"


def _done(inputs: SiteInputs) -> list[str]:
    """What this site did and what came of it, in a few sentences."""
    summary = inputs.summary
    if summary is None:
        return ["What this site did is not known: " + inputs.absent["summary"]]
    counts = summary.patients
    parts = (("training", counts.train), ("validation", counts.validation), ("testing", counts.test))
    counted = listed(f"{count} for {part}" for part, count in parts if count)
    roles = role_titles(summary.roles) or "an unrecorded role"
    left_out = (
        f"{plural(len(summary.quarantine), 'study was', 'studies were')} left out as unusable, for the reasons below."
        if summary.quarantine
        else "No study was left out."
    )
    sentences = [
        f"In the study {summary.run or 'at hand'}, {summary.site} took part in {roles} with {summary.organ} "
        f"{summary.modality} of its patients: {counted or 'their number was not recorded'}. {left_out}"
    ]
    for scope, scores in ((FEDERATED, inputs.federated_arms), (LOCAL, inputs.arms)):
        if "real" in scores and "real_synthetic" in scores:
            real, augmented = (PERCENT.interval(scores[arm].get("accuracy")) for arm in ("real", "real_synthetic"))
            where = "Trained in federation" if scope == FEDERATED else "Trained at this site alone"
            sentences.append(
                f"{where}, the classifier's accuracy on this site's test patients was "
                f"{real} with real images and {augmented} with real and synthetic ones: real + synthetic is "
                f"{verdict(scores)}."
            )
    if not inputs.arms and not inputs.federated_arms:
        sentences.append("No classifier was scored on this site's test patients.")
    return sentences


def _counts_table(summary: Summary) -> Table:
    def row(title: str, counts: PartCounts) -> list[Cell]:
        values = (counts.train, counts.validation, counts.test)
        total = None if None in values else sum(v for v in values if v is not None)
        return [word(title), *(number(value) for value in (*values, total))]

    rows = [
        row("patients", summary.patients),
        row("slices", summary.slices),
        row("slices with a tumour", summary.tumour_slices),
    ]
    return Table("What was read, by part of the split.", ["", "training", "validation", "test", "all"], rows)


def _quarantine_table(summary: Summary) -> Table:
    rows = [[word(study.patient), prose(study.reason)] for study in summary.quarantine]
    return Table(f"Left out: {plural(len(rows), 'study', 'studies')}.", ["patient", "reason"], rows)


def _unused_table(summary: Summary) -> Table:
    rows = [
        [word(TITLES[one.kind]), word(one.what), number(one.count), prose(", ".join(one.examples))]
        for one in summary.unused
    ]
    caption = "What of the files was not taken up, or was read on a guess; files and slices, otherwise studies."
    return Table(caption, ["kind", "what", "how many", "for example"], rows)


def _places_table(places: Mapping[str, Placement]) -> Table:
    rows = [
        [
            word(name.replace("_", " ")),
            number(one.lesions),
            number(one.wholly_inside),
            word(f"{one.pixels_inside / max(1, one.pixels):.1%}"),
            number(one.moved_on),
        ]
        for name, one in places.items()
    ]
    return Table(
        "Lesions that were put into healthy slices: how many lie in the organ, or the head where that is the organ, to "
        "the last pixel, how many of their pixels do, and how often a slice had no room and gave way to another.",
        ["images", "lesions", "wholly inside", "pixels inside", "no room"],
        rows,
    )


def _arms_caption(scope: str) -> str:
    trained = "in federation with the other sites" if scope == FEDERATED else "at this site alone"
    return (
        f"Classifiers trained {trained}, scored on this site's test patients. With 95% interval, bootstrapped "
        "over patients; slices at probability 0.5; steps of the optimiser."
    )


def _cross_site_table(inputs: SiteInputs) -> Table | None:
    if not inputs.cross_site:
        return None
    own = inputs.summary.site if inputs.summary else ""
    rows = [
        [
            word("in federation" if model == "federated" else f"{model} (this site)" if model == own else model),
            figure_cell(scores.get("auc")),
            figure_cell(scores.get("accuracy")),
        ]
        for model, scores in inputs.cross_site.items()
    ]
    return Table(
        "Models of this and other sites on this site's test patients; mean with 95% interval over patients.",
        ["model trained at", "AUC", "accuracy"],
        rows,
    )


def _privacy(inputs: SiteInputs) -> dict[str, Any] | None:
    """What this study cost here, and what is left of the hospital's budget."""
    account = inputs.privacy
    if account is None:
        return None
    name = inputs.summary.site if inputs.summary else "this site"
    stated = {name: account.statement}
    left = max(0.0, account.cap - account.spent)
    return {
        "sentences": [
            *sentences(stated),
            f"At the end of this study, epsilon {epsilon_text(account.spent)} of the hospital's cap of {account.cap:g} "
            f"was spent over all studies ({epsilon_text(account.spent_prv)} by the tighter accountant); "
            f"{epsilon_text(left)} was left. oncofed-client budget shows how it stands now.",
        ],
        "composed": composed_table(stated),
        "mechanisms": mechanisms_table(stated),
        "not_covered": left_out(),
    }


def _limits(inputs: SiteInputs) -> list[str]:
    found = []
    summary = inputs.summary
    if summary and summary.demo_cohort:
        found.append(
            "The patients are those of the demo cohort: deformations of one anatomy for each organ, with lesions drawn "
            "into them. Similarity and memorisation figures are optimistic on it, and no figure here says anything "
            "about clinical data."
        )
    tests = summary.patients.test if summary else None
    if tests is not None:
        found.append(f"Every figure rests on {plural(tests, 'test patient')} of one site.")
    found += [
        "Intervals are bootstrapped over patients, because slices of one patient are alike. Those of two arms are not "
        "paired: overlapping intervals show no difference, which is not the same as showing that there is none.",
        "A synthetic slice carries the surroundings of a real patient. It is for training at this site and is no "
        "anonymised image.",
        "A slice counts as tumour by the number of its tumour pixels; no radiologist has read the synthetic images.",
    ]
    return found


def _pairs(tree: dict[str, Any], missing: str = MISSING) -> list[Pair]:
    def told(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key} {told(inner)}" for key, inner in value.items())
        if isinstance(value, (list, tuple)):
            return ", ".join(told(inner) for inner in value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        return missing if value is None else str(value)

    return [Pair(_NAMES.get(key, key.replace("_", " ")), told(value)) for key, value in tree.items()]


def _study_report(site_dir: Path) -> str | None:
    """A link to the study report, where this site was simulated beside the coordinator."""
    resolved = site_dir.resolve()
    run = resolved.parent.parent
    simulated = resolved.parent.name == "sites" and (run / "results.json").exists()
    return "../../../report/index.html" if simulated else None
