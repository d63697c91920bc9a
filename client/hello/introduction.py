"""What a site says of itself at hello: what it has, what it can take part in, and only the counts it declares."""

from dataclasses import asdict
from typing import Literal

import numpy as np

from client.data.begun import CAME_LATER
from client.data.session import Session
from client.hello.notes import Notes
from client.hello.shared_patients import patient_tokens
from client.hello.step_pictures import keep_step_pictures
from client.hello.tasks import possible_tasks
from client.policy.rules import allowed_tasks
from client.privacy.admission import silently, tasks_are_private_enough
from client.privacy.coordinators_copy import heed
from client.privacy.guarded import public_examples, tells_counts
from client.privacy.slices import kept_here
from common.files import write_json
from common.imaging.remarks import counted_by_kind
from common.records import SiteHello
from common.versions import installed_versions


def declared_examples(session: Session) -> int:
    """The site's weight in averages where all declare one: its training slices if it declares counts, otherwise 1.

    With patients as the unit of privacy, and at a site with a privacy budget: its declared number of patients.
    """
    if session.guarded:
        return public_examples(session)
    return 1 if examples_of(session) is None else max(1, len(kept_here(session)))


def examples_of(session: Session) -> Literal["slices", "patients"] | None:
    """What :func:`declared_examples` is a number of; None where the site declares none."""
    settings = session.settings
    if not settings.declare_counts or "train" not in settings.roles:
        return None
    if session.guarded:
        return "patients" if settings.privacy is not None else None
    return "slices"


def introduce(session: Session, witness: str = "") -> SiteHello:
    """The site's introduction; also keeps a full summary among its own results.

    Args:
        session: of the study.
        witness: what the coordinator brings back of this site's privacy ledger.
    """
    settings, cohort = session.settings, session.cohort
    heed(settings, witness)
    # Not which hours: they say when nobody watches the machine.
    notes = Notes(["it works within its hospital's hours only"] if settings.hours is not None else [])
    tasks = allowed_tasks(session, possible_tasks(session, notes), notes)
    if not tasks_are_private_enough(session, notes):
        # Without a budget there is no roster: who tests would be the study's choice.
        evaluates = settings.privacy is not None or not session.private
        tasks = [task for task in tasks if task == "evaluate" and evaluates]
    # With patients as the unit of privacy no count leaves but the declared one, whatever mode the study claims.
    declared = tells_counts(session)
    if not session.guarded:
        _note_unused(session, notes, declared)
        if session.later:
            notes.append(CAME_LATER)
    tokens = patient_tokens(session, notes)
    hello = SiteHello(
        site=settings.name,
        organ=settings.organ,
        modality=cohort.modality,
        contrasts=list(session.held),
        roles=list(settings.roles),
        tasks=tasks,
        share_site_model=settings.share_site_model and not session.private,
        may_release_synthetic=settings.may_release_synthetic,
        examples=declared_examples(session),
        examples_of=examples_of(session),
        patients=len(cohort.patients) if declared else None,
        slices=sum(patient.slices for patient in cohort.patients) if declared else None,
        quarantined=len(cohort.quarantine) if declared else None,
        notes=list(notes),
        declined=notes.declined,
        shared=tokens,
    )
    with silently(session, quiet=session.guarded):
        _keep_summary(session, hello)
        keep_step_pictures(session)
    return hello


def _note_unused(session: Session, notes: Notes, declared: bool) -> None:
    """That something of the hospital's files was not taken up; names stay here, and counts that are not declared."""
    cohort = session.cohort
    if cohort.questions:
        notes.append("studies are left out until their hospital has said which of their outlines are tumours")
    if cohort.remarks:
        told = counted_by_kind(cohort.remarks) if declared else "its hospital's own page says which"
        notes.append(f"not all that its files hold was used: {told}")


def _keep_summary(session: Session, hello: SiteHello) -> None:
    """The site's own account, with patients' names: it stays here."""
    cohort, split = session.cohort, session.split
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    slices = {part: cohort.slices(names) for part, names in parts.items()}
    write_json(
        session.result_file("summary.json"),
        {
            "site": session.settings.name,
            "run": session.run,
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
                **asdict(session.experiment.image),
                **asdict(session.steps),
                "min_tumour_pixels": session.organ.min_tumour_pixels,
            },
            "declared": hello.model_dump(include={"examples", "examples_of", "patients", "slices", "quarantined"}),
            "config": asdict(session.experiment),
            "versions": installed_versions(),
            "demo_cohort": session.settings.demo_cohort,
            "notes": hello.notes,
        },
    )
