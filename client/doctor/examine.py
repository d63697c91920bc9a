"""From a study at this site to what the doctor found: data, machine, network, then one step of a study."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from client.data.context import StudyContext
from client.data.near_copies import joined
from client.data.preparation import by_reason
from client.data.site_data import SiteData
from client.doctor.answers import answers, asked
from client.doctor.examination import Examination, PartBalance, QuarantineReason, Unanswered, Unused, named
from client.doctor.findings import clipped_shares, duplicates, outliers, shared_slices, study_rows
from client.doctor.headers import header_fields_to_review
from client.doctor.machine import FOUND, TO_DOWNLOAD, device_problem, look_at_machine
from client.doctor.network.look import look_at_network
from client.doctor.placing import place_sentences, try_places
from client.doctor.rehearsal import rehearse
from client.site import chosen_patients
from client.study.leaks import leaking
from common.errors import DataError, RefusalError
from common.figures.formatting import listed, plural
from common.imaging.cohort import PreparedCohort
from common.imaging.prepare import PreparedFolder, prepare_folder
from common.imaging.remarks import unused_sentences
from common.study.progress import Listener
from common.system.versions import installed_versions
from common.training.trainer import Exchange

_LITTLE_SPACE = 2**30
_MOSTLY = 0.5
_MOST_GROUPS = 10


@dataclass(frozen=True)
class Examined:
    """What was found, and the patients that can be shown; None where the data cannot be used."""

    found: Examination
    cohort: PreparedCohort | None


def examine(study: StudyContext, folder: Path, node: Path, progress: Listener | None = None) -> Examined:
    """Everything that can be found; what cannot be, because of a problem, is left out and the problem is named.

    Args:
        study: that the site may join.
        folder: for what is written on the way, and removed.
        node: the folder of ``site.yaml``, where ``connection.yaml`` lies once the site has joined a federation.
        progress: is called for each patient that is prepared.

    Raises:
        ConfigError: if the options of ``site.yaml`` or the study's configuration are wrong.
    """
    settings = study.settings
    data = SiteData.of(study)  # After everything was prepared once, it finds the same patients in the cache.
    found = Examination(
        site=settings.name,
        study=study.experiment.name,
        reader=settings.reader,
        path=str(settings.path),
        organ=settings.organ,
        roles=list(settings.roles),
        identifying_policy=settings.identifying_data,
        versions=installed_versions(),
    )
    everything, cohort = None, None
    try:
        found.contrasts = list(study.organ.contrasts)
        found.preprocessing = {**asdict(study.experiment.image), **asdict(study.steps)}
        everything = _prepared(data, progress)
        _tell_studies(found, everything)
        _tell_unused(found, data, everything)
        cohort = data.cohort
    except (DataError, RefusalError) as error:
        found.problems.append(str(error))
    found.machine = look_at_machine(study, everything.patients if everything else ())
    _tell_machine(found, study)
    _tell_network(found, study, node)
    if cohort is not None and everything is not None:
        _tell_cohort(found, data, cohort)
        _tell_copies(found, data, everything)
        _tell_rehearsal(found, study, folder)
        _tell_places(found, data)
    found.fit = not found.problems
    return Examined(found, cohort)


def _prepared(data: SiteData, progress: Listener | None) -> PreparedFolder:
    settings = data.study.settings
    return prepare_folder(
        data.cohorts.reader,
        settings.path,
        cache_dir=settings.cache_dir,
        organ=settings.organ,
        contrasts=list(data.study.organ.contrasts),
        image=data.study.experiment.image,
        preprocessing=data.study.steps,
        only=chosen_patients(settings),
        progress=progress,
    )


def _tell_studies(found: Examination, everything: PreparedFolder) -> None:
    patients = everything.patients
    found.patients = len(patients)
    found.patients_known = everything.patients_known
    found.studies = study_rows(patients)
    found.modality = found.studies[0].modality if found.studies else ""
    left_out = [bad for patient in patients for bad in patient.quarantined]
    found.quarantine = [
        QuarantineReason(reason=reason, studies=[named(bad.patient, bad.path) for bad in bads])
        for reason, bads in by_reason(left_out).items()
    ]
    found.identifying = everything.identifying
    found.identifying_patients = sum(bool(patient.identifying) for patient in patients)
    reviewed = Counter(field for study in found.studies for field in header_fields_to_review(Path(study.path)))
    found.to_review = dict(sorted(reviewed.items()))
    found.duplicates = duplicates(patients, everything.patients_known)
    found.outliers = outliers(found.studies)
    _warn_of_studies(found, len(left_out))


def _tell_unused(found: Examination, data: SiteData, everything: PreparedFolder) -> None:
    found.unused = [Unused.model_validate(asdict(one)) for one in everything.remarks]
    found.questions = [Unanswered.model_validate(asdict(one)) for one in everything.questions]
    if found.questions:
        found.answers = answers(data.study.settings.options, found.questions)
        waiting = sum(bool(study.questions) for patient in everything.patients for study in patient.studies)
        found.problems.append(asked(found.questions, waiting))
    found.warnings += unused_sentences(everything.remarks)


def _warn_of_studies(found: Examination, left_out: int) -> None:
    warn = found.warnings.append
    if left_out:
        warn(f"{plural(left_out, 'study is', 'studies are')} in quarantine, for the reasons below.")
    if found.identifying and found.identifying_policy == "quarantine":
        warn(
            f"The headers of {plural(found.identifying_patients, 'patient')} may identify them "
            f"({', '.join(found.identifying)}). Mend this where the images were exported from; nothing is edited here."
        )
    kinds = Counter(duplicate.kind for duplicate in found.duplicates)
    if kinds["same_pixels"]:
        warn(
            f"{plural(kinds['same_pixels'], 'group')} of studies have equal voxels: one of them may train and its copy "
            "may test. Remove the copies, or write duplicates: join into site.yaml."
        )
    if kinds["similar_names"]:
        warn(
            f"{plural(kinds['similar_names'], 'group')} of patients have names that differ in case or punctuation "
            "only: if they are one person, give them one name, or that person may be on both sides of the split."
        )
    if kinds["shared_stem"]:
        warn(
            f"{plural(kinds['shared_stem'], 'group')} of patients have names that differ in the last part only: if "
            "these are visits of one person, say so in patients.csv (columns file, patient) in the folder of the data, "
            "or that person may be on both sides of the split."
        )
    if not found.patients_known:
        warn("The data name no patients: each image counts as one, and two images of a person may be split apart.")
    if found.outliers:
        studies = len({outlier.path for outlier in found.outliers})
        warn(f"{plural(studies, 'study differs', 'studies differ')} much from this site's usual one; see below.")


def _tell_machine(found: Examination, study: StudyContext) -> None:
    machine = found.machine
    assert machine is not None
    problem = device_problem(study.device)
    if problem:
        found.problems.append(problem)
    found.problems += [
        f"weights.{name}: {state}" for name, state in machine.weights.items() if state not in (FOUND, TO_DOWNLOAD)
    ]
    if machine.free_bytes < max(_LITTLE_SPACE, 2 * machine.cache_bytes):
        found.warnings.append(
            f"{machine.free_bytes / 2**30:.1f} GiB are free beside the cache, which takes "
            f"{machine.cache_bytes / 2**30:.1f} GiB; a study keeps weights and synthetic images there too."
        )


def _tell_network(found: Examination, study: StudyContext, node: Path) -> None:
    found.network = look_at_network(node, study.settings)
    if found.network is not None:
        found.problems += [f"network: {check.told}" for check in found.network.checks if check.state == "problem"]
        found.warnings += [f"network: {check.told}." for check in found.network.checks if check.state == "warning"]


def _tell_cohort(found: Examination, data: SiteData, cohort: PreparedCohort) -> None:
    found.modality = cohort.modality
    found.usable_patients = len(cohort.patients)
    found.slices = sum(patient.slices for patient in cohort.patients)
    known = {study.path for reason in found.quarantine for study in reason.studies}
    for reason, bads in by_reason([bad for bad in cohort.quarantine if str(bad.path) not in known]).items():
        found.quarantine.append(QuarantineReason(reason=reason, studies=[named(bad.patient, bad.path) for bad in bads]))
        found.warnings.append(f"{plural(len(bads), 'more study is', 'more studies are')} left out: {reason}.")
    has_tumour = dict(cohort.tumour_by_patient)
    split = data.split
    parts = {"train": split.train, "validation": split.validation, "test": split.test, "unused": split.unused}
    for part, names in parts.items():
        slices = cohort.slices(names)
        found.parts[part] = PartBalance(
            patients=len(names),
            with_tumour=sum(has_tumour[name] for name in names),
            slices=len(slices),
            tumour_slices=int(slices.tumour_class().sum()),
        )
    for contrast, (dark, bright) in clipped_shares(cohort).items():
        if max(dark, bright) > _MOSTLY:
            end = "darker than the darkest" if dark > bright else "brighter than the brightest"
            found.warnings.append(
                f"{max(dark, bright):.0%} of what {contrast} shows is {end} value of the window: look at the pictures, "
                "the study's window may not suit these images."
            )


def _tell_places(found: Examination, data: SiteData) -> None:
    found.places = try_places(data)
    if found.places is not None:
        found.warnings += place_sentences(found.places)


def _tell_copies(found: Examination, data: SiteData, everything: PreparedFolder) -> None:
    """Patients that show the same slices; where equal ones would train and test, a study refuses this site."""
    pairs = data.cohorts.copies
    whole = [{one.patient for one in double.studies} for double in found.duplicates if double.kind == "same_pixels"]
    found.duplicates += [
        double
        for double in shared_slices(everything.patients, pairs)
        if not any({one.patient for one in double.studies} <= names for names in whole)
    ]
    groups = joined(pairs)
    if not groups:
        return
    named_so = "; ".join(" = ".join(names) for names in groups[:_MOST_GROUPS])
    more = f" and {len(groups) - _MOST_GROUPS} more groups" if len(groups) > _MOST_GROUPS else ""
    told = f"{plural(len(groups), 'group')} of patients show the same slices, equal or saved anew: {named_so}{more}"
    if data.cohorts.joins:
        found.warnings.append(f"{told}. Each counts as one patient, as duplicates: join says.")
        return
    ways = (
        "Where answers are guarded nobody is joined: give one person one name, e.g. in patients.csv (columns file, "
        "patient) in the folder of the data, or leave copies out with patients"
        if data.study.guarded
        else "duplicates: join in site.yaml takes each group for one patient"
    )
    found.warnings.append(f"{told}. One of them may train and its copy may test. {ways}.")
    refused = {
        name
        for trial in data.study.all_trials
        for pair in leaking(pairs, data.within(trial).split, bool(trial.fold))
        for name in (pair.one, pair.other)
    }
    if refused and not data.study.guarded:
        found.problems.append(
            f"{listed(sorted(refused)[: 2 * _MOST_GROUPS])} would both train and test, as they share equal slices: "
            "write duplicates: join into site.yaml, or leave copies out with patients"
        )


def _tell_rehearsal(found: Examination, study: StudyContext, folder: Path) -> None:
    machine = found.machine
    assert machine is not None
    usable = not device_problem(study.device) and all(state == FOUND for state in machine.weights.values())
    hello, found.training = rehearse(study, folder, with_training=usable)
    found.tasks, found.notes = list(hello.tasks), list(hello.notes)
    if study.private and study.settings.privacy is not None:
        found.notes.append("whether its privacy budget suffices is told by oncofed-client budget, for the same study")
    found.problems += [
        f"one training step of {step.network} failed: {step.problem}" for step in found.training if step.problem
    ]
    if TO_DOWNLOAD in machine.weights.values():
        names = [name for name, state in machine.weights.items() if state == TO_DOWNLOAD]
        found.warnings.append(f"No training step was tried: {listed(names)} would have to be downloaded first.")
    if Exchange.GRADIENTS in study.settings.allowed_exchanges:
        found.warnings.append(
            "site.yaml: allowed_exchanges holds gradients: those of single batches can be inverted into images. Take it"
            " out unless the coordinator may see these images."
        )
    if not hello.tasks:
        found.problems.append(f"there is nothing that it could take part in: {'; '.join(hello.notes)}")
