"""Scoring of a translation of contrasts (``Score.TRANSLATION``): against the real target of the same slice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.errors import ConfigError, DataError
from common.experiment import EvaluationConfig
from common.features.extractor import FeatureExtractor
from common.imaging.slices import SliceBatch, Slices
from common.imaging.spread import spread_over_patients
from common.metrics.bootstrap import paired_difference
from common.results import DistributionScores, FinalTranslation, TranslationScores
from common.results_classifier import Interval
from common.training.kinds import PairedTranslationTrainer
from common.training.trainer import Trainer, View
from server.evaluation.distribution import ReferenceDistribution
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.real import cached_features
from server.evaluation.target import compared_with_target, mean_translation


@dataclass(frozen=True)
class TranslationOutcome:
    """N reference slices, each beside what was made of it.

    Attributes:
        source: the slices that were translated, C contrasts.
        translated, target: (N, D, H, W) float32 in [0, 1].
        figures: name -> (N,) float64, by the names of :class:`~common.results.Translation`; PSNR in dB.
        distribution: the translated slices as a set, against the real target.
        unchanged_frechet: the Fréchet distance of the source slices themselves; None where C is not D.
    """

    source: SliceBatch = field(repr=False)
    translated: Tensor = field(repr=False)
    target: Tensor = field(repr=False)
    figures: dict[str, Tensor]
    distribution: DistributionScores
    unchanged_frechet: float | None

    @property
    def choice(self) -> float:
        """SSIM of the foreground: unlike PSNR it does not reward a smooth mean of what may be there."""
        return float(self.figures["foreground_ssim"].mean())

    @property
    def shown(self) -> dict[str, float]:
        """Foreground SSIM, beside that of unchanged slices where there is one, and the Fréchet distance."""
        told = {"foreground SSIM": self.choice}
        if "unchanged_foreground_ssim" in self.figures:
            told["unchanged"] = float(self.figures["unchanged_foreground_ssim"].mean())
        return {**told, self.distribution.frechet.name: self.distribution.frechet.value}

    @property
    def gallery_images(self) -> npt.NDArray[np.float16]:
        """(N, H, W) first contrast of every translated slice."""
        images: npt.NDArray[np.float16] = self.translated[:, 0].numpy().astype(np.float16)
        return images

    def to_scores(self) -> TranslationScores:
        """Means over slices."""
        return TranslationScores(**self._entries())

    def final(self, samples: int, seed: int) -> FinalTranslation:
        """Means over slices; intervals over patients."""

        def interval(values: Tensor, floor: Tensor) -> Interval:
            patients = self.source.patients.numpy()
            return paired_difference(values.numpy(), floor.numpy(), patients, samples, seed).interval()

        similar, gain = self.figures["foreground_ssim"], None
        if "unchanged_foreground_psnr" in self.figures:
            gain = interval(self.figures["foreground_psnr"], self.figures["unchanged_foreground_psnr"])
        return FinalTranslation(
            **self._entries(),
            foreground_ssim_interval=interval(similar, torch.zeros_like(similar)),
            foreground_psnr_gain=gain,
        )

    def gallery(
        self, count: int, by_round: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Slices, their translations and the truth; the first contrast of each, ranked by SSIM of the foreground."""
        figures = {"SSIM of the foreground": self.figures["foreground_ssim"]}
        if "unchanged_foreground_ssim" in self.figures:
            figures["unchanged"] = self.figures["unchanged_foreground_ssim"]
        return Gallery(
            about="Slices in one contrast, translated to another, beside the real slice in that contrast. The "
            "generator sees the source and the outlined label map.",
            versions={
                "source": self.source.images[:, 0],
                "translated": self.translated[:, 0],
                "real target": self.target[:, 0],
            },
            followed="translated",
            last="real target",
            rank_by=self.figures["foreground_ssim"],
            figures=figures,
            labels=self.source.labels,
        ).arrays(count, by_round)

    def _entries(self) -> dict[str, Any]:
        return {
            "translation": mean_translation(self.figures),
            "unchanged_frechet": self.unchanged_frechet,
            "slices": len(self.source),
            "patients": len(set(self.source.patients.tolist())),
            "distribution": self.distribution,
        }


