"""The classifier study: every arm at each site, and every arm in federation."""

import time
from dataclasses import dataclass, field

import torch
from flwr.app import RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.config import contrasts_by_organ, to_yaml
from common.experiment import Experiment
from common.metrics.bootstrap import NORMAL_95, mean_over_sites
from common.metrics.classification import METRICS
from common.phases import classifier_phase
from common.records import Action, read_result
from common.results import ArmScores, Confusion, Interval, SiteArms
from common.training.build import build_classifier_trainer
from common.training.trainer import View
from server.averaging import Averaging
from server.checkpoint import PhaseCheckpoints
from server.pretraining import pretrained
from server.roster import Member, Roster
from server.rounds import FederatedTraining
from server.settings import StudySettings
from server.site_scores import instruct, model_scores, require_quorum


@dataclass(frozen=True)
class FederatedArms:
    """The federated classifiers: scores by arm, by organ and arm, and by arm and site, and the weights of each."""

    scores: dict[str, ArmScores]
    by_organ: dict[str, dict[str, ArmScores]]
    by_site: dict[str, dict[str, ArmScores]]
    weights: dict[str, dict[str, Tensor]] = field(repr=False)


def synthesise_everywhere(
    grid: Grid, settings: StudySettings, roster: Roster, model: str, weights: dict[str, Tensor]
) -> None:
    """Every site that trains ``model`` makes its synthetic and baseline images with the chosen generator, and keeps
    them."""
    phase = f"synthesis/{model}"
    checkpoints = PhaseCheckpoints(settings.run_dir, phase)
    if checkpoints.result() is not None:
        return
    settings.progress.phase(phase, 1)
    started = time.monotonic()
    members = roster.require(f"gan/{model}", settings.experiment.strategy.quorum)
    answers = instruct(grid, settings, members, Action.SYNTHESISE, phase, weights, model=model)
    require_quorum(settings, phase, answers, members)
    checkpoints.finish({"sites": list(answers.replies)})
    _done(settings, list(answers.replies), started)


def local_arms(grid: Grid, settings: StudySettings, roster: Roster) -> dict[str, dict[str, ArmScores]]:
    """Scores by site and arm of classifiers that each site trained alone."""
    checkpoints = PhaseCheckpoints(settings.run_dir, "arms")
    kept = checkpoints.result()
    if kept is None:
        settings.progress.phase("arms", 1)
        started = time.monotonic()
        members = _both_roles(roster)
        answers = instruct(grid, settings, members, Action.ARMS, "arms", result=SiteArms)
        require_quorum(settings, "arms", answers, members)
        kept = {site: _asked_for(reply, settings).model_dump() for site, reply in answers.replies.items()}
        checkpoints.finish(kept)
        _done(settings, list(kept), started)
    return {site: SiteArms.model_validate(result).arms for site, result in kept.items()}


def _asked_for(reply: RecordDict, settings: StudySettings) -> SiteArms:
    """A site's scores of the study's arms; others that it may have sent are not looked at."""
    told = read_result(reply, SiteArms).arms
    return SiteArms(arms={arm: scores for arm, scores in told.items() if arm in settings.experiment.study.arms})


