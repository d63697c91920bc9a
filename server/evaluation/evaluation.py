"""From a trainer's ``score`` to the comparisons that the coordinator makes: one evaluation for each subject."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from common.errors import ConfigError, DataError
from common.features.extractor import feature_extractor
from common.imaging.slices import Slices
from common.training.trainer import EvaluationProtocol, Trainer, View
from server.evaluation.cycle import CycleEvaluation
from server.evaluation.distribution import TooFewError
from server.evaluation.nearest import NearestEvaluation
from server.evaluation.outcome import Outcome
from server.evaluation.paired import PairedEvaluation
from server.evaluation.translation import TranslationEvaluation
from server.reference import reference_part
from server.settings import StudySettings


class Evaluation(Protocol):
    """One part of the reference set, made ready to score generators round after round."""

    def score(self, trainer: Trainer[Any], seed: int) -> Outcome:
        """What the trainer's model is worth here; the same for the same weights and seed."""
        ...


EVALUATIONS: dict[EvaluationProtocol, Callable[..., Evaluation]] = {
    EvaluationProtocol.PAIRED: PairedEvaluation,
    EvaluationProtocol.TRANSLATION: TranslationEvaluation,
    EvaluationProtocol.CYCLE: CycleEvaluation,
    EvaluationProtocol.NEAREST: NearestEvaluation,
}
"""How a model is scored, by what the coordinator can compare its images with."""


def build_evaluations(
    settings: StudySettings, trainer: Trainer[Any], subjects: Mapping[str, Sequence[View]], part: str
) -> dict[str, Evaluation]:
    """An evaluation for each subject, on one part of the reference set.

    Raises:
        ConfigError: if this kind of model cannot be scored, or for unknown features.
        WeightsError: if the features need weights that are missing.
        DataError: if the reference set is too small or lacks a contrast.
    """
    builder = EVALUATIONS.get(trainer.protocol)
    if builder is None:
        known = ", ".join(EVALUATIONS)
        raise ConfigError(
            f"a model with protocol {trainer.protocol} cannot be scored on the reference set, only {known}"
        )
    config = settings.experiment.evaluation
    extractor = feature_extractor(config.features, settings.experiment.weights)
    cache_dir = settings.cache_dir / "features"

    def build(views: Sequence[View]) -> Evaluation:
        try:
            return builder(*_reference(settings, views, part), config, extractor=extractor, cache_dir=cache_dir)
        except TooFewError as error:
            raise DataError(
                f"reference set ({', '.join(view.name for view in views)}), part {part}, with "
                f"evaluation.frechet_images={config.frechet_images}: {error}; start a new run with more patients in "
                "this part, or with a larger number"
            ) from error

    return {name: build(views) for name, views in subjects.items()}


def _reference(settings: StudySettings, views: Sequence[View], part: str) -> list[Slices]:
    """The reference set in each view; contrasts of one organ are prepared together, to show the same slices."""
    contrasts: dict[str, list[str]] = {}
    for view in views:
        known = contrasts.setdefault(view.organ, [])
        known += [contrast for contrast in view.contrasts if contrast not in known]
    whole = {organ: reference_part(settings, organ, part, contrasts=names) for organ, names in contrasts.items()}
    return [whole[view.organ].in_contrasts(view.contrasts) for view in views]
