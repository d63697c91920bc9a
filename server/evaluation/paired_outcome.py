"""What one scoring of a paired generator found, slice by slice: the source of scores, intervals and galleries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from common.metrics.bootstrap import paired_difference
from common.results import FinalPaired, Frechet, Interval, PairedScores
from common.training.trainer import Reconstruction


@dataclass(frozen=True)
class PairedOutcome:
    """N reference slices, each made again by a generator.

    Attributes:
        figures: name -> (N,) float64, by the names of :class:`~common.results.PairedScores`; PSNR in dB. The lesion
            crop is the bounding box of the blanked region with a margin; ``floor_...`` is biharmonic inpainting of
            the same region. Pixels that were not generated lie in that box too, for both alike.
        frechet: the distance, with its n and floor.
        patients: (N,) int64, whose slice it is.
        made: generated images, their targets, and the region that was generated.
        labels: (N, H, W) uint8.
        biharmonic: (N, C, H, W) float32 in [0, 1], the floor's images.
    """

    figures: dict[str, Tensor]
    frechet: Frechet
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
            self.frechet.name: self.frechet.value,
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
        """Arrays for the report's gallery, first contrast.

        The rule: best, median and worst slice by lesion SSIM, then slices evenly spread over the others (over the
        patients, since slices are in their order).

        Args:
            count: slices to show; fewer if there are fewer.
            by_round: :attr:`gallery_images` of earlier scorings of the same slices, one a round.

        Returns:
            ``target``, ``blanked``, ``generated``, ``biharmonic`` (n, H, W) float32 in [0, 1]; ``labels``
            (n, H, W) uint8; ``region`` (n, H, W) bool; ``rule`` (n,) text; ``lesion_ssim``, ``floor_lesion_ssim``
            (n,); with ``by_round`` also ``by_round`` (r, n, H, W) float16.
        """
        chosen, rules = self._choose(count)
        target = self.made.targets[chosen, 0]
        region = self.made.region[chosen]
        arrays: dict[str, npt.NDArray[Any]] = {
            "target": target.numpy(),
            "blanked": target.masked_fill(region, 0).numpy(),
            "generated": self.made.images[chosen, 0].numpy(),
            "biharmonic": self.biharmonic[chosen, 0].numpy(),
            "labels": self.labels[chosen].numpy(),
            "region": region.numpy(),
            "rule": np.array(rules),
            "lesion_ssim": self.figures["lesion_ssim"][chosen].numpy(),
            "floor_lesion_ssim": self.figures["floor_lesion_ssim"][chosen].numpy(),
        }
        if by_round:
            arrays["by_round"] = np.stack([images[chosen] for images in by_round]).astype(np.float16)
        return arrays

    def _choose(self, count: int) -> tuple[list[int], list[str]]:
        order = self.figures["lesion_ssim"].argsort(descending=True, stable=True).tolist()
        named = {order[0]: "best"}
        named.setdefault(order[len(order) // 2], "median")
        named.setdefault(order[-1], "worst")
        named = dict(list(named.items())[:count])
        others = [i for i in range(len(order)) if i not in named]
        lacking = min(count - len(named), len(others))
        spread = [others[int((k + 0.5) * len(others) / lacking)] for k in range(lacking)]
        return [*named, *spread], [*named.values(), *["evenly spread"] * len(spread)]

    def _gain(self, name: str, samples: int, seed: int) -> Interval:
        own, floor = self.figures[f"lesion_{name}"].numpy(), self.figures[f"floor_lesion_{name}"].numpy()
        return paired_difference(own, floor, self.patients.numpy(), samples, seed).interval()

    def _entries(self) -> dict[str, Any]:
        return {
            **{name: float(values.mean()) for name, values in self.figures.items()},
            "slices": len(self.patients),
            "patients": len(set(self.patients.tolist())),
            "frechet": self.frechet,
        }
