"""How much noise a study needs at this site: planned once for all of its trainings, before the first one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.hello.notes import Notes
from client.hello.tasks import training_tasks
from client.privacy.budget import Budget
from client.privacy.gradients import GradSampleMode
from client.privacy.guarded import tells_noised_scores
from client.privacy.questions import questions_of
from client.privacy.training import Noise, steps_by_mechanism
from common.errors import PrivacyError
from common.study.conditions import condition_code
from common.study.experiment import Experiment, PrivacyConfig
from common.study.phases import Phase, PhaseKind, classifier_phase, gan_phase
from common.study.trials import arms_in_federation
from common.system.files import read_json, write_json
from common.training.build import build_gan_trainer, steps_per_round
from common.training.patients import PatientTrainer


@dataclass(frozen=True)
class StudyPlan:
    """What a study takes of this site's budget.

    Attributes:
        sigma: the noise of every step of every training.
        rate: probability that a patient takes part in a step.
        steps: mechanism (``<phase>/<optimiser>``) -> how many steps are planned.
    """

    sigma: float
    rate: float
    steps: Mapping[str, int]

    def noise(self, privacy: PrivacyConfig, patients: int, model: str = "") -> Noise:
        """What a training is made with.

        Args:
            privacy: of the study.
            patients: the declared number.
            model: the GAN that is trained; empty for the classifier.
        """
        return Noise(
            sigma=self.sigma,
            max_grad_norm=privacy.max_grad_norm,
            rate=self.rate,
            expected=self.rate * patients,
            slices=privacy.slices_per_patient,
            mode=None if privacy.grad_sample_mode == "auto" else GradSampleMode(privacy.grad_sample_mode),
            rates={
                key.removeprefix(f"{model or 'classifier'}/"): factor
                for key, factor in privacy.rates.items()
                if key.startswith(f"{model or 'classifier'}/")
            },
        )


def study_plan(data: SiteData, work: WorkFolder, budget: Budget) -> StudyPlan:
    """The plan of this run: kept from its first training on, so that what was promised does not change midway.

    Raises:
        PrivacyError: if no noise makes the study fit into what is left, or the plan that was kept is none.
    """
    file = work.run_state / "privacy.json"
    if file.exists():
        return _kept(file)
    plan = plan_study(data, budget)
    write_json(file, {"sigma": plan.sigma, "rate": plan.rate, "steps": dict(plan.steps)})
    return plan


def account_of_study(data: SiteData, work: WorkFolder) -> tuple[Budget, StudyPlan]:
    """What a training of this study is paid from: the site's budget and the study's plan. From here on its training
    patients are this ledger's.

    Raises:
        PrivacyError: if the site has no budget, no noise fits into it, or its ledger cannot be relied on.
    """
    budget = Budget(data.study.settings)
    plan = study_plan(data, work, budget)
    budget.claim(data.split.train)
    return budget, plan


def _kept(file: Path) -> StudyPlan:
    kept = read_json(file)
    if not isinstance(kept, dict) or set(kept) != {"sigma", "rate", "steps"} or not isinstance(kept["steps"], dict):
        raise PrivacyError(f"{file}: is no plan of a study's steps; it was changed, or is damaged")
    sigma, rate, counts = kept["sigma"], kept["rate"], kept["steps"].values()
    if not (_is_number(sigma) and _is_number(rate) and 0 < sigma < math.inf and 0 < rate <= 1):
        raise PrivacyError(f"{file}: noise {sigma!r} and rate {rate!r} are none; it was changed, or is damaged")
    if not all(type(count) is int and count >= 0 for count in counts):
        raise PrivacyError(f"{file}: holds a number of steps that is none; it was changed, or is damaged")
    return StudyPlan(**kept)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def plan_study(data: SiteData, budget: Budget) -> StudyPlan:
    """What this study would cost now; nothing is kept or charged.

    Raises:
        PrivacyError: if no noise makes the study fit into what is left.
    """
    privacy = data.study.experiment.privacy
    steps = planned_steps(data, budget.patients)
    if not steps:
        raise PrivacyError("the study trains nothing that this site could take part in")
    rate = sampling_rate(privacy, budget.patients)
    # Everybody takes part in scores that are noised.
    scores = {name for name in steps if Phase.parse(name).kind == PhaseKind.SCORES}
    planned = [(name, 1.0 if name in scores else rate, count) for name, count in steps.items()]
    sigma = budget.plan(planned, privacy.epsilon * (1 - privacy.reserve))
    return StudyPlan(sigma, rate, steps)


def sampling_rate(privacy: PrivacyConfig, patients: int) -> float:
    """Probability that one of ``patients`` takes part in a step.

    >>> sampling_rate(PrivacyConfig(expected_batch_size=16), 200)
    0.08
    """
    return min(1.0, privacy.expected_batch_size / patients)


def private_steps(experiment: Experiment, federation: Any, patients: int) -> int:
    """Training steps a round; one pass over the site's data is one over its declared patients, not over its slices."""
    steps = steps_per_round(federation, patients, experiment.privacy.expected_batch_size)
    return max(1, round(experiment.privacy.dp_step_fraction * steps))


def planned_steps(data: SiteData, patients: int) -> dict[str, int]:
    """Mechanism -> steps, over every training of the study that this site could take part in."""
    experiment = data.study.experiment
    tasks = training_tasks(data, Notes()) if "train" in data.study.settings.roles else []
    steps: dict[str, int] = {}
    for name in experiment.models:
        model, view = data.study.model(name), data.study.view(name)
        if view is None or f"gan/{name}" not in tasks:
            continue
        # Networks without weights: only what a step is made of is looked at.
        trainer = build_gan_trainer(experiment, name, device=torch.device("cpu"), weights=data.study.weights)
        if not isinstance(trainer, PatientTrainer):
            raise PrivacyError(f"{name} cannot be trained with patients as the unit of privacy")
        count = model.federation.rounds * private_steps(experiment, model.federation, patients)
        condition = condition_code(view.organ, view.contrasts)
        for run in range(1, model.runs + 1):
            for optimiser, total in steps_by_mechanism(trainer, count, condition).items():
                steps[f"{gan_phase(name, run)}/{optimiser}"] = total
    if "classifier" in tasks:
        federation = experiment.classifier.federation
        count = federation.rounds * private_steps(experiment, federation, patients)
        steps |= {f"{classifier_phase(arm)}/classifier": count for arm in arms_in_federation(experiment)}
    if tells_noised_scores(data.study) and "evaluate" in data.study.settings.roles:
        steps |= {f"{PhaseKind.SCORES}/{question}": 1 for question in questions_of(experiment, private=True)}
    return steps
