"""Evaluation of a generator of whole slices (``NEAREST``): no counterpart exists, so the nearest real slice is."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import ConfigError, DataError
from common.features.extractor import FeatureExtractor
from common.figures.figure import Figure
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.metrics.diversity import has_collapsed, mean_pairwise_ms_ssim
from common.metrics.nearest import Nearest, nearest
from common.metrics.normalised import blurred
from common.seeding import Label, derive_seed
from common.study.experiment import EvaluationConfig
from common.training.kinds import SamplingTrainer
from common.training.trainer import EvaluationProtocol, Trainer
from server.evaluation.distribution import ReferenceDistribution
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.outcome import Measure, Outcome
from server.evaluation.real import cached_features

PAIRS = 200
"""Pairs of slices behind a figure of diversity."""

PAIRS_SEED = derive_seed(Label.REFERENCE_SET, Label.PAIRS)


class NearestEvaluation:
    """One part of the reference set, made ready to score generators of whole slices.

    Slices with and without a tumour are taken as the reference set has them, spread evenly over its patients, and the
    generator is asked for as many of each.

    Args:
        slices: the part of the reference set.
        config: how many slices are compared (``frechet_images``).
        extractor: features for the comparison as sets.
        cache_dir: folder for the real slices' features; None keeps them in memory only.

    Raises:
        DataError: if there are fewer than two patients.
    """

    def __init__(
        self,
        slices: Slices,
        config: EvaluationConfig,
        *,
        extractor: FeatureExtractor,
        cache_dir: Path | None = None,
    ) -> None:
        self.slices, self.extractor = slices, extractor
        patients = len(np.unique(slices.owner))
        if patients < 2:
            raise DataError(f"the reference set of the {slices.organ} has {patients} patients, scoring needs two")
        positions = spread_over_patients(np.arange(len(slices)), slices.owner, config.frechet_images)
        self.owner = slices.owner[positions]
        self.real = slices.batch(positions)
        self.tumour = torch.from_numpy(slices.tumour_class()[positions])
        self.distribution = ReferenceDistribution.of_images(
            self.real.images, self.owner, extractor, lambda images: cached_features(extractor, images, cache_dir)
        )
        self.real_nearest = nearest(
            self.real.images,
            self.real.images,
            foreground=self.real.foreground,
            patients=self.owner,
            reference_patients=self.owner,
        )
        self.real_diversity = mean_pairwise_ms_ssim(self.real.images, PAIRS, PAIRS_SEED, self.owner)
        self.blurred_diversity = mean_pairwise_ms_ssim(blurred(self.real.images), PAIRS, PAIRS_SEED, self.owner)

    def score(self, trainer: Trainer[Any], seed: int) -> Outcome:
        """What the trainer's model makes of noise; the same for the same weights and seed.

        Raises:
            ConfigError: if the model cannot make slices.
            DivergedError: if it has diverged.
        """
        if not isinstance(trainer, SamplingTrainer):
            raise ConfigError(f"{type(trainer).__name__} says that its score is nearest but cannot sample slices")
        images = trainer.sample(self.tumour, self.slices.condition(), seed).float()
        require_pixels(images)
        images = images.clamp(0, 1)
        found = nearest(images, self.real.images, foreground=self.real.foreground)
        diversity = mean_pairwise_ms_ssim(images, PAIRS, PAIRS_SEED)
        collapsed = has_collapsed(diversity, self.blurred_diversity)
        sets = self.distribution.compare(images, self.extractor.features(images), matched=False)
        pairs = Figure(
            metric="ms_ssim",
            value=diversity.mean,
            n=PAIRS,
            references={"real": self.real_diversity.mean},
            conditions={"scales": diversity.scales},
        )
        distance = sets[0]
        assert distance.value is not None
        return Outcome(
            protocol=EvaluationProtocol.NEAREST,
            measures=self._measures(found),
            sets=[*sets, pairs],
            patients=None,
            reference_patients=len(np.unique(self.owner)),
            images=images[:, 0],
            # Nearness alone rewards copies, and diversity alone rewards noise. At small n the Fréchet distance hardly
            # sees a collapse, so a round that collapsed counts as one of blurred images more.
            choice=-distance.value - (self.distribution.blurred if collapsed else 0.0),
            shown={
                distance.name: distance.value,
                "floor": self.distribution.floor,
                "MS-SSIM of pairs": diversity.mean,
            },
            pictures=Gallery(
                about="Slices made from noise, each beside the reference slice nearest to it (by the mean squared "
                "difference of pixels); the same noise is followed over the rounds.",
                versions={"generated": images[:, 0], "nearest real": self.real.images[found.index][:, 0]},
                followed="generated",
                rank_by=found.ssim,
                figures={"made with a tumour": self.tumour.double(), "SSIM to the nearest": found.ssim},
            ),
            collapsed=collapsed,
        )

    def _measures(self, found: Nearest) -> list[Measure]:
        """Nearness to the nearest real slice, and of real slices to the nearest one of another patient."""
        real = self.real_nearest
        assert found.foreground_ssim is not None
        assert found.foreground_psnr is not None
        assert real.foreground_ssim is not None
        assert real.foreground_psnr is not None
        return [
            Measure("nearest_ssim", found.ssim, "", {"real": real.ssim}, interval=True),
            Measure("nearest_psnr", found.psnr, "", {"real": real.psnr}, interval=True),
            Measure("nearest_ssim", found.foreground_ssim, "foreground", {"real": real.foreground_ssim}),
            Measure("nearest_psnr", found.foreground_psnr, "foreground", {"real": real.foreground_psnr}),
        ]
