"""The generators of a GAN as folders, each with its model card."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.export.card import GeneratorCard
from common.export.recipe import Recipe, exported_recipes
from common.training.families import trainer_module
from common.training.kinds import PairedTranslationTrainer, TranslatingTrainer
from server.export.finished import FinishedGan, FinishedRun

DEMO = (
    "It learnt from a simulated cohort: every patient is a deformation of one anatomy an organ, with lesions drawn by "
    "a program. Figures of similarity are optimistic on it, and it knows no real tumour."
)


@dataclass(frozen=True)
class ExportedGenerator:
    """A generator that is about to be written.

    Attributes:
        folder: its name beside the others of the same GAN.
        network: its name in the trainer.
        recipe: how it is built again.
        card: what is said about it.
    """

    folder: str
    network: str
    recipe: Recipe
    card: GeneratorCard


def generators_of(run: FinishedRun, gan: FinishedGan, licence: str) -> Iterator[ExportedGenerator]:
    """Every generator of ``gan`` that is worth handing on.

    Args:
        run: the run it comes from.
        gan: its chosen round.
        licence: of the weights, as the card shall say.

    Raises:
        ConfigError: for a family that cannot be exported.
    """
    model, size = gan.model, run.experiment.image.size
    channels = len(gan.views[0].contrasts)
    trainer = trainer_module(model.family).Trainer
    recipes = exported_recipes(model.family, trainer.recipes(model.config, size=size, channels=channels), model.config)
    subjects = _subjects_by_generator(gan, len(recipes))
    declared = [entry.patients for entry in gan.sites.values()]
    patients = None if None in declared else sum(one for one in declared if one is not None)
    organs: dict[str, tuple[str, ...]] = {}
    for view in gan.views:
        organs[view.organ] = tuple(dict.fromkeys([*organs.get(view.organ, ()), *view.contrasts]))
    for (network, recipe), shown in zip(recipes.items(), subjects, strict=True):
        finals = {subject: gan.result.final[subject] for subject in shown if subject in gan.result.final}
        yield ExportedGenerator(
            folder=network.removesuffix("_ema").replace("_", "-"),
            network=network,
            recipe=recipe,
            card=GeneratorCard(
                provenance=run.provenance(gan),
                organs=organs,
                sites=len(gan.sites),
                patients=patients or None,
                rounds=len(gan.result.rounds),
                size=size,
                task=recipe.task,
                inputs=recipe.inputs,
                output=recipe.output,
                scores={subject: tuple(final.figures) for subject, final in finals.items()},
                licence=licence,
                limits=(DEMO,) if run.results.run.demo_cohort else (),
            ),
        )


def _subjects_by_generator(gan: FinishedGan, generators: int) -> list[list[str]]:
    """What each generator was scored on: a direction of a translation has one of its own, others share them all."""
    family = trainer_module(gan.model.family).Trainer
    subjects = list(family.subjects(gan.model.config, gan.views))
    if issubclass(family, TranslatingTrainer | PairedTranslationTrainer):
        return [[subject] for subject in subjects]
    return [subjects] * generators
