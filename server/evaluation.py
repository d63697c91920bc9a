"""The coordinator's scoring of a generator on its public reference set.

What can be measured follows from ``Trainer.score``; :data:`MEASURES` holds one entry for each kind.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.errors import ConfigError, DataError, StudyError
from common.experiment import EvaluationConfig, Experiment
from common.features.extractor import FeatureExtractor, feature_extractor
from common.files import read_arrays, write_arrays
from common.imaging.slices import Slices
from common.metrics.frechet import disjoint_halves, frechet_distance_of
from common.metrics.inpainting import biharmonic
from common.metrics.similarity import box_mask, psnr, ssim, ssim_by_region
from common.results import Frechet
from common.seeding import derive_seed
from common.training.trainer import PairedTrainer, Reconstruction, Score, Trainer
from server.outcome import PairedOutcome

BATCH = 32
HALVES = 4
"""Splits of the reference patients over which a Fréchet distance and its floor are averaged."""


class ReferenceEvaluation:
    """One part of the reference set, made ready to score generators round after round.

    Tumour slices are chosen once, spread evenly over the patients. Everything that does not depend on the generator
    (features of the real slices, the real-against-real floor) is computed once, and the features are kept on disk.
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
        self.halves = disjoint_halves(owner[self.compared], derive_seed("reference set"), HALVES)
        self.real_features = self._cached_features(self.batch.images[self.compared], cache_dir)
        self.floor = self._mean_distance(self.real_features)
        self._inpainted: tuple[str, Tensor] | None = None

    def score(self, trainer: Trainer[Any], seed: int) -> PairedOutcome:
        """What the trainer's model is worth on this part; the same for the same weights and seed.

        Raises:
            ConfigError: if this kind of model cannot be scored.
            StudyError: if the model has diverged.
        """
        measure = MEASURES.get(trainer.score)
        if measure is None:
            known = ", ".join(MEASURES)
            raise ConfigError(f"a model with score {trainer.score} cannot be scored on the reference set, only {known}")
        return measure(self, trainer, seed)

    def frechet(self, images: Tensor) -> Frechet:
        """The Fréchet distance of generated images from the real reference slices.

        The images generated for one half of the patients are compared with the real slices of the other half, and so
        are the real ones for the floor (:func:`~common.metrics.frechet.disjoint_halves`); both are averaged over
        ``HALVES`` splits. A perfect generator therefore equals the floor. The bias at small n grows with the spread of
        the features, so that one whose images vary too little can also come out slightly below.

        Args:
            images: (N, C, H, W) in [0, 1], generated for the slices ``self.positions[self.compared]``, in order.
        """
        return Frechet(
            name=self.extractor.distance_name,
            value=self._mean_distance(self.extractor.features(images)),
            n=len(self.halves[0][0]),
            floor=self.floor,
        )

    def inpainted(self, images: Tensor, region: Tensor) -> Tensor:
        """Biharmonic inpainting of ``region``, remembered as long as images and region stay the same."""
        key = _digest(images, region)
        if self._inpainted is None or self._inpainted[0] != key:
            self._inpainted = (key, biharmonic(images, region))
        return self._inpainted[1]

    def _mean_distance(self, features: Tensor) -> float:
        distances = [frechet_distance_of(self.real_features[real], features[other]) for real, other in self.halves]
        return float(np.mean(distances))

    def _cached_features(self, images: Tensor, cache_dir: Path | None) -> Tensor:
        if cache_dir is None:
            return self.extractor.features(images)
        path = cache_dir / f"features-{_digest(images, self.extractor.fingerprint)[:32]}.npz"
        try:
            return torch.from_numpy(read_arrays(path)["features"])
        except (OSError, KeyError, ValueError, EOFError, BadZipFile):
            features = self.extractor.features(images)
            write_arrays(path, {"features": features.numpy()})
            return features


