"""A second place of each synthetic tumour's slice, filled without a tumour.

A negative is a slice whose only trace of the generator is a place without a lesion; in a tumour's slice that place
holds the lesion. A classifier can learn from that alone: where something was filled and nothing is there, the slice is
healthy. A second place, filled like the negative's, makes such places as frequent in both classes.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from common.imaging.slices import Slices, lesion_mask
from common.synthesis.blanking import blanked_region, draw_margins
from common.synthesis.masks import Deformation, Masks, dilate, place_masks
from common.training.kinds import SyntheticSlices

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Slices (N, C, H, W), labels and regions (N, H, W) -> the slices with their regions filled."""


def decoy_inpainting(
    made: SyntheticSlices,
    slices: Slices,
    masks: Masks,
    fill: Fill,
    margins: tuple[int, int],
    deformation: Deformation,
    generator: torch.Generator,
) -> SyntheticSlices:
    """``made`` with a second place of each tumour's slice filled, away from the lesion and what was blanked around it.

    A slice without room for one is left as it is.

    Args:
        slices: what ``made`` was built on.
        masks: shapes of places.
        margins: of the blanked region around a mask, smallest and largest, in pixels.
        deformation: of the masks.
    """
    tumours = made.tumour.nonzero().squeeze(1)
    touched = dilate(lesion_mask(made.labels[tumours]), margins[1] + 1)
    room = slices.batch(made.origin[tumours]).organ & ~touched
    labels = place_masks(masks, room, deformation, generator=generator, must_fit=False).labels
    region = blanked_region(labels, made.foreground[tumours], draw_margins(len(tumours), margins, generator)) & ~touched
    images = made.images.clone()
    images[tumours] = fill(images[tumours], torch.zeros_like(labels), region)
    return replace(made, images=images)
