"""What a study wants of a site: the study's configuration, its run and trial, as the site's own settings allow it."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from client.site import SiteSettings
from common.errors import ConfigError, RefusalError
from common.protocol.records import Instruction
from common.seeding import derive_seed
from common.study.config import from_yaml, site_steps
from common.study.experiment import Experiment, OrganConfig, PreprocessingConfig, WeightsConfig
from common.study.models import Model, model_of
from common.study.trials import Trial, trials_of
from common.system.devices import device_problem
from common.training.build import site_view
from common.training.trainer import View

LOCAL = ".local"
"""The run of a command at the site itself: ``doctor``, ``budget``, ``prepare``. No message can name it, as a run that a
coordinator called so would leave roles open."""


@dataclass(frozen=True)
class StudyContext:
    """One trial of one run of a study, at one site.

    Attributes:
        settings: of the site, whose rules no study can change.
        experiment: the study's configuration.
        run: its name.
        trial: which repetition of the classifier study; it decides who trains.
    """

    settings: SiteSettings
    experiment: Experiment
    run: str
    trial: Trial = field(default_factory=Trial)
    _models: dict[str, Model] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_message(cls, settings: SiteSettings, experiment_yaml: str, run: str) -> "StudyContext":
        """The first trial of the study that a message carries.

        Raises:
            ConfigError: if this site's device is not there; checked before anything is trained.
            RefusalError: if the study's configuration does not fit this release, or its run is called :data:`LOCAL`.
        """
        if run == LOCAL:
            raise RefusalError(f"no study is called {LOCAL}; give it another name")
        if problem := device_problem(settings.device):
            raise ConfigError(f"site.yaml: device: {settings.device}: {problem}")
        try:
            experiment = from_yaml(experiment_yaml)
        except ConfigError as error:
            raise RefusalError("the study's configuration does not fit this release") from error
        return cls(settings, experiment, run)

    def within(self, trial: Trial) -> "StudyContext":
        """The same study in another trial."""
        return replace(self, trial=trial)

    def trial_of(self, instruction: Instruction) -> Trial:
        """The trial that an instruction means.

        Raises:
            RefusalError: if it is none of the study's: each keeps images and models here, without end otherwise.
        """
        trial = Trial(instruction.images, instruction.repeat, instruction.fold, instruction.patients, instruction.ratio)
        if trial not in self.all_trials:
            raise RefusalError("the study has no such trial")
        return trial

    @cached_property
    def all_trials(self) -> frozenset[Trial]:
        """Every trial that the study may ask about."""
        runs = [self.model(name).runs for name in self.experiment.models]
        return frozenset([*trials_of(self.experiment), *(Trial(run=run) for run in range(1, max(runs) + 1))])

    @property
    def local(self) -> bool:
        """Whether a command at the site asks, and no coordinator."""
        return self.run == LOCAL

    @property
    def device(self) -> torch.device:
        return torch.device(self.settings.device)

    @property
    def weights(self) -> WeightsConfig:
        """Where pre-trained weights lie at this site."""
        return WeightsConfig(**self.settings.weights)

    @property
    def private(self) -> bool:
        """Whether the study trains with patients as the unit of differential privacy."""
        return self.experiment.privacy.mode == "patient_dp"

    @property
    def guarded(self) -> bool:
        """Whether the site watches over what its answers say of patients: the study is private, or the hospital has set
        a privacy budget, whatever mode the message claims, which is the coordinator's word."""
        return self.private or self.settings.privacy is not None

    @property
    def private_only(self) -> bool:
        """Whether the hospital trains with differential privacy only."""
        return self.settings.privacy is not None and self.settings.privacy.without == "refuse"

    @property
    def blind(self) -> bool:
        """Whether what the site takes part in must not depend on what its training patients show: the study is private,
        or the hospital lets nothing be trained on them without privacy."""
        return self.private or self.private_only

    @property
    def min_cell(self) -> int:
        """Fewest patients behind a figure that leaves: the study's number, but never below the hospital's own."""
        return max(self.settings.min_cell, self.experiment.study.min_cell)

    @property
    def organ(self) -> OrganConfig:
        """What the study wants to see of this site's organ.

        Raises:
            RefusalError: if the study is not about it.
        """
        organ = self.experiment.organs.get(self.settings.organ)
        if organ is None:
            raise RefusalError(f"the study is not about the {self.settings.organ}, which this site has images of")
        return organ

    @property
    def steps(self) -> PreprocessingConfig:
        """The study's preprocessing, with what this site does differently."""
        return site_steps(self.organ, self.settings.steps)

    @property
    def held(self) -> tuple[str, ...]:
        """The contrasts that this site has: those its ``site.yaml`` names, or those of its organ in the study."""
        return tuple(self.settings.contrasts or self.organ.contrasts)

    def model(self, name: str) -> Model:
        """A GAN of the study, typed and checked."""
        if name not in self._models:
            self._models[name] = model_of(self.experiment, name)
        return self._models[name]

    def view(self, model: str) -> View | None:
        """What this site shows the study's GAN ``model``; None if it has nothing that the GAN looks at."""
        return site_view(self.experiment, self.model(model), self.settings.organ, self.held)

    def view_of(self, model: str) -> View:
        """:meth:`view`, where there has to be one.

        Raises:
            RefusalError: if this site has nothing to show it.
        """
        view = self.view(model)
        if view is None:
            raise RefusalError(f"it has no images that {model} looks at")
        return view

    def seed(self, *what: str | int) -> int:
        """A seed of this site in this study, by name."""
        return derive_seed(self.experiment.seed, self.settings.name, *what)

    def trial_seed(self, *what: str | int) -> int:
        """:meth:`seed` of this trial; the first one's names no trial."""
        return self.seed(*what, *([self.trial.name] if self.trial.name else []))