def build_evaluation(slices: Slices, experiment: Experiment, *, cache_dir: Path | None = None) -> ReferenceEvaluation:
    """The evaluation that ``experiment`` describes, on one part of the reference set.

    Raises:
        ConfigError: for unknown features.
        WeightsError: if the features need weights that are missing.
        DataError: if fewer than two patients have a usable tumour slice.
    """
    return ReferenceEvaluation(
        slices,
        experiment.evaluation,
        extractor=feature_extractor(experiment.evaluation.features, experiment.weights),
        cache_dir=cache_dir,
    )


def spread_over_patients(
    positions: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """At most ``count`` of ``positions``, as evenly over patients, and over each one's slices, as they allow.

    Args:
        positions: slices to choose from.
        owner: the patient of every slice, indexed by position.

    Returns:
        Chosen positions, ascending.

    >>> spread_over_patients(np.arange(8), np.array([0, 0, 0, 0, 0, 0, 0, 1]), 3).tolist()
    [1, 5, 7]
    """
    by_patient = [positions[owner[positions] == patient] for patient in np.unique(owner[positions])]
    taken = np.zeros(len(by_patient), dtype=np.int64)
    available = np.array([len(own) for own in by_patient], dtype=np.int64)
    while taken.sum() < min(count, available.sum()):
        open_patients = np.flatnonzero(taken < available)
        taken[open_patients[: count - taken.sum()]] += 1
    # The middles of equal stretches: the first and the last tumour slices are the least telling ones.
    chosen = [
        own[((np.arange(n) + 0.5) * len(own) / n).astype(np.int64)] for own, n in zip(by_patient, taken, strict=True)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else positions


def _paired(evaluation: ReferenceEvaluation, trainer: Trainer[Any], seed: int) -> PairedOutcome:
    """Slices made again from their own labels, against themselves and against biharmonic inpainting."""
    if not isinstance(trainer, PairedTrainer):
        raise ConfigError(f"{type(trainer).__name__} says that its score is paired but cannot reconstruct slices")
    made = _reconstruct(evaluation, trainer, seed)
    frechet = evaluation.frechet(made.images[evaluation.compared])
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
    whole_ssim, foreground_ssim, lesion_ssim = ssim_by_region(images, targets, [None, foreground, lesion])
    return PairedOutcome(
        figures={
            "ssim": whole_ssim,
            "psnr": psnr(images, targets),
            "foreground_ssim": foreground_ssim,
            "foreground_psnr": psnr(images, targets, foreground),
            "lesion_ssim": lesion_ssim,
            "lesion_psnr": psnr(images, targets, lesion),
            "floor_lesion_ssim": ssim(floor, targets, lesion),
            "floor_lesion_psnr": psnr(floor, targets, lesion),
        },
        frechet=frechet,
        patients=evaluation.batch.patients[kept],
        made=Reconstruction(images, targets, region),
        labels=evaluation.batch.labels[kept],
        biharmonic=floor,
    )


def _reconstruct(evaluation: ReferenceEvaluation, trainer: PairedTrainer[Any], seed: int) -> Reconstruction:
    condition = evaluation.slices.condition()
    parts = []
    for start in range(0, len(evaluation.positions), BATCH):
        batch = evaluation.slices.batch(evaluation.positions[start : start + BATCH])
        part = trainer.reconstruct(batch, condition, derive_seed(seed, "reconstruct", start))
        if part.images.shape != batch.images.shape or part.region.shape != batch.labels.shape:
            raise ValueError(f"{type(trainer).__name__}.reconstruct left out or reshaped slices")
        parts.append(part)
    images = torch.cat([part.images.detach().float().cpu() for part in parts])
    if not images.isfinite().all():
        raise StudyError("the model has diverged: it makes pixels that are not finite; lower its learning rate")
    return Reconstruction(
        images.clamp(0, 1),
        torch.cat([part.targets.detach().float().cpu() for part in parts]),
        torch.cat([part.region.cpu() for part in parts]),
    )


MEASURES: dict[Score, Callable[[ReferenceEvaluation, Trainer[Any], int], PairedOutcome]] = {Score.PAIRED: _paired}
"""How a model is scored, by what the coordinator can compare its images with."""


def _digest(*parts: Tensor | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.contiguous().numpy().tobytes())
        else:
            digest.update(part.encode())
    return digest.hexdigest()
