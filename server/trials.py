"""The trials of the classifier study one after another: generator, images, classifiers at sites and in federation."""

from collections.abc import Iterator, Mapping, Sequence

from flwr.serverapp import Grid
from torch import Tensor

from common.results.classifier import EXTERNAL, FEDERATED, SITES, ClassifierScores, SiteArms, TrialResult
from common.study.experiment import Experiment
from common.study.models import model_of
from common.study.phases import classifier_phase, gan_phase
from common.study.trials import Trial, trials_of
from common.training.build import labelling_model
from server.arms import FederatedArms, federated_arms, local_arms, synthesise_everywhere, trained_arms
from server.gan import GanPlan, train_for_trial
from server.pooling import pooled
from server.roster import Roster
from server.rounds import Training
from server.settings import StudySettings


class TrialRunner:
    """Does one trial after another with what the study has trained before.

    Args:
        plans: the study's GANs.
        weights: what their runs came to, by name, first run first.
    """

    def __init__(
        self,
        grid: Grid,
        settings: StudySettings,
        roster: Roster,
        plans: Sequence[GanPlan],
        weights: Mapping[str, Sequence[dict[str, Tensor]]],
    ) -> None:
        self.grid, self.settings, self.roster = grid, settings, roster
        self.plans = {plan.model.name: plan for plan in plans}
        self.weights = weights
        self.generators: dict[Trial, Training] = {}
        self.chosen = labelling_model(settings.experiment)

    def synthesise(self, trial: Trial) -> None:
        """The trial's images, with a generator that was trained on no patient who tests in it."""
        model = trial.images or self.chosen
        if model is None:
            return
        if trial.trains_generator:
            training = train_for_trial(self.grid, self.settings, self.plans[model], trial)
            weights, self.generators[trial] = training.weights, training
        else:
            weights = self.weights[model][trial.run - 1]
        synthesise_everywhere(self.grid, self.settings, self.roster, model, weights, trial)

    def local(self, trial: Trial) -> dict[str, SiteArms]:
        """Classifiers of single sites."""
        return local_arms(self.grid, self.settings, self.roster, trial)

    def federated(self, trial: Trial) -> FederatedArms:
        """Classifiers of all sites together."""
        return federated_arms(self.grid, self.settings, self.roster, trial.images or self.chosen, trial)

    def result(self, trial: Trial, local: Mapping[str, SiteArms], federated: FederatedArms) -> TrialResult:
        """What came of a trial."""
        generator = self.generators.get(trial)
        return TrialResult(
            name=trial.name,
            images=trial.images or self.chosen or "",
            run=trial.run,
            fold=trial.fold,
            patients=trial.patients,
            ratio=trial.ratio,
            arms=scopes_of({site: told.arms for site, told in local.items()}, federated.scores, federated.external),
            left_out=scopes_of({site: told.left_out for site, told in local.items()}, federated.left_out, {}),
            test_to_train={site: told.test_to_train for site, told in local.items() if told.test_to_train is not None},
            contributors=federated.contributors,
            tested=federated.tested,
            shares=federated.shares,
            generator=generator.contributors if generator else {},
            generator_shares=generator.shares if generator else [],
        )

    def further(self) -> Iterator[TrialResult]:
        """Every trial after the first."""
        for trial in trials_of(self.settings.experiment)[1:]:
            self.synthesise(trial)
            local = self.local(trial)
            yield self.result(trial, local, self.federated(trial))


def scopes_of(
    sites: Mapping[str, Mapping[str, ClassifierScores]],
    federated: dict[str, ClassifierScores],
    external: dict[str, ClassifierScores],
) -> dict[str, dict[str, ClassifierScores]]:
    """Scores by scope and arm: of each site's own classifiers, their mean over the sites, in federation, outside."""
    own = {scope: dict[str, ClassifierScores](arms) for scope, arms in sites.items() if arms}
    mean: dict[str, ClassifierScores] = {}
    if len(own) > 1:
        # An arm that one site lacks is no mean over the sites.
        shared = [arm for arm in next(iter(own.values())) if all(arm in arms for arms in own.values())]
        mean = {arm: pooled([arms[arm] for arms in own.values()]) for arm in shared}
    found = {**own, SITES: mean, FEDERATED: federated, EXTERNAL: external}
    return {scope: arms for scope, arms in found.items() if arms}


def further_phases(experiment: Experiment) -> list[tuple[str, int]]:
    """The phases of every trial after the first, and their rounds: what the time left is counted from."""
    chosen = labelling_model(experiment)
    phases: list[tuple[str, int]] = []
    for trial in trials_of(experiment)[1:]:
        model = trial.images or chosen
        if trial.trains_generator and model:
            rounds = model_of(experiment, model).federation.rounds
            phases.append((gan_phase(model, trial.run, trial.generator_name), rounds))
        phases += [(trial.phase(f"synthesis/{model}"), 1), (trial.phase("arms"), 1)]
        rounds = experiment.classifier.federation.rounds
        phases += [(trial.phase(classifier_phase(arm)), rounds) for arm in trained_arms(experiment, chosen, trial)]
    return phases