class TranslationEvaluation:
    """One direction of a translation on one part of the reference set.

    Slices are chosen once, spread evenly over the patients, with and without a lesion. What does not depend on the
    generator (features of the real target, how far unchanged slices lie from it) is computed once.

    Args:
        source: slices in the contrasts to translate from.
        target: the same slices of the same patients in the contrasts to be made.
        config: how many slices are scored, in pairs and for the comparison as sets.
        extractor: features for the comparison as sets.
        cache_dir: folder for the real slices' features; None keeps them in memory only.

    Raises:
        DataError: if the two sides are not the same slices, or fewer than two patients have one.
    """

    def __init__(
        self,
        source: Slices,
        target: Slices,
        config: EvaluationConfig,
        *,
        extractor: FeatureExtractor,
        cache_dir: Path | None = None,
    ) -> None:
        self.views = (View(source.organ, source.contrasts), View(target.organ, target.contrasts))
        between = f"{self.views[0].name} and {self.views[1].name}"
        if not source.same_slices_as(target):
            raise DataError(
                f"the reference set's slices of {between} are not those of the same patients: a translation can only "
                "be compared slice by slice; give a reference set whose patients have every contrast of both"
            )
        # Nothing can be said of the foreground of a slice that has none.
        usable = np.flatnonzero(np.concatenate([one.foreground.any(axis=(1, 2)) for one in source.patients]))
        patients = len(np.unique(source.owner[usable]))
        if patients < 2:
            raise DataError(
                f"the reference set of the {source.organ} has {patients} patients with {between}, scoring needs two; "
                f"add patients below reference.{source.organ}.path"
            )
        self.extractor = extractor
        chosen = spread_over_patients(usable, source.owner, max(config.paired_images, config.frechet_images))
        owner, within = source.owner[chosen], np.arange(len(chosen))
        self.paired = spread_over_patients(within, owner, config.paired_images)
        self.compared = spread_over_patients(within, owner, config.frechet_images)
        self.source = source.batch(chosen)
        self.paired_source = source.batch(chosen[self.paired])
        self.target = target.batch(chosen).images

        def features(images: Tensor) -> Tensor:
            return cached_features(extractor, images, cache_dir)

        self.distribution = ReferenceDistribution.of_images(
            self.target[self.compared], owner[self.compared], extractor, features
        )
        self.unchanged_frechet = None
        if self.source.images.shape == self.target.shape:
            unchanged = features(self.source.images[self.compared])
            self.unchanged_frechet = self.distribution.matched(unchanged).frechet.value

    def score(self, trainer: Trainer[Any], seed: int) -> TranslationOutcome:
        """What the trainer's model makes of the source slices; nothing is drawn, so ``seed`` does not matter.

        Raises:
            ConfigError: if the model does not translate between these contrasts.
            DivergedError: if it has diverged.
        """
        if not isinstance(trainer, PairedTranslationTrainer) or trainer.sides(trainer.config) != self.views:
            raise ConfigError(
                f"{type(trainer).__name__} does not translate {self.views[0].name} to {self.views[1].name}"
            )
        translated = trainer.translate(self.source).float()
        if translated.shape != self.target.shape:
            raise ValueError(f"{type(trainer).__name__}.translate left out or reshaped slices")
        require_pixels(translated)
        translated = translated.clamp(0, 1)
        made, target = translated[self.paired], self.target[self.paired]
        return TranslationOutcome(
            source=self.paired_source,
            translated=made,
            target=target,
            figures=compared_with_target(made, target, self.paired_source),
            distribution=self.distribution.matched(self.extractor.features(translated[self.compared])),
            unchanged_frechet=self.unchanged_frechet,
        )
