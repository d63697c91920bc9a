"""The repetitions of the classifier study: which patients train, and with whose images.

The first trial is the study on its fixed split. The others repeat it with another seed, with a fold of the patients
left out, with images of another GAN, with fewer patients, or with more or fewer synthetic slices.
"""

from dataclasses import dataclass

from common.errors import ConfigError
from common.study.experiment import Experiment
from common.study.models import model_of
from common.training.build import labelling_models


@dataclass(frozen=True)
class Trial:
    """One repetition.

    Attributes:
        images: the GAN whose slices the arms train on; empty for the study's own choice.
        run: which of its trainings made them; each run has its own seed for classifiers and folds too.
        fold: which fold of the patients that do not test is left out, 1-based; 0 for none.
        patients: most training patients of a site; 0 for the study's number.
        ratio: synthetic slices for each real one; 0 for the study's number.
    """

    images: str = ""
    run: int = 1
    fold: int = 0
    patients: int = 0
    ratio: float = 0.0

    @property
    def name(self) -> str:
        """What its phases and files are called; empty for the first trial.

        >>> Trial().name, Trial(run=2, fold=3).name, Trial(images="wgan_gp").name, Trial(ratio=0.5).name
        ('', 'run-2/fold-3', 'images-wgan_gp', 'ratio-0_5')
        """
        parts = [
            f"images-{self.images}" if self.images else "",
            f"run-{self.run}" if self.run > 1 else "",
            f"fold-{self.fold}" if self.fold else "",
            f"patients-{self.patients}" if self.patients else "",
            f"ratio-{self.ratio:g}".replace(".", "_") if self.ratio else "",
        ]
        return "/".join(part for part in parts if part)

    @property
    def generator_name(self) -> str:
        """The same for the training of its GAN, which does not depend on how many slices it makes afterwards."""
        return Trial(run=self.run, fold=self.fold, patients=self.patients).name

    def phase(self, of: str) -> str:
        """The name of the phase ``of`` this trial.

        >>> Trial().phase("arms"), Trial(fold=2).phase("arms")
        ('arms', 'arms/fold-2')
        """
        return f"{of}/{self.name}" if self.name else of

    @property
    def with_real(self) -> "Trial":
        """The trial whose arm of real slices alone this one's are compared with: its own, if it has one."""
        return Trial(run=self.run) if self.images or self.ratio else self

    @property
    def trains_generator(self) -> bool:
        """Whether its GAN is trained for it alone: not on the patients of the fixed split."""
        return bool(self.fold or self.patients)


def trials_of(experiment: Experiment) -> list[Trial]:
    """Every trial of a study, the first one first.

    Raises:
        ConfigError: if there are more runs than trainings of the GAN.

    >>> from common.study.config import compose
    >>> [trial.name for trial in trials_of(compose(["model=[cgan]", "study.folds=2", "study.curve=[4]"]))]
    ['', 'fold-1', 'fold-2', 'patients-4']
    """
    study, able = experiment.study, labelling_models(experiment)
    if not able:
        return [Trial()]
    trained = model_of(experiment, able[0]).runs
    if study.runs > trained:
        raise ConfigError(
            f"study.runs={study.runs}: each needs a training of {able[0]}, and there are {trained}; write "
            f"models.{able[0]}.runs={study.runs}"
        )
    runs = range(1, study.runs + 1)
    found = [Trial(run=run) for run in runs]
    found += [Trial(run=run, fold=fold) for run in runs for fold in range(1, study.folds + 1)]
    for name in able[1:] if study.each_generator else []:
        found += [Trial(images=name, run=run) for run in range(1, min(study.runs, model_of(experiment, name).runs) + 1)]
    found += [Trial(run=run, patients=patients) for patients in study.curve for run in runs]
    found += [Trial(ratio=ratio) for ratio in study.ratios]
    return found


def arms_in_federation(experiment: Experiment) -> list[str]:
    """The study's arms that are also trained by all sites together.

    >>> from common.study.config import compose
    >>> arms_in_federation(compose(["model=[cgan]", "study.federated_arms=[synthetic,real]"]))
    ['real', 'synthetic']
    """
    study = experiment.study
    return [arm for arm in study.arms if not study.federated_arms or arm in study.federated_arms]


def arms_of(experiment: Experiment, trial: Trial) -> list[str]:
    """The arms that a trial trains: all, or those that what differs in it has to do with.

    >>> from common.study.config import compose
    >>> arms_of(compose(["model=[cgan]"]), Trial(ratio=2.0))
    ['real_synthetic', 'copy_paste', 'blob']
    """
    arms = experiment.study.arms
    if trial.images:
        return [arm for arm in arms if arm in ("real_synthetic", "synthetic")]
    if trial.ratio:
        # Real slices alone have no ratio, and synthetic ones alone none that would change what is drawn.
        return [arm for arm in arms if arm in ("real_synthetic", "copy_paste", "blob")]
    return list(arms)
