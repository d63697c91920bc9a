"""Evaluation of a translation of contrasts (``TRANSLATION``): against the real target of the same slice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common.errors import ConfigError, DataError
from common.features.extractor import FeatureExtractor
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.study.experiment import EvaluationConfig
from common.training.kinds import PairedTranslationTrainer
from common.training.trainer import EvaluationProtocol, Trainer, View
from server.evaluation.distribution import ReferenceDistribution, with_unchanged
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.outcome import Outcome
from server.evaluation.real import cached_features
from server.evaluation.target import compared_with_target


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
            self.unchanged_frechet = self.distribution.matched(unchanged)[0].value

    def score(self, trainer: Trainer[Any], seed: int) -> Outcome:
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
        measures = [
            replace(one, interval=True) if (one.metric, one.part) == ("ssim", "foreground") else one
            for one in compared_with_target(made, target, self.paired_source)
        ]
        (similar,) = (one for one in measures if one.interval)
        written = {"SSIM of the foreground": similar.values, **similar.references}
        sets = with_unchanged(
            self.distribution.compare(
                translated[self.compared], self.extractor.features(translated[self.compared]), matched=True
            ),
            self.unchanged_frechet,
        )
        # SSIM of the foreground: unlike PSNR it does not reward a smooth mean of what may be there.
        choice = float(similar.values.mean())
        return Outcome(
            protocol=EvaluationProtocol.TRANSLATION,
            measures=measures,
            sets=sets,
            patients=self.paired_source.patients,
            reference_patients=len(set(self.paired_source.patients.tolist())),
            images=made[:, 0],
            choice=choice,
            shown={
                "foreground SSIM": choice,
                **{name: float(values.mean()) for name, values in similar.references.items()},
                sets[0].name: sets[0].value or 0.0,
            },
            pictures=Gallery(
                about="Slices in one contrast, translated to another, beside the real slice in that contrast. The "
                "generator sees the source and the outlined label map.",
                versions={
                    "source": self.paired_source.images[:, 0],
                    "translated": made[:, 0],
                    "real target": target[:, 0],
                },
                followed="translated",
                last="real target",
                rank_by=similar.values,
                figures=written,
                labels=self.paired_source.labels,
            ),
        )
