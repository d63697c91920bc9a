"""Scoring of a translation between two domains (``Score.CYCLE``): there and back, and against the target as a set.

Where the reference set holds both domains of the same patients, the translation is compared with the truth as well,
beside what leaving the slices unchanged would give.
"""

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
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.metrics.bootstrap import paired_difference
from common.metrics.similarity import psnr, ssim_by_region
from common.results import CycleScores, DistributionScores, FinalCycle
from common.results_classifier import Interval
from common.training.kinds import TranslatingTrainer
from common.training.trainer import Trainer, View
from server.evaluation.distribution import ReferenceDistribution
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.real import cached_features
from server.evaluation.target import compared_with_target, mean_translation


@dataclass(frozen=True)
class CycleOutcome:
    """N reference slices, translated and translated back.

    Attributes:
        source, translated, returned: (N, C, H, W) float32 in [0, 1].
        target: (N, C, H, W), the same slices in the target domain; None where there are none.
        figures: name -> (N,) float64, by the names of :class:`~common.results.CycleScores` and
            :class:`~common.results.Translation`; PSNR in dB.
        patients: (N,) int64, whose slice it is.
        distribution: the translated slices as a set, against real ones of the target domain.
        unchanged_frechet: the Fréchet distance of the source slices themselves.
    """

    source: Tensor = field(repr=False)
    translated: Tensor = field(repr=False)
    returned: Tensor = field(repr=False)
    target: Tensor | None = field(repr=False)
    figures: dict[str, Tensor]
    patients: Tensor
    distribution: DistributionScores
    unchanged_frechet: float

    @property
    def choice(self) -> float:
        """The Fréchet distance, negated: the best return is that of a generator that changes nothing."""
        return -self.distribution.frechet.value

    @property
    def shown(self) -> dict[str, float]:
        """The Fréchet distance beside that of unchanged slices, and the similarity after the return."""
        frechet = self.distribution.frechet
        return {
            frechet.name: frechet.value,
            "unchanged": self.unchanged_frechet,
            "cycle SSIM": float(self.figures["cycle_ssim"].mean()),
        }

    @property
    def gallery_images(self) -> npt.NDArray[np.float16]:
        """(N, H, W) first contrast of every translated slice."""
        images: npt.NDArray[np.float16] = self.translated[:, 0].numpy().astype(np.float16)
        return images

    def to_scores(self) -> CycleScores:
        """Means over slices."""
        return CycleScores(**self._entries())

    def final(self, samples: int, seed: int) -> FinalCycle:
        """Means over slices; intervals over patients."""

        def interval(values: Tensor, floor: Tensor) -> Interval:
            return paired_difference(values.numpy(), floor.numpy(), self.patients.numpy(), samples, seed).interval()

        cycle, gain = self.figures["cycle_ssim"], None
        if self.target is not None:
            gain = interval(self.figures["foreground_psnr"], self.figures["unchanged_foreground_psnr"])
        return FinalCycle(
            **self._entries(), cycle_ssim_interval=interval(cycle, torch.zeros_like(cycle)), foreground_psnr_gain=gain
        )

    def gallery(
        self, count: int, by_round: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Slices, their translations and returns, and the truth where there is one."""
        versions = {"source": self.source, "translated": self.translated}
        figures = {"cycle SSIM": self.figures["cycle_ssim"]}
        rank_by, last = self.figures["cycle_ssim"], None
        if self.target is not None:
            versions["real target"] = self.target
            rank_by, last = self.figures["foreground_ssim"], "real target"
            figures = {"SSIM of the foreground": rank_by, "unchanged": self.figures["unchanged_foreground_ssim"]}
        versions["and back"] = self.returned
        return Gallery(
            about="Slices of one domain, translated to the other and back again"
            + (", beside the real slice of the same patient in the target domain." if last else "."),
            versions={name: images[:, 0] for name, images in versions.items()},
            followed="translated",
            last=last,
            rank_by=rank_by,
            figures=figures,
        ).arrays(count, by_round)

    def _entries(self) -> dict[str, Any]:
        returned = {name: values for name, values in self.figures.items() if name in CycleScores.model_fields}
        return {
            **{name: float(values.mean()) for name, values in returned.items()},
            "translation": None if self.target is None else mean_translation(self.figures),
            "unchanged_frechet": self.unchanged_frechet,
            "slices": len(self.patients),
            "patients": len(set(self.patients.tolist())),
            "distribution": self.distribution,
        }


class CycleEvaluation:
    """One direction of a translation on one part of the reference set.

    Args:
        source: slices of the domain to translate from.
        target: slices of the other domain. If they are the same slices of the same patients in other contrasts, slice
            by slice, the translation is compared with them one by one.
        config: how many slices are scored (``frechet_images``).
        extractor: features for the comparison as sets.
        cache_dir: folder for the real slices' features; None keeps them in memory only.

    Raises:
        DataError: if a side has fewer than two patients.
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
        for side in (source, target):
            if len(np.unique(side.owner)) < 2:
                raise DataError(
                    f"the reference set of the {side.organ} in {'+'.join(side.contrasts)} has "
                    f"{len(np.unique(side.owner))} patients, scoring needs two"
                )
        self.views = (View(source.organ, source.contrasts), View(target.organ, target.contrasts))
        self.extractor = extractor
        self.same_patients = source.same_slices_as(target)
        chosen = spread_over_patients(np.arange(len(source)), source.owner, config.frechet_images)
        others = (
            chosen
            if self.same_patients
            else spread_over_patients(np.arange(len(target)), target.owner, config.frechet_images)
        )
        self.source, self.target = source.batch(chosen), target.batch(others)

        def features(images: Tensor) -> Tensor:
            return cached_features(extractor, images, cache_dir)

        self.distribution = ReferenceDistribution.of_images(
            self.target.images, target.owner[others], extractor, features
        )
        self.unchanged_frechet = self._compare(features(self.source.images)).frechet.value

    def score(self, trainer: Trainer[Any], seed: int) -> CycleOutcome:
        """What the trainer's model makes of the source slices; nothing is drawn, so ``seed`` does not matter.

        Raises:
            ConfigError: if the model cannot translate between these domains.
            DivergedError: if it has diverged.
        """
        if not isinstance(trainer, TranslatingTrainer) or self.views[0] not in trainer.domains:
            raise ConfigError(f"{type(trainer).__name__} cannot translate from {self.views[0].name}")
        side = trainer.domains.index(self.views[0])
        source = self.source.images
        translated = trainer.translate(source, side).float()
        returned = trainer.translate(translated, 1 - side).float()
        require_pixels(translated, returned)
        translated, returned = translated.clamp(0, 1), returned.clamp(0, 1)
        foreground = self.source.foreground
        whole, inside = ssim_by_region(returned, source, [None, foreground])
        figures = {
            "cycle_ssim": whole,
            "cycle_psnr": psnr(returned, source),
            "foreground_cycle_ssim": inside,
            "foreground_cycle_psnr": psnr(returned, source, foreground),
        }
        target = self.target.images if self.same_patients else None
        if target is not None:
            figures |= compared_with_target(translated, target, self.source)
        return CycleOutcome(
            source=source,
            translated=translated,
            returned=returned,
            target=target,
            figures=figures,
            patients=self.source.patients,
            distribution=self._compare(self.extractor.features(translated)),
            unchanged_frechet=self.unchanged_frechet,
        )

    def _compare(self, features: Tensor) -> DistributionScores:
        """A translated slice belongs to a patient of the target set, or to nobody there."""
        return self.distribution.matched(features) if self.same_patients else self.distribution.free(features)
