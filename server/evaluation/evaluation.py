"""From a trainer's ``score`` to the comparisons that the coordinator makes: one evaluation for each subject."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError, DataError
from common.experiment import EvaluationConfig
from common.features.extractor import FeatureExtractor, feature_extractor
from common.imaging.slices import Slices
from common.results import AnyFinal, AnyScores
from common.training.trainer import Score, Trainer, View
from server.evaluation.cycle import CycleEvaluation
from server.evaluation.distribution import TooFewError
from server.evaluation.nearest import NearestEvaluation
from server.evaluation.paired import PairedEvaluation
from server.evaluation.translation import TranslationEvaluation
from server.reference import reference_part
from server.settings import StudySettings


class Outcome(Protocol):
    """What one scoring found."""

    @property
    def choice(self) -> float:
        """What the best round is chosen by; higher is better."""
        ...

    @property
    def shown(self) -> dict[str, float]:
        """A few figures for a terminal, the telling one first."""
        ...

    @property
    def gallery_images(self) -> npt.NDArray[np.float16]:
        """(N, H, W): kept each round, so that the gallery can follow any image over the rounds."""
        ...

    def to_scores(self) -> AnyScores:
        """The record of a round."""
        ...

    def final(self, samples: int, seed: int) -> AnyFinal:
        """The record of the chosen round, with intervals over patients where there are pairs."""
        ...

    def gallery(
        self, count: int, by_round: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Arrays for the report's gallery, chosen by a rule."""
        ...


class Evaluation(Protocol):
    """One part of the reference set, made ready to score generators round after round."""

    def score(self, trainer: Trainer[Any], seed: int) -> Outcome:
        """What the trainer's model is worth here; the same for the same weights and seed."""
        ...


Builder = Callable[[Sequence[Slices], EvaluationConfig, FeatureExtractor, Path | None], Evaluation]


def _paired(
    slices: Sequence[Slices], config: EvaluationConfig, extractor: FeatureExtractor, cache_dir: Path | None
) -> Evaluation:
    return PairedEvaluation(slices[0], config, extractor=extractor, cache_dir=cache_dir)


def _nearest(
    slices: Sequence[Slices], config: EvaluationConfig, extractor: FeatureExtractor, cache_dir: Path | None
) -> Evaluation:
    return NearestEvaluation(slices[0], config, extractor=extractor, cache_dir=cache_dir)


def _cycle(
    slices: Sequence[Slices], config: EvaluationConfig, extractor: FeatureExtractor, cache_dir: Path | None
) -> Evaluation:
    source, target = slices
    return CycleEvaluation(source, target, config, extractor=extractor, cache_dir=cache_dir)


def _translation(
    slices: Sequence[Slices], config: EvaluationConfig, extractor: FeatureExtractor, cache_dir: Path | None
) -> Evaluation:
    source, target = slices
    return TranslationEvaluation(source, target, config, extractor=extractor, cache_dir=cache_dir)


EVALUATIONS: dict[Score, Builder] = {
    Score.PAIRED: _paired,
    Score.TRANSLATION: _translation,
    Score.CYCLE: _cycle,
    Score.NEAREST: _nearest,
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
    builder = EVALUATIONS.get(trainer.score)
    if builder is None:
        known = ", ".join(EVALUATIONS)
        raise ConfigError(f"a model with score {trainer.score} cannot be scored on the reference set, only {known}")
    config = settings.experiment.evaluation
    extractor = feature_extractor(config.features, settings.experiment.weights)
    cache_dir = settings.cache_dir / "features"

    def build(views: Sequence[View]) -> Evaluation:
        try:
            return builder(_reference(settings, views, part), config, extractor, cache_dir)
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
