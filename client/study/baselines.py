"""Two plain ways to make synthetic tumours, as a yardstick: what is a generator worth beyond them?

Both use the masks, the places and the classes that the cGAN's synthesis uses: the first half of the result are
tumours in healthy slices, the second half the same slices made the same way without a tumour.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from common.imaging.patient import LESION_LABELS
from common.imaging.slices import SliceBatch, Slices, lesion_mask
from common.seeding import Label, torch_generator
from common.synthesis.blanking import blanked_region
from common.synthesis.masks import Deformation, dilate, warp_images
from common.synthesis.sources import InsertionSource
from common.training.kinds import SyntheticSlices

RING = (1, 4)
"""The healthy surroundings of a lesion lie between these distances from it, in pixels."""


def copy_and_paste(slices: Slices, count: int, seed: int, *, deformation: Deformation | None = None) -> SyntheticSlices:
    """A real lesion of this site, deformed and blended into a healthy slice.

    The lesion's intensities are scaled so that its surroundings match those of its new place, and its edge is
    feathered over a pixel on either side. A negative gets, by the same steps, a piece of *healthy* tissue pasted in:
    the source is another healthy slice, so that a seam does not give the class away.

    Args:
        deformation: of the lesions; None for the usual one.

    Raises:
        DataError: if the site has no slice with a tumour, or none without.
    """
    generator = torch_generator(seed, Label.COPY_AND_PASTE)
    source = InsertionSource(slices)
    places = source.places(count - count // 2, deformation or Deformation(), generator)
    placed, target = places.placed, places.target
    mask = lesion_mask(placed.labels)
    images = _blend(placed.source, placed.grid, target, mask, lesion_mask(placed.source.labels))
    negatives = count // 2
    if negatives:
        other = slices.batch(source.draw_healthy(negatives, generator))
        # Other anatomy would not lie under the mask if it were moved along, so it is taken from the same place.
        still = _identity_grid(placed.labels[:negatives])
        tissue = _blend(other, still, _first(target, negatives), mask[:negatives], mask[:negatives])
        images = torch.cat([images, tissue])
    return places.together(images, count)


def blob(
    slices: Slices, count: int, seed: int, *, spread: float = 0.5, deformation: Deformation | None = None
) -> SyntheticSlices:
    """A deformed mask of this site, filled by adding a contrast to each label: no network, no texture.

    The contrasts are those of the site's own lesions against their surroundings, drawn lesion by lesion and scaled by
    a factor between 1 - ``spread`` and 1 + ``spread``; the edge is smoothed over a pixel. A negative is the healthy
    slice itself: with no label there is nothing to add.

    Args:
        spread: see above.
        deformation: of the masks; None for the usual one.

    Raises:
        DataError: if the site has no slice with a tumour, or none without.
    """
    generator = torch_generator(seed, Label.BLOB)
    places = InsertionSource(slices).places(count - count // 2, deformation or Deformation(), generator)
    target, tumours = places.target, len(places.origin)
    contrasts = lesion_contrasts(slices.batch(slices.tumour_positions()))
    drawn = contrasts[torch.randint(len(contrasts), (tumours,), generator=generator)]
    factor = 1 + spread * (2 * torch.rand(tumours, 1, 1, generator=generator) - 1)
    masks = torch.stack([places.placed.labels == label for label in LESION_LABELS], dim=1).float()
    added = torch.einsum("nlc,nlhw->nchw", drawn * factor, _feathered(masks))
    lesions = (target.images + added * target.foreground.unsqueeze(1)).clamp(0, 1)
    return places.together(torch.cat([lesions, target.images[: count // 2]]), count)


def lesion_contrasts(batch: SliceBatch) -> Tensor:
    """(N, 3, C): mean intensity of each lesion label minus that of the ring of healthy tissue around the lesion.

    A label that a slice does not have gets the mean over the slices that have it, 0 if none has.
    """
    surroundings = _mean(batch.images, _ring(lesion_mask(batch.labels), batch.foreground))
    values, present = [], []
    for label in LESION_LABELS:
        mask = batch.labels == label
        values.append(_mean(batch.images, mask) - surroundings)
        present.append(mask.flatten(1).any(1))
    contrasts, has = torch.stack(values, dim=1), torch.stack(present, dim=1).unsqueeze(2)
    average = (contrasts * has).sum(0) / has.sum(0).clamp(min=1)
    return torch.where(has, contrasts, average)


def _blend(source: SliceBatch, grid: Tensor, target: SliceBatch, mask: Tensor, source_mask: Tensor) -> Tensor:
    """Tissue of ``source``, sampled at ``grid`` and matched in brightness, over ``target`` inside ``mask``."""
    there = _mean(source.images, _ring(source_mask, source.foreground))
    here = _mean(target.images, _ring(mask, target.foreground))
    factor = (here / there.clamp(min=0.05)).clamp(0.6, 1.6)
    tissue = warp_images(source.images, grid) * factor[:, :, None, None]
    # Only where both slices have tissue: nobody pastes background into an organ.
    both = target.foreground & (warp_images(source.foreground.unsqueeze(1).float(), grid).squeeze(1) > 0.99)
    alpha = _feathered(mask.unsqueeze(1).float()) * both.unsqueeze(1)
    return (target.images * (1 - alpha) + tissue * alpha).clamp(0, 1)


def _first(batch: SliceBatch, count: int) -> SliceBatch:
    return SliceBatch(
        images=batch.images[:count],
        labels=batch.labels[:count],
        foreground=batch.foreground[:count],
        organ=batch.organ[:count],
        patients=batch.patients[:count],
    )


def _identity_grid(labels: Tensor) -> Tensor:
    matrix = torch.eye(2, 3).expand(len(labels), -1, -1)
    return F.affine_grid(matrix, [len(labels), 1, *labels.shape[-2:]], align_corners=False)


def _ring(mask: Tensor, foreground: Tensor) -> Tensor:
    """(N, H, W) bool: foreground near the lesion but not in it; all the foreground where that is empty."""
    ring = blanked_region(mask.to(torch.uint8), foreground, torch.full((len(mask),), RING[1]))
    ring = ring & ~dilate(mask, RING[0])
    return torch.where(ring.flatten(1).any(1).view(-1, 1, 1), ring, foreground & ~mask)


def _mean(images: Tensor, mask: Tensor) -> Tensor:
    """(N, C): mean of ``images`` (N, C, H, W) inside ``mask`` (N, H, W), 0 where it is empty."""
    weight = mask.unsqueeze(1).float()
    return (images * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1)


def _feathered(masks: Tensor) -> Tensor:
    """(N, L, H, W): 1 inside, falling to 0 over a pixel on either side of the edge."""
    return F.avg_pool2d(masks, 3, stride=1, padding=1, count_include_pad=False)
