"""How many inserted lesions lie where lesions can lie: a figure, so that none lies in the air without a word."""

import torch
from torch import Tensor

from common.imaging.slices import Slices, lesion_mask
from common.placement import Placement
from common.training.kinds import SyntheticSlices

_TOGETHER = 256


def placement(made: SyntheticSlices, slices: Slices) -> Placement | None:
    """The figures of ``made``, which was made of ``slices``; None if no lesion was put into a real slice."""
    chosen = (made.tumour & (made.origin >= 0) & lesion_mask(made.labels).flatten(1).any(1)).nonzero().squeeze(1)
    if not len(chosen):
        return None
    organs = [slices.batch(made.origin[some]).organ for some in torch.split(chosen, _TOGETHER)]
    return placed_inside(made.labels[chosen], torch.cat(organs), made.moved_on)


def placed_inside(labels: Tensor, organ: Tensor, moved_on: int) -> Placement:
    """The figures of lesions (N, H, W) in organs (N, H, W)."""
    lesion = lesion_mask(labels)
    pixels, inside = (mask.flatten(1).sum(1) for mask in (lesion, lesion & organ))
    return Placement(len(labels), int((pixels == inside).sum()), int(pixels.sum()), int(inside.sum()), moved_on)
