"""Scoring of a generator of whole slices (``Score.NEAREST``): no counterpart exists, so the nearest real slice is."""

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
from common.metrics.diversity import Diversity, has_collapsed, mean_pairwise_ms_ssim
from common.metrics.nearest import Nearest, nearest
from common.metrics.normalised import blurred
from common.results import DistributionScores, FinalNearest, NearestScores
from common.seeding import derive_seed
from common.training.kinds import SamplingTrainer
from common.training.trainer import Trainer
from server.evaluation.distribution import ReferenceDistribution
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.real import cached_features

PAIRS = 200
"""Pairs of slices behind a figure of diversity."""

PAIRS_SEED = derive_seed("reference set", "pairs")


@dataclass(frozen=True)
class NearestOutcome:
    """N slices made from noise.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        references: (N, C, H, W), the real slice that is nearest to each.
        tumour: (N,) bool, the class that each was made as.
        found: how near they are.
        real: how near real slices are to those of other patients.
        diversity, real_diversity: similarity of pairs of generated, and of real slices.
        collapsed: whether too many of the generated pairs are strikingly alike.
        distribution: the generated slices as a set.
        patients: reference patients behind all this.
    """

    images: Tensor = field(repr=False)
    references: Tensor = field(repr=False)
    tumour: Tensor
    found: Nearest
    real: Nearest
    diversity: Diversity
    real_diversity: Diversity
    collapsed: bool
    distribution: DistributionScores
    patients: int

    @property
    def choice(self) -> float:
        """The Fréchet distance, negated: nearness alone rewards copies, and diversity alone rewards noise.

        At small n that distance hardly sees a collapse, so a round that collapsed counts as one of blurred images more.
        """
        frechet = self.distribution.frechet
        return -frechet.value - (frechet.blurred if self.collapsed else 0.0)

    @property
    def shown(self) -> dict[str, float]:
        """The Fréchet distance with its floor, and the similarity of pairs."""
        frechet = self.distribution.frechet
        return {frechet.name: frechet.value, "floor": frechet.floor, "MS-SSIM of pairs": self.diversity.mean}

    @property
    def gallery_images(self) -> npt.NDArray[np.float16]:
        """(N, H, W) first contrast of every generated slice."""
        images: npt.NDArray[np.float16] = self.images[:, 0].numpy().astype(np.float16)
        return images

    def to_scores(self) -> NearestScores:
        """Means over the generated slices."""
        return NearestScores(**self._entries())

    def final(self, samples: int, seed: int) -> FinalNearest:
        """Means with intervals over the generated slices, which are independent of each other."""
        each = np.arange(len(self.images))

        def interval(values: Tensor) -> Any:
            own = values.numpy()
            return paired_difference(own, np.zeros_like(own), each, samples, seed).interval()

        return FinalNearest(
            **self._entries(),
            nearest_ssim_interval=interval(self.found.ssim),
            nearest_psnr_interval=interval(self.found.psnr),
        )

    def gallery(
        self, count: int, by_round: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Generated slices beside their nearest real ones, ranked by the SSIM between them."""
        return Gallery(
            about="Slices made from noise, each beside the reference slice nearest to it (by the mean squared "
            "difference of pixels); the same noise is followed over the rounds.",
            versions={"generated": self.images[:, 0], "nearest real": self.references[:, 0]},
            followed="generated",
            rank_by=self.found.ssim,
            figures={"made with a tumour": self.tumour.double(), "SSIM to the nearest": self.found.ssim},
        ).arrays(count, by_round)

    def _entries(self) -> dict[str, Any]:
        return {
            **_means("", self.found),
            **_means("real_", self.real),
            "ms_ssim": self.diversity.mean,
            "real_ms_ssim": self.real_diversity.mean,
            "ms_ssim_scales": self.diversity.scales,
            "collapsed": self.collapsed,
            "slices": len(self.images),
            "patients": self.patients,
            "distribution": self.distribution,
        }


def _means(prefix: str, found: Nearest) -> dict[str, float]:
    assert found.foreground_ssim is not None
    assert found.foreground_psnr is not None
    return {
        f"{prefix}nearest_ssim": float(found.ssim.mean()),
        f"{prefix}nearest_psnr": float(found.psnr.mean()),
        f"{prefix}foreground_nearest_ssim": float(found.foreground_ssim.nanmean()),
        f"{prefix}foreground_nearest_psnr": float(found.foreground_psnr.nanmean()),
    }


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

    def score(self, trainer: Trainer[Any], seed: int) -> NearestOutcome:
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
        return NearestOutcome(
            images=images,
            references=self.real.images[found.index],
            tumour=self.tumour,
            found=found,
            real=self.real_nearest,
            diversity=(diversity := mean_pairwise_ms_ssim(images, PAIRS, PAIRS_SEED)),
            real_diversity=self.real_diversity,
            collapsed=has_collapsed(diversity, self.blurred_diversity),
            distribution=self.distribution.free(self.extractor.features(images)),
            patients=len(np.unique(self.owner)),
        )
