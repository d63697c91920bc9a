"""Evaluation of a generator that makes reference slices again (``PAIRED``): against them, and against inpainting."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import ConfigError, DataError, StudyError
from common.features.extractor import FeatureExtractor
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.metrics.inpainting import biharmonic
from common.metrics.similarity import box_mask
from common.seeding import Label, derive_seed
from common.study.experiment import EvaluationConfig
from common.training.kinds import PairedTrainer, Reconstruction
from common.training.trainer import EvaluationProtocol, Trainer
from server.evaluation.distribution import ReferenceDistribution
from server.evaluation.diverged import require_pixels
from server.evaluation.gallery import Gallery
from server.evaluation.measures import ONE_BY_ONE
from server.evaluation.outcome import Measure, Outcome
from server.evaluation.real import cached_features, digest

BATCH = 32


class PairedEvaluation:
    """One part of the reference set, made ready to score generators round after round.

    Tumour slices are chosen once, spread evenly over the patients. Everything that does not depend on the generator
    (features of the real slices, the real-against-real floor) is computed once, and the features are kept on disk. The
    slices that were generated for one half of the patients are compared with the real ones of the other half.
    Biharmonic inpainting needs the region that a trainer blanks; it is computed again only when that changes, so
    score every round with one seed.

    Args:
        slices: the part of the reference set.
        config: how many slices are scored, in pairs and for the Fréchet distance.
        extractor: features for the Fréchet distance.
        cache_dir: folder for the real slices' features; None keeps them in memory only.

    Raises:
        DataError: if fewer than two patients have a usable tumour slice.
    """

    def __init__(
        self,
        slices: Slices,
        config: EvaluationConfig,
        *,
        extractor: FeatureExtractor,
        cache_dir: Path | None = None,
    ) -> None:
        self.slices = slices
        self.extractor = extractor
        usable = slices.tumour_positions()
        patients = len(np.unique(slices.owner[usable]))
        if patients < 2:
            raise DataError(
                f"the reference set of the {slices.organ} has {patients} patients with a tumour of at least "
                f"{slices.min_tumour_pixels} pixels on a slice, scoring needs two; add patients, or lower "
                f"organs.{slices.organ}.min_tumour_pixels"
            )
        self.positions = spread_over_patients(usable, slices.owner, max(config.paired_images, config.frechet_images))
        self.batch = slices.batch(self.positions)
        owner = slices.owner[self.positions]
        within = np.arange(len(self.positions))
        self.paired = spread_over_patients(within, owner, config.paired_images)
        self.compared = spread_over_patients(within, owner, config.frechet_images)
        self.distribution = ReferenceDistribution.of_images(
            self.batch.images[self.compared],
            owner[self.compared],
            extractor,
            lambda images: cached_features(extractor, images, cache_dir),
        )
        self._inpainted: tuple[str, Tensor] | None = None

    def score(self, trainer: Trainer[Any], seed: int) -> Outcome:
        """What the trainer's model is worth on this part; the same for the same weights and seed.

        Raises:
            ConfigError: if this kind of model cannot be scored.
            DivergedError: if it has diverged.
        """
        if not isinstance(trainer, PairedTrainer):
            raise ConfigError(f"{type(trainer).__name__} says that its score is paired but cannot reconstruct slices")
        return _score(self, trainer, seed)

    def inpainted(self, images: Tensor, region: Tensor) -> Tensor:
        """Biharmonic inpainting of ``region``, remembered as long as images and region stay the same."""
        key = digest([images, region])
        if self._inpainted is None or self._inpainted[0] != key:
            self._inpainted = (key, biharmonic(images, region))
        return self._inpainted[1]


def _score(evaluation: PairedEvaluation, trainer: PairedTrainer[Any], seed: int) -> Outcome:
    """Slices made again from their own labels, against themselves and against biharmonic inpainting."""
    made = _reconstruct(evaluation, trainer, seed)
    features = evaluation.extractor.features(made.images[evaluation.compared])
    # A slice whose lesion lies outside the foreground has nothing to generate, and no lesion crop.
    kept = [i for i in evaluation.paired.tolist() if made.region[i].any() and evaluation.batch.foreground[i].any()]
    if not kept:
        raise StudyError("the model blanked no region on any reference slice: there is nothing to score")
    images, targets, region = made.images[kept], made.targets[kept], made.region[kept]
    foreground = evaluation.batch.foreground[kept]
    try:
        floor = evaluation.inpainted(targets, region)
    except ValueError as error:
        raise ConfigError(f"this model cannot be compared with inpainting: {error}") from error
    lesion = box_mask(region)
    regions = {"": None, "foreground": foreground, "lesion": lesion}
    measures = []
    for metric, of_regions in ONE_BY_ONE.items():
        # Pixels that were not generated lie in the box around the region too, for the generator and for inpainting.
        (inpainted,) = of_regions(floor, targets, [lesion])
        for part, values in zip(regions, of_regions(images, targets, list(regions.values())), strict=True):
            beside = {"biharmonic": inpainted} if part == "lesion" else {}
            measures.append(Measure(metric, values, part, beside, gain_over="biharmonic" if beside else ""))
    (similar,) = (one for one in measures if (one.metric, one.part) == ("ssim", "lesion"))
    lesion_ssim, inpainted = similar.values, similar.references["biharmonic"]
    sets = evaluation.distribution.compare(made.images[evaluation.compared], features, matched=True)
    return Outcome(
        protocol=EvaluationProtocol.PAIRED,
        measures=measures,
        sets=sets,
        patients=(patients := evaluation.batch.patients[kept]),
        reference_patients=len(set(patients.tolist())),
        images=images[:, 0],
        # It is the generator's own work, and unlike PSNR it does not reward a smooth fill.
        choice=float(lesion_ssim.mean()),
        shown={
            "lesion SSIM": float(lesion_ssim.mean()),
            "floor": float(inpainted.mean()),
            sets[0].name: sets[0].value or 0.0,
        },
        pictures=Gallery(
            about="The generator sees the blanked slice and the label map; biharmonic inpainting sees the blanked "
            "slice alone and is the floor.",
            versions={
                "real": targets[:, 0],
                "blanked": targets[:, 0].masked_fill(region, 0),
                "generated": images[:, 0],
                "biharmonic": floor[:, 0],
            },
            followed="generated",
            last="real",
            rank_by=lesion_ssim,
            figures={"lesion SSIM": lesion_ssim, "biharmonic": inpainted},
            labels=evaluation.batch.labels[kept],
            extra={"region": region},
        ),
    )


def _reconstruct(evaluation: PairedEvaluation, trainer: PairedTrainer[Any], seed: int) -> Reconstruction:
    condition = evaluation.slices.condition()
    parts = []
    for start in range(0, len(evaluation.positions), BATCH):
        batch = evaluation.slices.batch(evaluation.positions[start : start + BATCH])
        part = trainer.reconstruct(batch, condition, derive_seed(seed, Label.RECONSTRUCT, start))
        if part.images.shape != batch.images.shape or part.region.shape != batch.labels.shape:
            raise ValueError(f"{type(trainer).__name__}.reconstruct left out or reshaped slices")
        parts.append(part)
    images = torch.cat([part.images.detach().float().cpu() for part in parts])
    require_pixels(images)
    return Reconstruction(
        images.clamp(0, 1),
        torch.cat([part.targets.detach().float().cpu() for part in parts]),
        torch.cat([part.region.cpu() for part in parts]),
    )
