"""The command: what of a finished run is written, where, and what is said meanwhile."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from common.errors import ConfigError
from common.export.folder import is_occupied
from common.export.manifest import MANIFEST
from common.export.model import WEIGHTS, export_generator, network_weights
from common.export.synthetic import FORMATS, SyntheticSet, write_synthetic_set
from common.figures.formatting import plural
from common.imaging.slices import Slices
from common.system.devices import device_problem
from common.system.logs import quiet_libraries
from common.system.outside import say, say_json
from common.training.build import build_gan_trainer
from common.training.families import trainer_module
from common.training.kinds import SamplingTrainer
from common.training.trainer import Trainer, View
from server.export.finished import FinishedGan, FinishedRun
from server.export.generators import ExportedGenerator, generators_of
from server.export.images import PART, Sets, subject_folder, synthetic_sets
from server.reference import reference_part
from server.settings import StudySettings, settings_after_run

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Choices:
    """What the command line asks for.

    Attributes:
        models: names of GANs; None means every one of the study.
        to: folder of the export; None means ``export`` in the run's folder.
        images: of each synthetic set; 0 writes none.
        formats: of ``FORMATS``.
        seed: of the images; None means the run's.
        licence: of the weights, for the model cards.
        replace: whether an earlier export makes way.
    """

    models: Sequence[str] | None = None
    to: Path | None = None
    images: int = 100
    formats: Collection[str] = FORMATS
    seed: int | None = None
    licence: str = "not stated"
    replace: bool = False


@dataclass(frozen=True)
class Written:
    """One folder of the export; ``kind`` is ``generator`` or ``images``, and ``images`` their number."""

    model: str
    kind: str
    folder: str
    round: int
    subject: str = ""
    content: str = ""
    images: int = 0


def export(folder: Path, choices: Choices, *, as_json: bool) -> None:
    """Exports the run in ``folder`` and says what was written: as lines meanwhile, or as JSON at the end."""
    quiet_libraries()

    def tell(text: str) -> None:
        if not as_json:
            say(text)

    written = export_run(folder, choices, tell)
    if as_json:
        say_json([asdict(one) for one in written], indent=1)


def export_run(folder: Path, choices: Choices, tell: Tell) -> list[Written]:
    """Writes ``<to>/<model>/generator…`` and ``<to>/<model>/images-…``; each folder is whole, or not there.

    Raises:
        ConfigError: before anything is written, if there is no finished run, no such model, a wrong choice, or a
            folder that is in use.
        DataError: if the reference set can no longer be read, or a generator makes NaN.
        WeightsError: if pre-trained weights that the model is built with are missing.
    """
    _check(choices)
    run = FinishedRun.read(folder)
    settings = settings_after_run(run.folder, run.experiment)
    root = (choices.to or run.folder / "export").absolute()
    plans = [_plan(run, settings, name, root / name, choices, tell) for name in choices.models or run.results.gans]
    for place, mark in (target for plan in plans for target in plan.targets()):
        is_occupied(place, mark, choices.replace)
    return [written for plan in plans for written in _write(plan, choices, tell)]


@dataclass(frozen=True)
class _Plan:
    """What is to be written of one GAN, and where; no image is made yet."""

    gan: FinishedGan
    folder: Path
    generators: list[ExportedGenerator]
    sets: Sets

    def targets(self) -> list[tuple[Path, str]]:
        """Every folder, and the file that marks an earlier export in it."""
        return [
            *((self.folder / one.folder, WEIGHTS) for one in self.generators),
            *((self.folder / subject_folder(subject), MANIFEST) for subject in self.sets),
        ]


def _plan(run: FinishedRun, settings: StudySettings, name: str, folder: Path, choices: Choices, tell: Tell) -> _Plan:
    gan = run.gan(name)
    sets: Sets = {}
    if choices.images:
        family = trainer_module(gan.model.family).Trainer
        subjects = family.subjects(gan.model.config, gan.views)
        if not issubclass(family, SamplingTrainer):
            subjects = _with_reference(name, subjects, settings, tell)
        seed = run.results.run.seed if choices.seed is None else choices.seed
        sets = synthetic_sets(
            _trainer(run, gan),
            subjects,
            run.provenance(gan),
            lambda view: _reference(settings, view),
            count=choices.images,
            seed=seed,
        )
    return _Plan(gan, folder, list(generators_of(run, gan, choices.licence)), sets)


def _trainer(run: FinishedRun, gan: FinishedGan) -> Trainer[Any]:
    """The GAN with the weights of its chosen round, where the study scored it if that is possible here."""
    device = run.experiment.evaluation.device
    trainer = build_gan_trainer(
        run.experiment,
        gan.model.name,
        device=torch.device("cpu" if device_problem(device) else device),
        weights=run.experiment.weights,
    )
    trainer.load_shared_arrays(gan.weights)
    return trainer


def _with_reference(
    name: str, subjects: dict[str, tuple[View, ...]], settings: StudySettings, tell: Tell
) -> dict[str, tuple[View, ...]]:
    """The subjects that the coordinator has images of to begin with.

    Raises:
        ConfigError: if there are none.
    """
    there = {one: views for one, views in subjects.items() if views[0].organ in settings.reference}
    if not there:
        raise ConfigError(
            f"{name} makes its images on those of the reference set, and this run does not say where that lay; "
            "--images 0 exports the generators alone"
        )
    for subject in subjects.keys() - there.keys():
        tell(f"{name}: no images of {subject}, there is no reference set of it")
    return there


def _reference(settings: StudySettings, view: View) -> Slices:
    return reference_part(settings, view.organ, PART, contrasts=view.contrasts)


def _write(plan: _Plan, choices: Choices, tell: Tell) -> list[Written]:
    gan, written = plan.gan, []
    name, chosen = gan.model.name, gan.chosen_round
    tell(f"{name}: round {chosen} of {len(gan.result.rounds)}, learnt at {', '.join(gan.sites)}")
    for one in plan.generators:
        place = plan.folder / one.folder
        weights = network_weights(gan.weights, one.network)
        export_generator(place, weights, one.recipe, one.card, replace=choices.replace)
        written.append(Written(name, "generator", str(place), chosen))
        tell(f"  generator: {place}")
    for subject, make in plan.sets.items():
        place = plan.folder / subject_folder(subject)
        made: SyntheticSet = make()
        manifest = write_synthetic_set(place, made, choices.formats, replace=choices.replace)
        count = len(manifest.images)
        written.append(Written(name, "images", str(place), chosen, subject, manifest.content.value, count))
        fewer = "" if count == choices.images else f" (the reference set has no more than {count})"
        tell(f"  {plural(count, 'image')} of {subject}{fewer}, {manifest.content.value}: {place}")
    return written


def _check(choices: Choices) -> None:
    """Refuses what no run could give.

    Raises:
        ConfigError: naming the option.
    """
    if choices.images < 0:
        raise ConfigError(f"--images {choices.images}: 0 (generators alone) or more")
    if not choices.formats or not set(choices.formats) <= set(FORMATS):
        raise ConfigError(f"--formats {','.join(choices.formats)}: name at least one of {', '.join(FORMATS)}")
