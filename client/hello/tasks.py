"""What a site can take part in, by the images that it has."""

from collections.abc import Sequence

from client.data.site_data import SiteData
from client.hello.notes import Notes
from client.privacy.guarded import tells_noised_scores
from client.privacy.slices import kept_here
from common.errors import DataError
from common.figures.formatting import listed
from common.study.experiment import PLAIN_ARMS
from common.study.phases import Phase, PhaseKind
from common.study.trials import Trial, trials_of
from common.training.build import labelling_models, model_needs
from common.training.families import trainer_module
from common.training.trainer import Needs


def possible_tasks(data: SiteData, notes: Notes) -> list[str]:
    """What this site can take part in; what it cannot, and why, is noted in words that may leave."""
    if not data.cohort.patients_known:
        notes.append("its images name no patients: its split and its intervals are by image, not by patient")
    elif data.cohort.unnamed:
        notes.append("some of its images name no patients: each study of theirs counts as a patient of its own")
    tasks = training_tasks(data, notes) if "train" in data.study.settings.roles else []
    if not data.cohorts.has_masks:
        what = "takes part in no classifier" if tasks else "takes part in nothing"
        notes.append(f"{what}: its studies have neither tumour masks nor classes")
        return tasks
    if "evaluate" not in data.study.settings.roles:
        return tasks
    if data.study.guarded:
        if tells_noised_scores(data.study) and data.study.settings.privacy is None:
            notes.append("evaluates nothing: noised figures are paid for, and it has no privacy budget")
            return tasks
        # How many test patients there are, and of which classes, follows from thresholds that the study chooses.
        return [*tasks, "evaluate"]
    least = data.study.min_cell
    if data.split.test:
        tasks.append("evaluate")
    else:
        notes.append("evaluates nothing: it has no test patients")
    if 0 < len(data.split.test) < least:
        notes.append(f"fewer than {least} test patients: its figures do not leave the site")
    elif data.split.test and len(set(data.test.tumour_class().tolist())) < 2:
        notes.append("its test patients hold one class only: AUC and the other class's figures are missing")
    return tasks


def training_tasks(data: SiteData, notes: Notes) -> list[str]:
    """``classifier`` needs both classes, a GAN what it says; what is missing is noted.

    In a private study, and at a site that trains in no other, it takes part whatever its training patients show: the
    study chooses from which size on a lesion counts, and which slices are used, so that each answer would tell of the
    patients at that threshold. It must know tumours at all, which its data set does or does not.
    """
    known, blind = data.cohorts.has_masks, data.study.blind
    classes, masks = (known, known) if blind else _classes_and_masks(data)
    lacking = {Needs.SLICES: False, Needs.CLASSES: not classes, Needs.MASKS: not masks}
    tasks = []
    for model in data.study.experiment.models:
        task, needs = f"gan/{model}", model_needs(data.study.experiment, model)
        if data.study.view(model) is None:
            notes.append(f"{model}: takes no part, it holds none of the images that {model} looks at")
            notes.decline(task, "it holds none of the images that it looks at")
        elif lacking[needs]:
            # Tumours of one size alone, or none at all, are no question of masks.
            notes.decline(task, _LACKING[Needs.CLASSES if known and not classes else needs])
        elif not blind and (reason := _too_few(data, model)):
            notes.decline(task, reason)
        else:
            tasks.append(task)
    if known and not classes:
        left = f" but {listed(Phase.parse(task).name for task in tasks)}" if tasks else ""
        notes.append(f"trains nothing{left}: its training patients do not hold both classes")
    elif known and not masks:
        made = any(Phase.parse(task).kind == PhaseKind.GAN for task in tasks)
        kinds = "images without masks" if made else "real images"
        notes.append(f"trains the classifier on {kinds} only: {_LACKING[Needs.MASKS]}")
        for arm in PLAIN_ARMS:
            notes.decline(f"arm/{arm}", _LACKING[Needs.MASKS])
    if not classes:
        notes.decline("classifier", _LACKING[Needs.CLASSES])
        return tasks
    if not blind and any(_is_left_out_of(data, trial, tasks) for trial in trials_of(data.study.experiment)):
        notes.append(
            "is left out of some of the study's trials: its training patients there are too few, or do not hold both "
            "classes (study.folds, study.curve)"
        )
    return [*tasks, "classifier"]


def _is_left_out_of(data: SiteData, trial: Trial, tasks: Sequence[str]) -> bool:
    """Whether this site, which trains in the first trial, could not in one with other training patients."""
    if not trial.trains_generator:
        return False
    within = data.within(trial)
    models = [model for model in labelling_models(data.study.experiment)[:1] if f"gan/{model}" in tasks]
    return not _classes_and_masks(within)[0] or any(_too_few(within, model) for model in models)


def _too_few(data: SiteData, model: str) -> str:
    """Why a GAN cannot draw a batch of this site's training slices, without a number; empty if it can.

    The trainer itself is asked: which slices count, and how many it takes, is its own matter.
    """
    chosen, slices = data.study.model(model), kept_here(data, model)
    if not len(slices):
        return "it has no training patients for it"
    try:
        trainer_module(chosen.family).Trainer.check_slices(chosen.config, slices)
    except DataError as error:
        fields = {"model": model, "reason": str(error)}
        data.study.settings.log.info("too few training slices", extra={"fields": fields})
        key = f" (models.{model}.min_slices)" if hasattr(chosen.config, "min_slices") else ""
        return f"its training slices are too few for it, with a tumour or without one{key}"
    return ""


_LACKING = {
    Needs.CLASSES: "its training patients do not hold both classes",
    Needs.MASKS: "it has no tumours with masks beside slices without a tumour",
}
"""Why a site does not train what needs them."""


def _classes_and_masks(data: SiteData) -> tuple[bool, bool]:
    """Whether training slices hold both classes, and tumours with a mask beside slices without one."""
    if not data.cohorts.has_masks:
        return False, False
    training = kept_here(data)
    tumour = training.tumour_class()
    classes = not tumour.all() and bool(tumour.any())
    return classes, classes and bool(len(training.tumour_positions()) and len(training.healthy_positions()))