def federated_arms(grid: Grid, settings: StudySettings, roster: Roster, model: str | None) -> FederatedArms:
    """Trains one federated classifier an arm and scores it on the test patients of the sites that trained it.

    Args:
        model: the GAN whose images the arms train on; None leaves out the arms that need any.
    """
    experiment = settings.experiment
    # Every arm starts from the same weights.
    steps = experiment.pretraining.classifier_steps
    trainer = build_classifier_trainer(
        experiment,
        device=torch.device(experiment.evaluation.device),
        weights=experiment.weights,
        total_steps=max(1, steps),
    )
    views = [View(organ, contrasts) for organ, contrasts in contrasts_by_organ(experiment).items()]
    initial = pretrained(settings, "classifier", trainer, views, steps)
    outcome = FederatedArms({}, {}, {}, {})
    for arm in trained_arms(experiment, model):
        phase = classifier_phase(arm)
        members = roster.require("classifier", experiment.strategy.quorum)
        if arm != "real":
            # Made images come from the sites that train the GAN, with their own masks.
            members = [member for member in members if f"gan/{model}" in member.hello.tasks]
        checkpoints = PhaseCheckpoints(settings.run_dir, phase)
        training = FederatedTraining(
            grid=grid,
            run=settings.name,
            phase=phase,
            action=Action.TRAIN_CLASSIFIER,
            experiment=to_yaml(experiment, leaving=True),
            config=experiment.strategy,
            members=members,
            rounds=experiment.classifier.federation.rounds,
            checkpoints=checkpoints,
            progress=settings.progress,
            exchange=Averaging(experiment.strategy),
            arm=arm,
        ).train(initial)
        kept = checkpoints.result()
        if kept is None:
            scores = model_scores(grid, settings, roster.able("evaluate"), f"federated/{arm}", training.weights)
            kept = SiteArms(arms=scores).model_dump()
            checkpoints.finish(kept)
        by_site = SiteArms.model_validate(kept).arms
        outcome.by_site[arm] = by_site
        outcome.weights[arm] = training.weights
        # The external centre stands in the cross-site matrix: it is no part of the federation's own figure.
        trained = {member.site: member.hello.organ for member in members}
        outcome.scores[arm] = pooled([scores for site, scores in by_site.items() if site in trained])
        for organ in sorted(set(trained.values())) if len(set(trained.values())) > 1 else []:
            own = [scores for site, scores in by_site.items() if trained.get(site) == organ]
            if own:
                outcome.by_organ.setdefault(organ, {})[arm] = pooled(own)
    return outcome


def trained_arms(experiment: Experiment, model: str | None) -> list[str]:
    """The study's arms; without a GAN that makes labelled slices, only the one that needs none."""
    return [arm for arm in experiment.study.arms if model is not None or arm == "real"]


def pooled(scores: list[ArmScores]) -> ArmScores:
    """Several sites' scores as one: unweighted means over the sites that could show theirs; counts where all did."""
    means = mean_over_sites([_summary(score) for score in scores])
    confusions = [score.confusion for score in scores]
    patients = [score.patients for score in scores]
    slices = [score.slices for score in scores]
    return ArmScores(
        **{metric: _share(means[metric].interval()) if metric in means else Interval(mean=None) for metric in METRICS},
        patients=sum(n for n in patients if n is not None) if None not in patients else None,
        slices=sum(n for n in slices if n is not None) if None not in slices else None,
        confusion=_sum([c for c in confusions if c is not None]) if None not in confusions else None,
        steps=scores[0].steps if scores else None,
    )


def _share(interval: Interval) -> Interval:
    """A normal interval of a share may reach beyond what a share can be; it ends there."""
    if interval.low is None or interval.high is None:
        return interval
    return Interval(mean=interval.mean, low=max(0.0, interval.low), high=min(1.0, interval.high))


def _summary(scores: ArmScores) -> dict[str, tuple[float | None, float | None]]:
    """Metric -> (mean, standard error); sites send intervals, whose width gives the error back."""

    def error(interval: Interval) -> float | None:
        if interval.low is None or interval.high is None:
            return None
        return (interval.high - interval.low) / (2 * NORMAL_95)

    return {metric: (getattr(scores, metric).mean, error(getattr(scores, metric))) for metric in METRICS}


def _sum(confusions: list[Confusion]) -> Confusion:
    return Confusion(**{name: sum(getattr(c, name) for c in confusions) for name in Confusion.model_fields})


def _both_roles(roster: Roster) -> list[Member]:
    return [member for member in roster.able("classifier") if "evaluate" in member.hello.tasks]


def _done(settings: StudySettings, contributors: list[str], started: float) -> None:
    settings.progress.advance(
        round=1, contributors=contributors, losses={}, scores={}, seconds=time.monotonic() - started
    )
