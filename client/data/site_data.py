"""What a hospital has for one trial of a study: its patients, who of them trains and tests, and their slices."""

from dataclasses import replace
from functools import cached_property

from client.data.begun import Begun
from client.data.cohorts import Cohorts, MakeReader, reader_of
from client.data.context import StudyContext
from client.data.folds import fewer_patients, fold_split
from client.data.near_copies import twins
from client.data.work import WorkFolder
from client.privacy.roster import roster_split
from common.errors import PrivacyError, RefusalError
from common.imaging.cohort import PreparedCohort
from common.imaging.slices import Slices
from common.imaging.split import Split, everything_is_test, split_patients
from common.study.progress import Listener
from common.study.trials import Trial

ONLY_PRIVATE = "it trains with differential privacy only, and the study asks for none"


class SiteData:
    """The site's patients in one trial; read when they are first needed, and kept.

    Args:
        study: the trial.
        cohorts: the prepared patients, which all trials share.
        trials: the trials that are kept; their own unless another trial keeps this one.
    """

    def __init__(self, study: StudyContext, cohorts: Cohorts, trials: "dict[Trial, SiteData] | None" = None) -> None:
        self.study = study
        self.cohorts = cohorts
        self._trials = {study.trial: self} if trials is None else trials
        self._training: dict[str, Slices] = {}

    @classmethod
    def of(
        cls, study: StudyContext, progress: Listener | None = None, make_reader: MakeReader = reader_of
    ) -> "SiteData":
        """The data of a study that begins or goes on at this site.

        Args:
            progress, make_reader: see :class:`Cohorts`.
        """
        work = WorkFolder.of(study)
        begun = None if study.local else Begun(work.run_state, work.log)
        return cls(study, Cohorts(study, begun, progress, make_reader))

    def within(self, trial: Trial) -> "SiteData":
        """The same patients in another trial; the first trial and the last one stay open."""
        if trial not in self._trials:
            for name in list(self._trials)[1:]:
                del self._trials[name]
            self._trials[trial] = SiteData(self.study.within(trial), self.cohorts, self._trials)
        return self._trials[trial]

    @property
    def first(self) -> "SiteData":
        """That of the first trial: what a site said of itself at hello is about it."""
        return next(iter(self._trials.values()))

    @property
    def cohort(self) -> PreparedCohort:
        """The prepared patients in the study's own contrasts."""
        return self.cohorts.cohort

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
        if self is self.first and self.cohorts.begun is not None:
            self.cohorts.begun.require_split(split, guarded=self.study.settings.privacy is not None)
        return split

    def _split(self) -> Split:
        names, settings, trial = self.cohort.tumour_by_patient, self.study.settings, self.study.trial
        study = self.study.experiment.study
        if settings.privacy is not None:
            return roster_split(settings, names, study, trial, for_good=not self.study.local)
        if "train" not in settings.roles:
            return everything_is_test(names)
        split, tumour = split_patients(names, self.study.experiment.split), dict(names)
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
        if self.study.private:
            raise PrivacyError("the training slices of a private run are handed out by client.privacy.slices alone")
        if self.study.private_only:
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
        view = self.study.view_of(model)
        if view.contrasts == tuple(self.study.organ.contrasts):
            return self.unguarded_training()
        cohort = self.cohorts.cohort_in(view.contrasts)
        # The split stays that of the study's own contrasts: a test patient is one for every model. A study that lacks
        # one of the other contrasts is missing here.
        there = {patient.patient for patient in cohort.patients}
        return cohort.slices([name for name in self.split.train if name in there])

    @cached_property
    def test(self) -> Slices:
        """The slices of the test patients."""
        return self.cohort.slices(self.split.test)

    @cached_property
    def left_out(self) -> Slices:
        """The slices of the fold that this trial leaves out of training; empty where it leaves out none."""
        return self.cohort.slices(self.split.validation if self.study.trial.fold else ())

    @cached_property
    def twins(self) -> frozenset[str]:
        """Names of patients that show one slice, equal in every pixel, on two sides of the split."""
        training, left_out, test = self.unguarded_training().patients, self.left_out.patients, self.test.patients
        return twins(training, test) | twins(training, left_out) | twins(left_out, test)
