"""What a site says of itself at hello: what it has, what it can take part in, and only the counts it declares."""

from dataclasses import asdict

import numpy as np

from client.session import Session
from client.step_pictures import keep_step_pictures
from common.files import write_json
from common.records import SiteHello
from common.report.formatting import listed
from common.training.build import model_needs
from common.training.trainer import Needs
from common.versions import installed_versions


def declared_examples(session: Session) -> int:
    """The site's weight in averages: its training slices if it declares counts, otherwise 1."""
    if session.settings.declare_counts and "train" in session.settings.roles:
        return max(1, len(session.training))
    return 1


def introduce(session: Session) -> SiteHello:
    """The site's introduction; also keeps a full summary among its own results."""
    settings, cohort = session.settings, session.cohort
    notes: list[str] = []
    tasks = _tasks(session, notes)
    declared = settings.declare_counts
    hello = SiteHello(
        site=settings.name,
        organ=settings.organ,
        modality=cohort.modality,
        contrasts=list(session.held),
        roles=list(settings.roles),
        tasks=tasks,
        share_site_model=settings.share_site_model,
        may_release_synthetic=settings.may_release_synthetic,
        examples=declared_examples(session),
        patients=len(cohort.patients) if declared else None,
        slices=sum(patient.slices for patient in cohort.patients) if declared else None,
        quarantined=len(cohort.quarantine) if declared else None,
        notes=notes,
    )
    _keep_summary(session, hello)
    keep_step_pictures(session)
    return hello


def _tasks(session: Session, notes: list[str]) -> list[str]:
    """What this site can take part in; what it cannot, and why, is noted in words that may leave."""
    if not session.cohort.patients_known:
        notes.append("its images name no patients: its split and its intervals are by image, not by patient")
    tasks = _training_tasks(session, notes) if "train" in session.settings.roles else []
    if not session.cohort.has_masks:
        what = "takes part in no classifier" if tasks else "takes part in nothing"
        notes.append(f"{what}: its studies have neither tumour masks nor classes")
        return tasks
    least = session.experiment.study.min_cell
    if "evaluate" in session.settings.roles:
        if session.split.test:
            tasks.append("evaluate")
        else:
            notes.append("evaluates nothing: it has no test patients")
        if 0 < len(session.split.test) < least:
            notes.append(f"fewer than {least} test patients: its figures do not leave the site")
        elif session.split.test and len(set(session.test.tumour_class().tolist())) < 2:
            notes.append("its test patients hold one class only: AUC and the other class's figures are missing")
    return tasks


def _training_tasks(session: Session, notes: list[str]) -> list[str]:
    """``classifier`` needs both classes, a GAN what it says; what is missing is noted."""
    known = session.cohort.has_masks
    tumour = session.training.tumour_class() if known else np.zeros(0, bool)
    classes = known and not tumour.all() and bool(tumour.any())
    masks = classes and bool(len(session.training.tumour_positions()) and len(session.training.healthy_positions()))
    lacking = {Needs.SLICES: False, Needs.CLASSES: not classes, Needs.MASKS: not masks}
    tasks = []
    for model in session.experiment.models:
        if session.view(model) is None:
            notes.append(f"{model}: takes no part, it holds none of the images that {model} looks at")
        elif not lacking[model_needs(session.experiment, model)] and len(session.training_for(model)):
            tasks.append(f"gan/{model}")
    if known and not classes:
        left = f" but {listed(task.removeprefix('gan/') for task in tasks)}" if tasks else ""
        notes.append(f"trains nothing{left}: its training patients do not hold both classes")
    elif known and not masks:
        notes.append("trains the classifier on real images only: its tumours have no masks")
    return [*tasks, "classifier"] if classes else tasks


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
            "quarantine": [{"patient": bad.patient, "reason": bad.reason} for bad in cohort.quarantine],
            "preprocessing": {
                **asdict(session.experiment.image),
                **asdict(session.steps),
                "min_tumour_pixels": session.organ.min_tumour_pixels,
            },
            "declared": hello.model_dump(include={"examples", "patients", "slices", "quarantined"}),
            "config": asdict(session.experiment),
            "versions": installed_versions(),
            "demo_cohort": session.settings.demo_cohort,
            "notes": hello.notes,
        },
    )
