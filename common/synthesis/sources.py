"""Where a site's synthetic tumours come from and where they go: its masks, and its slices without a tumour."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from common.errors import DataError
from common.imaging.slices import SliceBatch, Slices
from common.synthesis.masks import Deformation, MaskBank, Masks, PlacedMasks, place_masks
from common.synthesis.public_masks import PublicMasks
from common.training.kinds import SyntheticSlices

_OTHER_MASKS, _OTHER_SLICES = 5, 20
"""How often another mask is tried in a slice, and then another slice, before it is said that there is no place."""


@dataclass(frozen=True)
class Places:
    """Healthy slices, each with a mask put into it.

    Attributes:
        origin: (N,) int64, positions of the healthy slices.
        target: the healthy slices.
        placed: their masks.
        moved_on: how often a slice had no place for any mask tried, and another slice was taken.
    """

    origin: Tensor
    target: SliceBatch
    placed: PlacedMasks
    moved_on: int = 0

    def together(self, images: Tensor, count: int) -> SyntheticSlices:
        """The first half of ``images`` (count, C, H, W) as tumours in these places, the second as their negatives.

        A negative belongs to the same slice as the tumour of the same rank; for an odd ``count`` the last tumour has
        none.
        """
        tumours = len(self.origin)
        masks = self.placed.labels
        return SyntheticSlices(
            images=images,
            labels=torch.cat([masks, torch.zeros_like(masks[: count - tumours])]),
            tumour=torch.arange(count) < tumours,
            foreground=torch.cat([self.target.foreground, self.target.foreground[: count - tumours]]),
            origin=torch.cat([self.origin, self.origin[: count - tumours]]),
            moved_on=self.moved_on,
        )


class InsertionSource:
    """The tumour slices and the healthy slices of one site.

    Args:
        slices: the site's training slices. Their ``min_tumour_pixels`` are the fewest lesion pixels of a slice to take
            a mask from, and of a mask put into a healthy slice.
        least: fewest slices of each kind.
        masks: put into healthy slices in place of the site's own; then no tumour slices are needed.

    Raises:
        DataError: if the site has fewer.
    """

    def __init__(self, slices: Slices, least: int = 1, masks: PublicMasks | None = None) -> None:
        self.slices = slices
        self.bank: Masks = masks or MaskBank(slices, least)
        self.healthy = torch.from_numpy(slices.healthy_positions())
        if len(self.healthy) < least:
            raise DataError(
                f"only {len(self.healthy)} slices are free of tumour, and at least {least} are needed to insert"
                " tumours into; add patients or slices without a tumour"
            )

    def draw_healthy(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) positions of healthy slices, with replacement."""
        return self.healthy[torch.randint(len(self.healthy), (count,), generator=generator)]

    def places(self, count: int, deformation: Deformation, generator: torch.Generator) -> Places:
        """``count`` healthy slices, each with a deformed mask of the bank wholly inside its organ.

        A slice in which none of the masks tried has a place gives way to another one.

        Raises:
            DataError: if hardly any slice has a place for a mask.
        """
        origin = self.draw_healthy(count, generator)
        target = self.slices.batch(origin)
        place = partial(place_masks, self.bank, deformation=deformation, generator=generator, attempts=_OTHER_MASKS)
        placed = place(organ=target.organ, must_fit=False)
        moved_on = 0
        for last in (*[False] * _OTHER_SLICES, True):
            bad = (~placed.fitted).nonzero().squeeze(1)
            if not len(bad):
                break
            moved_on += len(bad)
            origin[bad] = self.draw_healthy(len(bad), generator)
            organ = self.slices.batch(origin[bad]).organ
            placed.take(place(organ=organ, must_fit=last), bad)
        return Places(origin, self.slices.batch(origin) if moved_on else target, placed, moved_on)
