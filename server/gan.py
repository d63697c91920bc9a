"""The GAN phase: federated rounds, each scored on the reference set, then the chosen round's one final score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import StudyError
from common.figures.figure import ImageScores
from common.protocol.actions import Action
from common.results.shares import Shares
from common.results.study import GanResult, GanRound, GanRun
from common.study.experiment import StrategyConfig
from common.study.models import Model, model_of
from common.study.phases import gan_phase
from common.study.trials import Trial
from common.training.build import build_gan_trainer, compile_networks, site_view
from common.training.families import trainer_module
from common.training.kinds import GradientTrainer, ProxySource
from common.training.trainer import Contributor, Exchange, Trainer, View
from server.aggregators.registry import build_aggregator
from server.averaging import Averaging
from server.checkpoint import PhaseCheckpoints
from server.gradients import Gradients
from server.instructions import instruction_of
from server.pretraining import keep_scores, kept_scores, pretrained
from server.proxies import check_proxies, exchange_proxies
from server.roster import Member, Roster
from server.rounds import FederatedTraining, RoundExchange, Scored, Training, nothing_scored
from server.scoring import RoundScoring, final_scores
from server.settings import StudySettings
from server.site_weights import site_weights


@dataclass(frozen=True)
class GanPlan:
    """One GAN of the study and the sites that train it, known to be enough before anything is trained.

    Attributes:
        model: what is trained.
        members: the sites that take part.
        views: what each of them shows the model.
        subjects: what it is scored on, by name: the reference set in these views.
        proxies: whose synthetic slices its sites train beside; None where they need none.
    """

    model: Model
    members: list[Member]
    views: dict[str, View]
    subjects: dict[str, tuple[View, ...]]
    proxies: ProxySource | None = None


@dataclass(frozen=True)
class TrainedGenerator:
    """The chosen round of each of a GAN's runs, and what the report says of them.

    Attributes:
        runs: the weights, first run first.
        result: for the report.
    """

    runs: list[dict[str, Tensor]] = field(repr=False)
    result: GanResult

    @property
    def weights(self) -> dict[str, Tensor]:
        """Those of the first run."""
        return self.runs[0]


def runs_of(model: Model) -> range:
    """The numbers of a model's trainings with different seeds."""
    return range(1, model.runs + 1)


def plan_gans(settings: StudySettings, roster: Roster) -> list[GanPlan]:
    """Who trains each GAN of the study, checked for all of them before the first begins.

    Raises:
        ConfigError: if a GAN's proxies are to come from one that is not trained before it, or makes none.
        StudyError: if fewer sites than the quorum can train one of them, their images are not what it needs, there is
            no reference set to score it on, or a side of it would have no proxies.
    """
    experiment = settings.experiment
    plans: list[GanPlan] = []
    for name in experiment.models:
        model = model_of(experiment, name)
        held = {member.site: (member.hello.organ, member.hello.contrasts) for member in roster.able(f"gan/{name}")}
        views = {site: site_view(experiment, model, *has) for site, has in held.items()}
        shown = {site: view for site, view in views.items() if view is not None}
        members = roster.require(f"gan/{name}", experiment.strategy.quorum)
        family = trainer_module(model.family).Trainer
        family.check_views(model.config, shown)
        seen = sorted(set(shown.values()), key=lambda view: view.name)
        subjects = _scored(name, family.subjects(model.config, seen), settings)
        taking_part = [member for member in members if member.site in shown]
        earlier = {plan.model.name: plan.views for plan in plans}
        proxies = check_proxies(experiment, model, taking_part, shown, earlier)
        plans.append(GanPlan(model, taking_part, shown, subjects, proxies))
    return plans


def train_gan(
    grid: Grid, settings: StudySettings, plan: GanPlan, earlier: Mapping[str, dict[str, Tensor]]
) -> TrainedGenerator:
    """Trains a GAN over its sites, as often as its ``runs`` say; every round is scored, the best one of a run is kept.

    Args:
        earlier: the weights of the GANs that were trained before, by name. All runs train beside the same proxies: a
            site releases them once.

    Raises:
        StudyError: if fewer sites than the quorum take part in a round.
    """
    released: dict[str, int] = {}
    if plan.proxies is not None:
        weights = earlier[plan.proxies.model]
        released = exchange_proxies(grid, settings, plan.model, plan.proxies, plan.members, plan.views, weights)
    runs = [_one_run(grid, settings, plan, run) for run in runs_of(plan.model)]
    first = runs[0]
    result = GanResult(
        family=plan.model.family,
        exchange=first.trainer.exchange,
        protocol=first.trainer.protocol,
        sites=[member.site for member in plan.members],
        chosen_round=first.chosen_round,
        rounds=first.rounds,
        final=first.final,
        runs=[
            GanRun(
                run=number,
                chosen_round=one.chosen_round,
                rounds=len(one.rounds),
                final=one.final,
                pretrained=one.pretrained,
                contributors=one.contributors,
                shares=one.shares,
            )
            for number, one in enumerate(runs, start=1)
        ],
        released=released,
    )
    return TrainedGenerator([one.weights for one in runs], result)


