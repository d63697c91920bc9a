"""Does a classifier call a slice a tumour because a generator has touched it?

A healthy region of a healthy slice is blanked and filled again without asking for a tumour. The slice is as healthy as
before, so whatever changes in the share that is called tumour comes from the traces of the filling.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.errors import DataError
from common.figures.figure import Figure
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.metrics.bootstrap import Estimate, paired_difference
from common.metrics.classification import THRESHOLD
from common.seeding import Label, torch_generator
from common.synthesis.blanking import blanked_region, draw_margins
from common.synthesis.masks import Deformation, MaskBank, Masks, place_masks


@runtime_checkable
class Fills(Protocol):
    """A trainer whose model fills a blanked region."""

    margins: tuple[int, int]
    """Smallest and largest margin of a region around its mask, in pixels."""

    def fill(
        self, images: Tensor, labels: Tensor, region: Tensor, condition: Tensor, generator: torch.Generator
    ) -> Tensor:
        """(N, C, H, W) on the CPU: ``images`` with ``region`` (N, H, W) generated from ``labels`` (N, H, W)."""
        ...


def refilled(trainer: Fills, slices: Slices, masks: Slices, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Healthy slices with one region of a lesion's shape blanked and filled without a lesion.

    Args:
        trainer: the generator.
        slices: whose healthy slices are taken, spread evenly over patients; e.g. the test patients'.
        masks: whose lesions give the regions' shapes; e.g. the training patients'.
        count: how many at most. A slice whose organ has no room for a mask is left out.
        seed: of places, shapes and noise.

    Returns:
        (N,) int64 positions in ``slices``, and (N, C, H, W) in [0, 1], equal to those slices outside the regions.

    Raises:
        DataError: if ``masks`` hold no usable lesion, or no healthy slice has room for one.
    """
    generator = torch_generator(seed, Label.REFILLED)
    bank = MaskBank(masks)
    positions = spread_over_patients(slices.healthy_positions(), slices.owner, count)
    placed = [(int(position), _mask(bank, slices, int(position), trainer, generator)) for position in positions]
    usable = [(position, mask) for position, mask in placed if mask is not None]
    if not usable:
        raise DataError(f"no healthy slice of the {slices.organ} has room for a mask, so none can be filled again")
    batch = slices.batch([position for position, _ in usable])
    labels = torch.cat([mask for _, mask in usable])
    margins = draw_margins(len(labels), trainer.margins, generator)
    region = blanked_region(labels, batch.foreground, margins)
    made = trainer.fill(batch.images, torch.zeros_like(labels), region, slices.condition(), generator)
    return torch.tensor([position for position, _ in usable]), made


def _mask(bank: Masks, slices: Slices, position: int, trainer: Fills, generator: torch.Generator) -> Tensor | None:
    """(1, H, W) uint8 inside the slice's organ; None if there is no room."""
    organ = slices.batch([position]).organ
    if int(organ.sum()) < max(1, bank.slices.min_tumour_pixels):
        return None
    try:
        return place_masks(bank, organ, Deformation(inset=trainer.margins[1]), generator=generator).labels
    except DataError:
        return None


def shortcut(
    untouched: npt.ArrayLike, refilled: npt.ArrayLike, patient: npt.ArrayLike, *, samples: int, seed: int, min_cell: int
) -> list[Figure]:
    """Mean over patients of each one's share of slices at probability 0.5 or more, ``untouched`` and ``refilled``, and
    their difference, paired by slice; with bootstrap intervals over patients.

    Args:
        untouched, refilled: (N,) probability of a tumour of the same healthy slices, before and after.
        patient: (N,) whose slice it is.
        samples: resamples.
        seed: the same seed gives the same intervals.
        min_cell: fewest patients for an interval.

    Raises:
        ValueError: if lengths differ, or a probability is not within 0 and 1.

    >>> found = shortcut([0.2, 0.6, 0.1, 0.1], [0.7, 0.6, 0.1, 0.2], list("aabb"), samples=100, seed=1, min_cell=2)
    >>> [one.value for one in found]
    [0.25, 0.5, 0.25]
    """
    before, after = np.asarray(untouched, dtype=np.float64), np.asarray(refilled, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(f"{before.shape} probabilities before and {after.shape} after")
    if not all(((part >= 0) & (part <= 1)).all() for part in (before, after)):
        raise ValueError("a probability lies within 0 and 1")
    called = [(part >= THRESHOLD).astype(np.float64) for part in (before, after)]
    names, nothing = np.asarray(patient), np.zeros(len(before))

    def over_patients(a: npt.ArrayLike, b: npt.ArrayLike) -> Estimate:
        return paired_difference(a, b, names, samples, seed, min_cell)

    behind: dict[str, Any] = {"n": len(names), "patients": len(np.unique(names))}
    return [
        over_patients(called[0], nothing).figure("called_tumour", "untouched", **behind),
        over_patients(called[1], nothing).figure("called_tumour", "refilled", **behind),
        over_patients(called[1], called[0]).figure("called_tumour", "refilled", "untouched", **behind),
    ]
