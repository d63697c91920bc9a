"""What a site says of itself at hello: what it has, what it can take part in, and only the counts it declares."""

from dataclasses import asdict
from typing import Literal

import numpy as np

from client.data.begun import CAME_LATER
from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.hello.notes import Notes
from client.hello.shared_patients import patient_tokens
from client.hello.step_pictures import keep_step_pictures
from client.hello.tasks import possible_tasks
from client.policy.rules import allowed_tasks
from client.privacy.admission import silently, tasks_are_private_enough
from client.privacy.coordinators_copy import heed
from client.privacy.guarded import public_examples, tells_counts
from client.privacy.slices import kept_here
from common.imaging.remarks import counted_by_kind
from common.protocol.records import SiteHello
from common.system.files import write_json
from common.system.versions import installed_versions


def declared_examples(data: SiteData) -> int:
    """The site's weight in averages where all declare one: its training slices if it declares counts, otherwise 1.

    With patients as the unit of privacy, and at a site with a privacy budget: its declared number of patients.
    """
    if data.study.guarded:
        return public_examples(data.study)
    return 1 if examples_of(data.study) is None else max(1, len(kept_here(data)))


def examples_of(study: StudyContext) -> Literal["slices", "patients"] | None:
    """What :func:`declared_examples` is a number of; None where the site declares none."""
    settings = study.settings
    if not settings.declare_counts or "train" not in settings.roles:
        return None
    if study.guarded:
        return "patients" if settings.privacy is not None else None
    return "slices"


def introduce(data: SiteData, work: WorkFolder, witness: str = "") -> SiteHello:
    """The site's introduction; also keeps a full summary among its own results.

    Args:
        witness: what the coordinator brings back of this site's privacy ledger.
    """
    settings, cohort = data.study.settings, data.cohort
    heed(settings, witness)
    # Not which hours: they say when nobody watches the machine.
    notes = Notes(["it works within its hospital's hours only"] if settings.hours is not None else [])
    tasks = allowed_tasks(data, possible_tasks(data, notes), notes)
    if not tasks_are_private_enough(data, work, notes):
        # Without a budget there is no roster: who tests would be the study's choice.
        evaluates = settings.privacy is not None or not data.study.private
        tasks = [task for task in tasks if task == "evaluate" and evaluates]
    # With patients as the unit of privacy no count leaves but the declared one, whatever mode the study claims.
    declared = tells_counts(data.study)
    if not data.study.guarded:
        _note_unused(data, notes, declared)
        if data.cohorts.later:
            notes.append(CAME_LATER)
    tokens = patient_tokens(data, notes)
    hello = SiteHello(
        site=settings.name,
        organ=settings.organ,
        modality=cohort.modality,
        contrasts=list(data.study.held),
        roles=list(settings.roles),
        tasks=tasks,
        share_site_model=settings.share_site_model and not data.study.private,
        may_release_synthetic=settings.may_release_synthetic,
        examples=declared_examples(data),
        examples_of=examples_of(data.study),
        patients=len(cohort.patients) if declared else None,
        slices=sum(patient.slices for patient in cohort.patients) if declared else None,
        quarantined=len(cohort.quarantine) if declared else None,
        notes=list(notes),
        declined=notes.declined,
        shared=tokens,
    )
    with silently(data.study, quiet=data.study.guarded):
        _keep_summary(data, work, hello)
        keep_step_pictures(data, work)
    return hello


def _note_unused(data: SiteData, notes: Notes, declared: bool) -> None:
    """That something of the hospital's files was not taken up; names stay here, and counts that are not declared."""
    cohort = data.cohort
    if cohort.questions:
        notes.append("studies are left out until their hospital has said which of their outlines are tumours")
    if cohort.remarks:
        told = counted_by_kind(cohort.remarks) if declared else "its hospital's own page says which"
        notes.append(f"not all that its files hold was used: {told}")


def _keep_summary(data: SiteData, work: WorkFolder, hello: SiteHello) -> None:
    """The site's own account, with patients' names: it stays here."""
    cohort, split = data.cohort, data.split
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    slices = {part: cohort.slices(names) for part, names in parts.items()}
    write_json(
        work.results / "summary.json",
        {
            "site": data.study.settings.name,
            "run": data.study.run,
            "organ": hello.organ,
            "modality": hello.modality,
            "contrasts": hello.contrasts,
            "roles": hello.roles,
            "patients": {part: len(names) for part, names in parts.items()},
            "slices": {part: len(some) for part, some in slices.items()},
            "tumour_slices": {part: int(np.sum(some.tumour_class())) for part, some in slices.items()},
            "unused": [asdict(one) for one in cohort.remarks],
            "questions": [asdict(one) for one in cohort.questions],
            "quarantine": [{"patient": bad.patient, "reason": bad.reason} for bad in cohort.quarantine],
            "preprocessing": {
                **asdict(data.study.experiment.image),
                **asdict(data.study.steps),
                "min_tumour_pixels": data.study.organ.min_tumour_pixels,
            },
            "declared": hello.model_dump(include={"examples", "examples_of", "patients", "slices", "quarantined"}),
            "config": asdict(data.study.experiment),
            "versions": installed_versions(),
            "demo_cohort": data.study.settings.demo_cohort,
            "notes": hello.notes,
        },
    )
