"""Evaluation of a translation between two domains (``CYCLE``): there and back, and against the target as a set.

Where the reference set holds both domains of the same patients, the translation is compared with the truth as well,
beside what leaving the slices unchanged would give.
"""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common.errors import ConfigError, DataError
from common.features.extractor import FeatureExtractor
from common.figures.figure import Figure
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.metrics.similarity import psnr, ssim_by_region
from common.study.experiment import EvaluationConfig
from common.training.kinds import TranslatingTrainer
from common.training.trainer import EvaluationProtocol, Trainer, View
from server.evaluation.distribution import ReferenceDistribution, with_unchanged
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.outcome import Measure, Outcome
from server.evaluation.real import cached_features
from server.evaluation.target import compared_with_target


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
        self.unchanged_frechet = self._compare(features(self.source.images))[0].value

    def score(self, trainer: Trainer[Any], seed: int) -> Outcome:
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
        measures = [
            Measure("cycle_ssim", whole, interval=True),
            Measure("cycle_psnr", psnr(returned, source)),
            Measure("cycle_ssim", inside, "foreground"),
            Measure("cycle_psnr", psnr(returned, source, foreground), "foreground"),
        ]
        target = self.target.images if self.same_patients else None
        versions, written = {"source": source, "translated": translated}, {"cycle SSIM": whole}
        if target is not None:
            measures += (there := compared_with_target(translated, target, self.source))
            versions["real target"] = target
            (similar,) = (one for one in there if (one.metric, one.part) == ("ssim", "foreground"))
            written = {"SSIM of the foreground": similar.values, "unchanged": similar.references["unchanged"]}
        versions["and back"] = returned
        compared = self.distribution.compare(
            translated, self.extractor.features(translated), matched=self.same_patients
        )
        sets = with_unchanged(compared, self.unchanged_frechet)
        distance = sets[0]
        assert distance.value is not None
        assert self.unchanged_frechet is not None
        return Outcome(
            protocol=EvaluationProtocol.CYCLE,
            measures=measures,
            sets=sets,
            patients=self.source.patients,
            reference_patients=len(set(self.source.patients.tolist())),
            images=translated[:, 0],
            # The best return is that of a generator that changes nothing.
            choice=-distance.value,
            shown={
                distance.name: distance.value,
                "unchanged": self.unchanged_frechet,
                "cycle SSIM": float(whole.mean()),
            },
            pictures=Gallery(
                about="Slices of one domain, translated to the other and back again"
                + (", beside the real slice of the same patient in the target domain." if self.same_patients else "."),
                versions={name: images[:, 0] for name, images in versions.items()},
                followed="translated",
                last="real target" if self.same_patients else None,
                rank_by=next(iter(written.values())),
                figures=written,
            ),
        )

    def _compare(self, features: Tensor) -> list[Figure]:
        """A translated slice belongs to a patient of the target set, or to nobody there."""
        return self.distribution.matched(features) if self.same_patients else self.distribution.free(features)
