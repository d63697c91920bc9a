"""The classifier study: every arm at each site, and every arm in federation, in one of its trials."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from flwr.app import RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.protocol.actions import Action
from common.protocol.records import read_result
from common.results.classifier import ClassifierScores, SiteArms
from common.results.shares import Shares
from common.study.config import contrasts_by_organ
from common.study.experiment import PLAIN_ARMS, Experiment
from common.study.phases import classifier_phase
from common.study.trials import Trial, arms_in_federation, arms_of
from common.training.build import build_classifier_trainer
from common.training.trainer import View
from server.aggregators.registry import build_aggregator
from server.averaging import Averaging
from server.checkpoint import PhaseCheckpoints
from server.instructions import instruction_of
from server.pooling import pooled
from server.pretraining import pretrained
from server.roster import Member, Roster
from server.round_record import contributors
from server.rounds import FederatedTraining
from server.settings import StudySettings
from server.site_scores import MODEL, ModelScores, instruct, model_scores, require_quorum
from server.site_weights import site_weights

REAL = "real"
"""The arm over which the others' gains are told."""


@dataclass(frozen=True)
class FederatedArms:
    """The federated classifiers of one trial.

    Attributes:
        sites: what each site told of each arm's, by arm and site.
        trained: site -> its organ, of the sites that trained any of them.
        weights: by arm.
        contributors: by arm and site, in how many rounds its update counted.
        shares: by arm, how much each site counted in the average.
    """

    sites: dict[str, dict[str, ModelScores]]
    trained: dict[str, dict[str, str]]
    weights: dict[str, dict[str, Tensor]] = field(repr=False)
    contributors: dict[str, dict[str, int]]
    shares: dict[str, list[Shares]] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, ClassifierScores]:
        """By arm, over the sites that trained it, on their test patients."""
        return {arm: pooled(self._told(arm, _in_the_trial)) for arm in self.sites}

    @property
    def tested(self) -> dict[str, list[str]]:
        """By arm, the sites that :attr:`scores` is the mean of."""
        return {
            arm: [site for site, told in by_site.items() if site in self.trained[arm] and _is_told(told)]
            for arm, by_site in self.sites.items()
        }

    @property
    def left_out(self) -> dict[str, ClassifierScores]:
        """By arm, over the sites that trained it, on the patients of their folds."""
        return {arm: pooled(told) for arm in self.sites if (told := self._told(arm, _left_out))}

    @property
    def external(self) -> dict[str, ClassifierScores]:
        """By arm, over the centres that train nothing."""
        trains = {site for trained in self.trained.values() for site in trained}
        told = {
            arm: [told.arms[MODEL] for site, told in by_site.items() if site not in trains]
            for arm, by_site in self.sites.items()
        }
        return {arm: pooled(scores) for arm, scores in told.items() if scores}

    @property
    def by_organ(self) -> dict[str, dict[str, ClassifierScores]]:
        """By organ and arm; empty in a study of one organ."""
        found: dict[str, dict[str, ClassifierScores]] = {}
        for arm, by_site in self.sites.items():
            organs = self.trained[arm]
            for organ in sorted(set(organs.values())) if len(set(organs.values())) > 1 else []:
                own = [told.arms[MODEL] for site, told in by_site.items() if organs.get(site) == organ]
                if own:
                    found.setdefault(organ, {})[arm] = pooled(own)
        return found

    def of_site(
        self, site: str, part: Callable[[ModelScores], Iterable[ClassifierScores]]
    ) -> dict[str, ClassifierScores]:
        """By arm, as one site told it."""
        return {arm: one for arm, by_site in self.sites.items() if site in by_site for one in part(by_site[site])}

    def by_site(self, arm: str) -> dict[str, ClassifierScores]:
        """By site, on its test patients."""
        return {site: told.arms[MODEL] for site, told in self.sites[arm].items()}

    def _told(self, arm: str, part: Callable[[ModelScores], Iterable[ClassifierScores]]) -> list[ClassifierScores]:
        return [one for site, told in self.sites[arm].items() if site in self.trained[arm] for one in part(told)]


def _is_told(told: ModelScores) -> bool:
    return any(one.value("accuracy") is not None for one in (*told.arms.values(), *told.left_out.values()))


def _in_the_trial(told: ModelScores) -> list[ClassifierScores]:
    return [told.arms[MODEL]]


def _left_out(told: ModelScores) -> list[ClassifierScores]:
    return list(told.left_out.values())


def synthesise_everywhere(
    grid: Grid, settings: StudySettings, roster: Roster, model: str, weights: dict[str, Tensor], trial: Trial
) -> None:
    """Every site that trains ``model`` makes its synthetic and baseline images with the chosen generator, and keeps
    them."""
    phase = trial.phase(f"synthesis/{model}")
    checkpoints = PhaseCheckpoints(settings.run_dir, phase)
    if checkpoints.result() is not None:
        return
    settings.progress.phase(phase, 1)
    started = time.monotonic()
    members = roster.require(f"gan/{model}", settings.experiment.strategy.quorum)
    answers = instruct(grid, settings, members, Action.SYNTHESISE, phase, weights, model=model, trial=trial)
    require_quorum(settings, phase, answers, members)
    checkpoints.finish({"sites": list(answers.replies)})
    _done(settings, list(answers.replies), started)


