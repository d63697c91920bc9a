"""What one scoring of a paired generator found, slice by slice: the source of scores, intervals and galleries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from common.metrics.bootstrap import paired_difference
from common.results import DistributionScores, FinalPaired, PairedScores
from common.results_classifier import Interval
from common.training.kinds import Reconstruction
from server.evaluation.gallery import Gallery


@dataclass(frozen=True)
class PairedOutcome:
    """N reference slices, each made again by a generator.

    Attributes:
        figures: name -> (N,) float64, by the names of :class:`~common.results.PairedScores`; PSNR in dB. The lesion
            crop is the bounding box of the blanked region with a margin; ``floor_...`` is biharmonic inpainting of
            the same region. Pixels that were not generated lie in that box too, for both alike.
        distribution: the generated slices as a set.
        patients: (N,) int64, whose slice it is.
        made: generated images, their targets, and the region that was generated.
        labels: (N, H, W) uint8.
        biharmonic: (N, C, H, W) float32 in [0, 1], the floor's images.
    """

    figures: dict[str, Tensor]
    distribution: DistributionScores
    patients: Tensor
    made: Reconstruction = field(repr=False)
    labels: Tensor = field(repr=False)
    biharmonic: Tensor = field(repr=False)

    @property
    def choice(self) -> float:
        """What the best round is chosen by, higher is better: SSIM of the lesion crop. It is the generator's own
        work, and unlike PSNR it does not reward a smooth fill."""
        return float(self.figures["lesion_ssim"].mean())

    @property
    def shown(self) -> dict[str, float]:
        """Lesion SSIM with its floor, and the Fréchet distance."""
        mean = {name: float(values.mean()) for name, values in self.figures.items()}
        return {
            "lesion SSIM": mean["lesion_ssim"],
            "floor": mean["floor_lesion_ssim"],
            self.distribution.frechet.name: self.distribution.frechet.value,
        }

    @property
    def gallery_images(self) -> npt.NDArray[np.float16]:
        """(N, H, W) first contrast of every generated slice: kept each round, so that any of them can be followed."""
        images: npt.NDArray[np.float16] = self.made.images[:, 0].numpy().astype(np.float16)
        return images

    def to_scores(self) -> PairedScores:
        """Means over slices."""
        return PairedScores(**self._entries())

    def final(self, samples: int, seed: int) -> FinalPaired:
        """Means over slices, and the gains over biharmonic inpainting, paired over patients.

        Args:
            samples: resamples of the patients.
            seed: the same seed gives the same intervals.
        """
        return FinalPaired(
            **self._entries(),
            lesion_ssim_gain=self._gain("ssim", samples, seed),
            lesion_psnr_gain=self._gain("psnr", samples, seed),
        )

    def gallery(
        self, count: int, by_round: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Arrays for the report's gallery (see :class:`~server.evaluation.gallery.Gallery`), first contrast.

        Slices are ranked by lesion SSIM; ``region`` (n, H, W) bool is what was generated.
        """
        target, region = self.made.targets[:, 0], self.made.region
        return Gallery(
            about="The generator sees the blanked slice and the label map; biharmonic inpainting sees the blanked "
            "slice alone and is the floor.",
            versions={
                "real": target,
                "blanked": target.masked_fill(region, 0),
                "generated": self.made.images[:, 0],
                "biharmonic": self.biharmonic[:, 0],
            },
            followed="generated",
            last="real",
            rank_by=self.figures["lesion_ssim"],
            figures={
                "lesion SSIM": self.figures["lesion_ssim"],
                "biharmonic": self.figures["floor_lesion_ssim"],
            },
            labels=self.labels,
            extra={"region": region},
        ).arrays(count, by_round)

    def _gain(self, name: str, samples: int, seed: int) -> Interval:
        own, floor = self.figures[f"lesion_{name}"].numpy(), self.figures[f"floor_lesion_{name}"].numpy()
        return paired_difference(own, floor, self.patients.numpy(), samples, seed).interval()

    def _entries(self) -> dict[str, Any]:
        return {
            **{name: float(values.mean()) for name, values in self.figures.items()},
            "slices": len(self.patients),
            "patients": len(set(self.patients.tolist())),
            "distribution": self.distribution,
        }
