"""How far a set of generated images lies from the real reference images, as sets: three families of figures.

Each stands beside what real images of other patients reach, under the same conditions: as many images, other
patients. What does not depend on the generator is computed once.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.features.extractor import FeatureExtractor
from common.figures.figure import Figure
from common.metrics.frechet import disjoint_halves, frechet_distance_of
from common.metrics.kernel_distance import kernel_distance, kernel_distances_of_subsets
from common.metrics.manifold import manifold_scores
from common.metrics.normalised import blurred, normalised_distance
from common.seeding import Label, derive_seed, numpy_generator
from server.evaluation.measures import AS_SETS

HALVES = 4
"""Splits of the reference patients over which every figure is averaged."""

NEIGHBOUR = 5
"""The neighbour that a ball of precision, recall, density and coverage reaches to, as in their sources."""

SUBSETS = 25
"""Random subsets of each split behind the spread of a kernel distance."""

Setting = Literal["matched", "free"]
Pair = tuple[Tensor, Tensor]
"""Features of real images and of the images they are compared with, n of each."""


class TooFewError(ValueError):
    """There are too few reference images, or patients that they are of, to compare sets of images."""


class ReferenceDistribution:
    """Features of the real reference images, made ready to be compared with generated ones round after round.

    Patients are split into two halves, ``HALVES`` times over (:func:`~common.metrics.frechet.disjoint_halves`), with
    ``n`` images on each side of every split. The floor compares the real images of one half with those of the other.
    A generated image takes the place of the other half's, so that value and floor have one n and therefore one bias:

    matched: generated image i was made from real image i. The images made for the other half take its place; a
        perfect generator equals the floor, because it is the same images.
    free: a generated image belongs to nobody. Each half of the real images is compared with ``n`` generated ones
        drawn at random, so that all real images count and n is still that of the floor; a generator that draws
        from what the real images were drawn from equals the floor on average. One whose images are independent of
        each other can lie below, where slices of one real patient are alike: n independent images fill the space
        better than n slices of fewer patients. (Normalised distance of one slice each of 42 other real patients, on
        the demo's three organs at n = 30: -0.02 to 0.01.)

    Args:
        real: (N, D) features of real images.
        blurred: (N, D) features of the same images under :func:`~common.metrics.normalised.blurred`.
        patients: (N,) whose image each is.
        features: the network's name.
        distance_name: what a Fréchet distance of these features is called.
        images: (N, C, H, W) the real images themselves, for the metrics that need no features; None leaves those out.

    Attributes:
        n: images on each side of every comparison; ``free`` needs at least as many generated ones.

    Raises:
        TooFewError: with fewer than two patients, or so few images that a side has only one.
    """

    def __init__(
        self,
        real: Tensor,
        blurred: Tensor,
        patients: npt.NDArray[np.int64],
        *,
        features: str,
        distance_name: str,
        images: Tensor | None = None,
    ) -> None:
        if real.shape != blurred.shape or len(real) != len(patients):
            raise ValueError(
                f"expected features of the same images, got {tuple(real.shape)} and {tuple(blurred.shape)} "
                f"of {len(patients)} images"
            )
        self.features = features
        self.distance_name = distance_name
        self.kernel_name = "KID" if distance_name == "FID" else f"KD-{features}"
        self.real, self.images = real, images
        if len(np.unique(patients)) < 2:
            raise TooFewError("comparing sets of images needs at least two patients")
        self.halves = disjoint_halves(patients, derive_seed(Label.REFERENCE_SET), HALVES)
        self.n = len(self.halves[0][0])
        if self.n < 2:
            raise TooFewError("comparing sets of images needs at least two images in each half of the patients")
        floor = self._matched_pairs(real)
        self.floor = _mean(frechet_distance_of, floor)
        self.blurred = _mean(frechet_distance_of, self._matched_pairs(blurred))
        self.kernel_floor = _mean(kernel_distance, floor)
        self.real_manifold = self._manifold(floor)

    @staticmethod
    def of_images(
        images: Tensor,
        patients: npt.NDArray[np.int64],
        extractor: FeatureExtractor,
        features_of: Callable[[Tensor], Tensor] | None = None,
    ) -> "ReferenceDistribution":
        """From real images (N, C, H, W) in [0, 1].

        Args:
            features_of: ``extractor.features``, from a cache where there is one; called for the images and for the
                blurred ones.
        """
        features_of = features_of or extractor.features
        return ReferenceDistribution(
            features_of(images),
            features_of(blurred(images)),
            patients,
            features=extractor.name,
            distance_name=extractor.distance_name,
            images=images,
        )

    def compare(self, images: Tensor, features: Tensor, *, matched: bool) -> list[Figure]:
        """Every figure of generated images (M, C, H, W) and their features (M, D).

        Args:
            matched: whether image i was made from real image i; otherwise it belongs to nobody.
        """
        figures = self.matched(features) if matched else self.free(features)
        return [*figures, *self._of_images(images, matched=matched)]

    def matched(self, generated: Tensor) -> list[Figure]:
        """The figures of features (N, D) of images of which the i-th was made from the i-th real image.

        Raises:
            ValueError: if there are not as many as real ones, or a value is not finite.
        """
        if generated.shape != self.real.shape:
            raise ValueError(f"expected matched features {tuple(self.real.shape)}, got {tuple(generated.shape)}")
        return self._scores("matched", generated, self._matched_pairs(generated))

    def free(self, generated: Tensor) -> list[Figure]:
        """The figures of features (M, D) of images that belong to nobody, M at least ``n``; with ``2 * n`` or more,
        the two halves of a split are compared with different ones. The same images give the same scores.

        Raises:
            ValueError: if there are too few, or a value is not finite.
        """
        if generated.ndim != 2 or len(generated) < self.n:
            raise ValueError(f"expected at least {self.n} features, got {tuple(generated.shape)}")
        return self._scores("free", generated, self._free_pairs(self.real, generated))

    def _matched_pairs(self, features: Tensor) -> list[Pair]:
        return [(self.real[half], features[other]) for half, other in self.halves]

    def _free_pairs(self, real: Tensor, generated: Tensor) -> list[Pair]:
        random = numpy_generator(derive_seed(Label.REFERENCE_SET), Label.GENERATED_IMAGES, len(generated))
        pairs = []
        for half, other in self.halves:
            order = random.permutation(len(generated))
            pairs += [
                (real[half], generated[order[: self.n]]),
                (real[other], generated[order[len(order) - self.n :]]),
            ]
        return pairs

    def _of_images(self, generated: Tensor, *, matched: bool) -> list[Figure]:
        """What needs no features; real images against real ones are compared once."""
        if self.images is None:
            return []
        real = self.images
        pairs = [(real[half], generated[other]) for half, other in self.halves]
        if not matched:
            pairs = self._free_pairs(real, generated)
        setting = "matched" if matched else "free"
        return [
            Figure(
                metric=metric,
                value=_mean(distance, pairs),
                n=self.n,
                references={"real": self._real_apart[metric]},
                conditions={"setting": setting},
            )
            for metric, distance in AS_SETS.items()
        ]

    @cached_property
    def _real_apart(self) -> dict[str, float]:
        real = self.images
        assert real is not None
        pairs = [(real[half], real[other]) for half, other in self.halves]
        return {metric: _mean(distance, pairs) for metric, distance in AS_SETS.items()}

    def _scores(self, setting: Setting, generated: Tensor, pairs: Sequence[Pair]) -> list[Figure]:
        if not generated.isfinite().all():
            raise ValueError("a feature of a generated image is not finite")
        conditions: dict[str, str | int | float] = {"features": self.features, "setting": setting}

        def figure(
            metric: str, value: float | None, references: dict[str, float | None], **more: str | float
        ) -> Figure:
            return Figure(
                metric=metric, value=value, n=self.n, references=references, conditions={**conditions, **more}
            )

        distance = _mean(frechet_distance_of, pairs)
        normalised = normalised_distance(distance, self.floor, self.blurred)
        size, spread = self._kernel_spread(pairs)
        manifold, real = self._manifold(pairs), self.real_manifold or {}
        return [
            figure("frechet", distance, {"real": self.floor, "blurred": self.blurred}, name=self.distance_name),
            figure("frechet_normalised", normalised, {}),
            figure(
                "kernel",
                _mean(kernel_distance, pairs),
                {"real": self.kernel_floor},
                name=self.kernel_name,
                subset_size=size,
                subset_deviation=spread,
            ),
            *(figure(_MANIFOLD[key], value, {"real": real.get(key)}, k=NEIGHBOUR) for key, value in manifold.items()),
        ]

    def _kernel_spread(self, pairs: Sequence[Pair]) -> tuple[int, float]:
        """The size of random subsets, and the standard deviation of the kernel distance over them."""
        size = max(2, self.n // 2)
        subsets = [
            kernel_distances_of_subsets(
                *pair, subsets=SUBSETS, size=size, seed=derive_seed(Label.REFERENCE_SET, number)
            )
            for number, pair in enumerate(pairs)
        ]
        return size, float(torch.cat(subsets).std())

    def _manifold(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """Empty with too few images for so many neighbours."""
        if self.n <= NEIGHBOUR:
            return {}
        scores = [asdict(manifold_scores(real, other, NEIGHBOUR)) for real, other in pairs]
        return {name: float(np.mean([each[name] for each in scores])) for name in scores[0]}


_MANIFOLD = {
    "precision": "manifold_precision",
    "recall": "manifold_recall",
    "density": "density",
    "coverage": "coverage",
}


def _mean(distance: Callable[[Tensor, Tensor], float], pairs: Sequence[Pair]) -> float:
    return float(np.mean([distance(real, other) for real, other in pairs]))


def with_unchanged(sets: list[Figure], unchanged: float | None) -> list[Figure]:
    """The figures with the Fréchet distance of slices that were not translated; ``unchanged`` is None without any."""
    if unchanged is None:
        return sets
    distance = sets[0].model_copy(update={"references": {**sets[0].references, "unchanged": unchanged}})
    return [distance, *sets[1:]]