def train_for_trial(grid: Grid, settings: StudySettings, plan: GanPlan, trial: Trial) -> Training:
    """Trains a GAN on the training patients of one trial; the weights are those of its last round.

    No round is scored or chosen: the rates have fallen by then, and a choice by the reference set would be one more
    thing in which trials differ.

    Raises:
        StudyError: if fewer sites than the quorum take part in a round.
    """
    experiment, name = settings.experiment, plan.model.name
    device = torch.device(experiment.evaluation.device)
    trainer = build_gan_trainer(experiment, name, device=device, weights=experiment.weights, run=trial.run)
    initial = pretrained(settings, gan_phase(name, trial.run), trainer, _views(plan), experiment.pretraining.gan_steps)
    return _training(grid, settings, plan, trainer, trial).train(initial)


@dataclass(frozen=True)
class _Run:
    trainer: Trainer[object]
    weights: dict[str, Tensor] = field(repr=False)
    chosen_round: int
    rounds: list[GanRound]
    final: dict[str, ImageScores]
    pretrained: dict[str, ImageScores] | None
    contributors: dict[str, int]
    shares: list[Shares]


def _one_run(grid: Grid, settings: StudySettings, plan: GanPlan, run: int) -> _Run:
    experiment, name = settings.experiment, plan.model.name
    phase = gan_phase(name, run)
    checkpoints = PhaseCheckpoints(settings.run_dir, phase)
    trainer = build_gan_trainer(
        experiment, name, device=torch.device(experiment.evaluation.device), weights=experiment.weights, run=run
    )
    if experiment.evaluation.compile:
        compile_networks(trainer, to_train=False)
    steps = experiment.pretraining.gan_steps
    initial = pretrained(settings, phase, trainer, _views(plan), steps)
    scoring = RoundScoring(settings, plan.model, trainer, plan.subjects, checkpoints.folder)
    before = kept_scores(settings, phase)
    if steps and before is None:
        before = keep_scores(settings, phase, scoring(0, initial).scores)
    training = _training(grid, settings, plan, trainer, Trial(run=run), scoring).train(initial)
    final = checkpoints.result()
    if final is None:
        trainer.load_shared_arrays(training.weights)
        if run == 1:
            scoring.keep_gallery(training.chosen_round)
        scores = final_scores(settings, trainer, plan.subjects)
        final = {subject: score.model_dump() for subject, score in scores.items()}
        checkpoints.finish(final)
    rounds = [GanRound(**{key: getattr(record, key) for key in GanRound.model_fields}) for record in training.records]
    read = GanRun.model_validate({"run": run, "rounds": len(rounds), "final": final, "pretrained": before})
    return _Run(
        trainer,
        training.weights,
        training.chosen_round,
        rounds,
        read.final,
        read.pretrained,
        training.contributors,
        training.shares,
    )


def _views(plan: GanPlan) -> list[View]:
    """What the sites show, each once, in the order of their names."""
    return sorted(set(plan.views.values()), key=lambda view: view.name)


def _training(
    grid: Grid,
    settings: StudySettings,
    plan: GanPlan,
    trainer: Trainer[Any],
    trial: Trial,
    score: Callable[[int, dict[str, Tensor]], Scored] = nothing_scored,
) -> FederatedTraining:
    """The rounds of a GAN in one trial; unless they are scored none is chosen."""
    experiment, name = settings.experiment, plan.model.name
    phase = gan_phase(name, trial.run, trial.generator_name)
    return FederatedTraining(
        grid=grid,
        action=Action.TRAIN_GAN,
        asked=instruction_of(trial, run=settings.name, phase=phase, experiment=settings.told, model=name),
        config=experiment.strategy,
        members=plan.members,
        rounds=plan.model.federation.rounds,
        checkpoints=PhaseCheckpoints(settings.run_dir, phase),
        progress=settings.progress,
        exchange=round_exchange(trainer, plan, experiment.strategy),
        score=score,
    )


def _scored(
    name: str, subjects: Mapping[str, tuple[View, ...]], settings: StudySettings
) -> dict[str, tuple[View, ...]]:
    """The subjects that the coordinator has reference images of.

    Raises:
        StudyError: if there is none: no round could be scored or chosen.
    """
    there = {
        subject: views for subject, views in subjects.items() if all(view.organ in settings.reference for view in views)
    }
    if not there:
        organs = sorted({view.organ for views in subjects.values() for view in views})
        raise StudyError(
            f"gan/{name}: the sites train on {', '.join(organs)}, and there is a reference set of "
            f"{', '.join(settings.reference) or 'no organ'}; set reference.{organs[0]}.path"
        )
    return there


def round_exchange(trainer: Trainer[Any], plan: GanPlan, config: StrategyConfig) -> RoundExchange:
    """How rounds are done, by what the trainer declares."""
    examples = site_weights(plan.members).examples
    sites = {member.site: Contributor(plan.views[member.site], examples[member.site]) for member in plan.members}
    if trainer.exchange == Exchange.GRADIENTS:
        assert isinstance(trainer, GradientTrainer)
        return Gradients(trainer, sites, plan.model.federation.local_steps)
    if type(trainer).averaging_weights is Trainer.averaging_weights:
        return Averaging(build_aggregator(config), examples)
    return Averaging(build_aggregator(config), examples, lambda network: trainer.averaging_weights(network, sites))
