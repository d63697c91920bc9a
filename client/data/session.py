"""A site at work on one message: its settings, the study's configuration, and its own prepared data."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from client.data.begun import patients_as_begun, require_split_as_begun
from client.policy.behind import Behind
from client.privacy.gradients import Watch, Way
from client.privacy.randomness import PrivateRandom
from client.privacy.roster import roster_split
from client.site import SiteSettings, chosen_patients
from common.config import Model, from_yaml, model_of, site_steps
from common.devices import device_problem
from common.errors import ConfigError, DataError, PrivacyError, RefusalError
from common.experiment import Experiment, OrganConfig, PreprocessingConfig, WeightsConfig
from common.files import read_json, write_bytes, write_json
from common.imaging.cohort import PreparedCohort
from common.imaging.folds import fewer_patients, fold_split
from common.imaging.joining import copies_of, join
from common.imaging.near_copies import Pair, joined
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.reader import Reader
from common.imaging.readers.registry import build_reader
from common.imaging.slices import Slices
from common.imaging.split import Split, everything_is_test, split_patients
from common.records import Instruction
from common.training.build import site_view
from common.training.trainer import Trainer, View
from common.trials import Trial, trials_of

LOCAL = ".local"
"""The run of a session that nobody asked for: of the doctor, of ``budget``, of ``prepare``. No message can name it, as
a run that a coordinator called so would leave roles open."""

ONLY_PRIVATE = "it trains with differential privacy only, and the study asks for none"


@dataclass
class Session:
    """Everything an action needs; data are opened when they are first asked for."""

    settings: SiteSettings
    experiment: Experiment
    run: str
    report_preparation: Callable[[int, int, str], None] | None = None
    trial: Trial = field(default_factory=Trial)
    """The repetition of the classifier study that it is about; it says who trains, and where files lie."""
    _first: "Session | None" = field(default=None, init=False, repr=False)
    _trials: dict[Trial, "Session"] = field(default_factory=dict, init=False, repr=False)
    _cohorts: dict[tuple[str, ...], PreparedCohort] = field(default_factory=dict, init=False, repr=False)
    _models: dict[str, Model] = field(default_factory=dict, init=False, repr=False)
    _training: dict[str, Slices] = field(default_factory=dict, init=False, repr=False)
    split_is_sound: bool = field(default=False, init=False, repr=False)
    """Whether this trial was found free of leaks (:mod:`client.study.leaks`)."""
    ways: dict[str, dict[str, Way]] = field(default_factory=dict, init=False, repr=False)
    """How gradients of single patients are found the fastest, by phase and optimiser, as its first round measured."""
    watch: Watch | None = field(default=None, repr=False)
    """Is shown what each private step adds up to, before the noise: for the canaries, which no hospital runs on
    patients."""
    private_random: Callable[[], PrivateRandom] = field(default=PrivateRandom, repr=False)
    """Makes the randomness of a private training; two trainings that shall draw alike share a key."""
    remembered: set[str] = field(default_factory=set, init=False, repr=False)
    """Names of training patients that are written down (:mod:`client.privacy.trained`)."""
    scored: tuple[str, ...] | None = field(default=None, init=False, repr=False)
    """The test patients that are scored; None: all of them (:mod:`client.privacy.questions`)."""
    behind: Behind = field(default_factory=Behind, init=False, repr=False)
    """What the training that is asked for drew from (:mod:`client.policy.updates`)."""
    later: tuple[str, ...] = field(default=(), init=False, repr=False)
    """Names of patients that came after the run had begun (:mod:`client.data.begun`)."""
    trainers: dict[tuple[str, int], Trainer[Any]] = field(default_factory=dict, init=False, repr=False)
    """Trainers that stay built between the exchanges of a round, by model and repeat."""

    @classmethod
    def open(cls, settings: SiteSettings, experiment_yaml: str, run: str) -> "Session":
        """The session for a message.

        Raises:
            ConfigError: if this site's device is not there; asked here, that is known before anything is trained.
            RefusalError: if the study's configuration does not fit this release, or its run has the name of a session
                that nobody asked for, which keeps no roles.
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

    def within(self, trial: Trial) -> "Session":
        """The session of another repetition of the study on the same prepared patients; the last one stays open."""
        if trial == self.trial:
            return self
        if self._first is not None:
            return self._first.within(trial)
        if trial not in self._trials:
            self._trials.clear()
            other = Session(self.settings, self.experiment, self.run, self.report_preparation, trial)
            other.watch, other.private_random = self.watch, self.private_random
            other._cohorts, other._models, other._first = self._cohorts, self._models, self.first
            self._trials[trial] = other
        return self._trials[trial]

    def let_trainers_go(self) -> None:
        """Drops the trainers that stay built between exchanges, of every trial."""
        for session in (self, *self._trials.values()):
            session.trainers.clear()

    @property
    def first(self) -> "Session":
        """The session of the first trial: what a site said of itself at hello is about it."""
        return self if self._first is None else self._first

    def asked_for(self, instruction: Instruction) -> "Session":
        """The session of the trial that an instruction means.

        Raises:
            RefusalError: if it is none of the study's: each keeps images and models here, without end otherwise.
        """
        asked = Trial(instruction.images, instruction.repeat, instruction.fold, instruction.patients, instruction.ratio)
        if asked not in self.all_trials:
            raise RefusalError("the study has no such trial")
        return self.within(asked)

    @cached_property
    def all_trials(self) -> frozenset[Trial]:
        """Every trial that the study may ask about."""
        runs = [self.model(name).runs for name in self.experiment.models]
        return frozenset([*trials_of(self.experiment), *(Trial(run=run) for run in range(1, max(runs) + 1))])

    @property
    def folder(self) -> Path:
        """Where state, results and report of this run lie."""
        return self.settings.run_folder(self.run)

    @property
    def state_folder(self) -> Path:
        """Where this trial keeps what must outlast a message: images that were made, and models of its own."""
        return self.run_state / self._place

    @property
    def run_state(self) -> Path:
        """Where the site keeps what holds for the whole run."""
        return self.folder / "state" / self.run

    @property
    def log(self) -> logging.Logger:
        """The site's own."""
        return logging.getLogger(f"oncofed.client.{self.settings.name}")

    @property
    def _place(self) -> Path:
        return Path("trials", self.trial.name) if self.trial.name else Path()

    @property
    def device(self) -> torch.device:
        return torch.device(self.settings.device)

    @property
    def weights(self) -> WeightsConfig:
        return WeightsConfig(**self.settings.weights)

    @property
    def private(self) -> bool:
        """Whether the study trains with patients as the unit of differential privacy."""
        return self.experiment.privacy.mode == "patient_dp"

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

    @cached_property
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

    @cached_property
    def reader(self) -> Reader:
        return self._reader(tuple(self.organ.contrasts))

    def _reader(self, contrasts: tuple[str, ...]) -> Reader:
        settings = self.settings
        return build_reader(settings.reader, organ=settings.organ, contrasts=list(contrasts), options=settings.options)

    @cached_property
    def cohort(self) -> PreparedCohort:
        """The site's patients, prepared and cached; bad studies are in its quarantine list."""
        return self.cohort_in(tuple(self.organ.contrasts))

    def cohort_in(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        """The same patients, prepared and cached in these contrasts."""
        if contrasts not in self._cohorts:
            cohort = self._prepare(contrasts)
            self._cohorts[contrasts] = join(cohort, joined(self.copies)) if self.joins else cohort
        return self._cohorts[contrasts]

    @property
    def joins(self) -> bool:
        """Whether patients that show the same slices are one. Not where answers are guarded: who counts as a patient
        would depend on what others show, in the study's contrasts and steps."""
        return self.settings.duplicates == "join" and not self.guarded

    @cached_property
    def copies(self) -> tuple[Pair, ...]:
        """Patients that share slices in the study's own contrasts, which decide for all: a split holds in each."""
        return copies_of(self._prepare(tuple(self.organ.contrasts)) if self.joins else self.cohort)

    def _prepare(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        cohort = self._usable(contrasts)
        if self.run == LOCAL:
            return cohort
        cohort, later = patients_as_begun(cohort, self.run_state, self.log, guarded=self.guarded)
        self.first.later = later or self.first.later
        return cohort

    def _usable(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        try:
            return self._prepared(contrasts)
        except DataError:
            if not self.guarded or self.run == LOCAL:
                raise
            # A folder that is not there, or holds nothing of this format, is an error whatever the study.
            self._reader(contrasts).find(self.settings.path)
            # The study chooses contrasts and steps: whether somebody has them would be an answer about that patient.
            self.log.exception("no patient can be used in this study; the coordinator is not told")
            least = self.organ.min_tumour_pixels
            return PreparedCohort(self.settings.organ, contrasts, (), (), min_tumour_pixels=least)

    @property
    def has_masks(self) -> bool:
        """Whether tumours are outlined or stated; where answers are guarded, as the hospital says of its data set."""
        return self.settings.masks is not False if self.guarded else self.cohort.has_masks

    @property
    def guarded(self) -> bool:
        """Whether the site watches over what its answers say of patients: the study is private, or the hospital has set
        a privacy budget, whatever mode the message claims, which is the coordinator's word."""
        return self.private or self.settings.privacy is not None

    @property
    def blind(self) -> bool:
        """Whether what the site takes part in must not depend on what its training patients show: the study is private,
        or the hospital lets nothing be trained on them without privacy."""
        own = self.settings.privacy
        return self.private or (own is not None and own.without == "refuse")

    def _prepared(self, contrasts: tuple[str, ...]) -> PreparedCohort:
        settings = self.settings
        return prepare_cohort(
            self._reader(contrasts),
            settings.path,
            cache_dir=settings.cache_dir,
            organ=settings.organ,
            contrasts=list(contrasts),
            image=self.experiment.image,
            preprocessing=self.steps,
            min_tumour_pixels=self.organ.min_tumour_pixels,
            only=chosen_patients(settings),
            masks=self.has_masks if self.guarded else settings.masks,
            identifying_data=settings.identifying_data,
            progress=self.report_preparation,
        )

    @cached_property
    def split(self) -> Split:
        """Training, validation and test patients of this trial; an external centre's are all test patients.

        Where a fold is left out, its patients are the validation part. The test patients are the same in every trial.

        Raises:
            RefusalError: if it is not the one that the run began with, or for a trial that it cannot be made for.
        """
        if self is not self.first:
            # The one that is compared; this one follows from the same patients.
            _ = self.first.split
        split = self._split()
        if self is self.first and self.run != LOCAL:
            require_split_as_begun(split, self.run_state, self.log, guarded=self.settings.privacy is not None)
        return split

    def _split(self) -> Split:
        names, study, trial = self.cohort.tumour_by_patient, self.experiment.study, self.trial
        if self.settings.privacy is not None:
            return roster_split(self.settings, names, study, trial, for_good=self.run != LOCAL)
        if "train" not in self.settings.roles:
            return everything_is_test(names)
        split, tumour = split_patients(names, self.experiment.split), dict(names)
        if trial.fold:
            split = fold_split(split, tumour, folds=study.folds, fold=trial.fold, run=trial.run)
        most = trial.patients or study.most_patients
        # Trials of one split differ by seeds alone; points of a curve and folds draw patients of their own.
        draw = f"{trial.run}/{trial.fold}" if trial.fold or trial.patients else ""
        train = fewer_patients(split.train, tumour, most=most, most_tumour=study.most_tumour_patients, draw=draw)
        return replace(split, train=tuple(name for name in split.train if name in set(train)))

    @property
    def training(self) -> Slices:
        """The training patients' slices in the study's own contrasts.

        Raises:
            PrivacyError: in a private run.
        """
        return self.training_for("")

    def training_for(self, model: str) -> Slices:
        """The training patients' slices as the study's GAN ``model`` looks at them.

        Raises:
            PrivacyError: in a private run, whose training slices :mod:`client.privacy.slices` alone hands out.
            RefusalError: in another run, where the hospital trains with privacy only; or if this site has nothing to
                show it.
        """
        if self.private:
            raise PrivacyError("the training slices of a private run are handed out by client.privacy.slices alone")
        own = self.settings.privacy
        if own is not None and own.without == "refuse":
            raise RefusalError(ONLY_PRIVATE)
        return self.unguarded_training(model)

    def unguarded_training(self, model: str = "") -> Slices:
        """:meth:`training_for` in whatever run; for :mod:`client.privacy.slices`, and no other module."""
        if model not in self._training:
            self._training[model] = self._slices_for(model)
        return self._training[model]

    def _slices_for(self, model: str) -> Slices:
        if not model:
            return self.cohort.slices(self.split.train)
        view = self.view(model)
        if view is None:
            raise RefusalError(f"it has no images that {model} looks at")
        if view.contrasts == tuple(self.organ.contrasts):
            return self.unguarded_training()
        cohort = self.cohort_in(view.contrasts)
        # The split stays that of the study's own contrasts: a test patient is one for every model. A study that lacks
        # one of the other contrasts is missing here.
        there = {patient.patient for patient in cohort.patients}
        return cohort.slices([name for name in self.split.train if name in there])

    @cached_property
    def test(self) -> Slices:
        """The slices of the test patients that are scored."""
        return self.cohort.slices(self.split.test if self.scored is None else self.scored)

    def score_only(self, names: tuple[str, ...]) -> None:
        """Test patients that are too few to join, or to miss, by themselves are not scored."""
        if names != self.scored:
            self.scored = names
            self.__dict__.pop("test", None)

    @cached_property
    def left_out(self) -> Slices:
        """The slices of the fold that this trial leaves out of training; empty where it leaves out none."""
        return self.cohort.slices(self.split.validation if self.trial.fold else ())

    def result_file(self, name: str) -> Path:
        """A file of the site's own results of this trial, which stay here."""
        return self.folder / "results" / self._place / name

    def update_result(self, name: str, key: str, value: Any) -> None:
        """Sets one entry of a JSON result, leaving the others."""
        path = self.result_file(name)
        entries = read_json(path) if path.exists() else {}
        write_json(path, {**entries, key: value})

    def record_training(
        self, phase: str, server_round: int, losses: dict[str, float], steps: int, seconds: float
    ) -> None:
        """Adds a line to the training curves; a repeated round replaces its earlier line."""
        path = self.folder / "results" / "training.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        lines = [line for line in lines if (line["phase"], line["round"]) != (phase, server_round)]
        lines.append(
            {"phase": phase, "round": server_round, "losses": losses, "steps": steps, "seconds": round(seconds, 2)}
        )
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode())