def local_arms(grid: Grid, settings: StudySettings, roster: Roster, trial: Trial) -> dict[str, SiteArms]:
    """What each site tells of the classifiers that it trained alone."""
    phase = trial.phase("arms")
    checkpoints = PhaseCheckpoints(settings.run_dir, phase)
    kept = checkpoints.result()
    if kept is None:
        settings.progress.phase(phase, 1)
        started = time.monotonic()
        members = _both_roles(roster)
        answers = instruct(grid, settings, members, Action.ARMS, phase, trial=trial, result=SiteArms)
        require_quorum(settings, phase, answers, members)
        kept = {site: _asked_for(reply, settings).model_dump() for site, reply in answers.replies.items()}
        checkpoints.finish(kept)
        _done(settings, list(kept), started)
    return {site: SiteArms.model_validate(result) for site, result in kept.items()}


def _asked_for(reply: RecordDict, settings: StudySettings) -> SiteArms:
    """A site's scores of the study's arms; others that it may have sent are not looked at."""
    told, arms = read_result(reply, SiteArms), settings.experiment.study.arms
    return SiteArms(
        arms={arm: scores for arm, scores in told.arms.items() if arm in arms},
        left_out={arm: scores for arm, scores in told.left_out.items() if arm in arms},
        test_to_train=told.test_to_train,
    )


def federated_arms(
    grid: Grid, settings: StudySettings, roster: Roster, model: str | None, trial: Trial
) -> FederatedArms:
    """Trains one federated classifier an arm and scores it at every site that evaluates.

    Args:
        model: the GAN whose images the arms train on; None leaves out the arms that need any.
        trial: the repetition of the study; every arm of it starts from the same weights.
    """
    experiment = settings.experiment
    steps = experiment.pretraining.classifier_steps
    trainer = build_classifier_trainer(
        experiment,
        device=torch.device(experiment.evaluation.device),
        weights=experiment.weights,
        total_steps=max(1, steps),
        run=trial.run,
    )
    views = [View(organ, contrasts) for organ, contrasts in contrasts_by_organ(experiment).items()]
    begun = "classifier" if trial.run == 1 else f"classifier/run-{trial.run}"
    initial = pretrained(settings, begun, trainer, views, steps)
    outcome = FederatedArms({}, {}, {}, {})
    for arm in trained_arms(experiment, model, trial):
        phase = trial.phase(classifier_phase(arm))
        members = roster.require("classifier", experiment.strategy.quorum)
        if arm != REAL:
            # Synthetic images come from the sites that train the GAN, with their own masks.
            members = [member for member in members if f"gan/{model}" in member.hello.tasks]
        if arm in PLAIN_ARMS:
            members = [member for member in members if f"arm/{arm}" not in member.hello.declined]
            if len(members) < experiment.strategy.quorum:
                few = "fewer sites than strategy.quorum have masks of tumours, which its images are made of"
                settings.progress.message(f"{phase}: not trained, {few}")
                continue
        checkpoints = PhaseCheckpoints(settings.run_dir, phase)
        training = FederatedTraining(
            grid=grid,
            action=Action.TRAIN_CLASSIFIER,
            asked=instruction_of(trial, run=settings.name, phase=phase, experiment=settings.told, arm=arm),
            config=experiment.strategy,
            members=members,
            rounds=experiment.classifier.federation.rounds,
            checkpoints=checkpoints,
            progress=settings.progress,
            exchange=Averaging(build_aggregator(experiment.strategy), site_weights(members).examples),
        ).train(initial)
        kept = checkpoints.result()
        if kept is None:
            asked = trial.phase(f"federated/{arm}")
            evaluators = roster.able("evaluate")
            told = model_scores(grid, settings, evaluators, asked, training.weights, arm=arm, trial=trial)
            kept = {site: scores.model_dump() for site, scores in told.items()}
            checkpoints.finish(kept)
        told_of = {site: ModelScores.model_validate(scores) for site, scores in kept.items()}
        outcome.contributors[arm], outcome.shares[arm] = training.contributors, training.shares
        if arm != REAL and training.contributors != _of_real_slices(settings, trial):
            # Sites told what this arm gains over the one of real slices, and cannot know that others trained it.
            told_of = {site: told.without_gains() for site, told in told_of.items()}
        outcome.sites[arm] = told_of
        outcome.trained[arm] = {member.site: member.hello.organ for member in members}
        outcome.weights[arm] = training.weights
    return outcome


def _of_real_slices(settings: StudySettings, trial: Trial) -> dict[str, int]:
    """Who trained the arm of real slices alone that this trial's others are compared with."""
    phase = trial.with_real.phase(classifier_phase(REAL))
    records = PhaseCheckpoints(settings.run_dir, phase).records()
    return contributors(records) if records else {}


def trained_arms(experiment: Experiment, model: str | None, trial: Trial | None = None) -> list[str]:
    """The arms of a trial (the first one, if none is named); without a GAN that makes labelled slices, only the one
    that needs none."""
    chosen = arms_in_federation(experiment)
    return [
        arm for arm in arms_of(experiment, trial or Trial()) if arm in chosen and (model is not None or arm == "real")
    ]


def _both_roles(roster: Roster) -> list[Member]:
    return [member for member in roster.able("classifier") if "evaluate" in member.hello.tasks]


def _done(settings: StudySettings, contributors: list[str], started: float) -> None:
    settings.progress.advance(
        round=1, contributors=contributors, losses={}, scores={}, seconds=time.monotonic() - started
    )
