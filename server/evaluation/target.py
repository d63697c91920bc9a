"""Translated slices against the real ones of the same patients, and what leaving them unchanged would give."""

from torch import Tensor

from common.imaging.slices import SliceBatch, lesion_mask
from common.metrics.similarity import box_mask
from server.evaluation.measures import ONE_BY_ONE
from server.evaluation.outcome import Measure


def compared_with_target(translated: Tensor, target: Tensor, source: SliceBatch) -> list[Measure]:
    """How alike translated and untranslated slices are to the real target.

    Args:
        translated, target: (N, D, H, W) in [0, 1].
        source: the N slices that were translated, in C contrasts, with their labels and foreground.

    Returns:
        Each metric of :data:`~server.evaluation.measures.ONE_BY_ONE` of the whole slice, its foreground, and the crop
        around the lesion; NaN there for a slice that shows none. Without the unchanged slices as a reference where C is
        not D.
    """
    regions = {"": None, "foreground": source.foreground, "lesion": box_mask(lesion_mask(source.labels))}
    masks = list(regions.values())
    same = source.images.shape == target.shape
    found = []
    for metric, of_regions in ONE_BY_ONE.items():
        values = of_regions(translated, target, masks)
        unchanged = of_regions(source.images, target, masks) if same else [None] * len(masks)
        for part, own, other in zip(regions, values, unchanged, strict=True):
            gain = "unchanged" if (metric, part) == ("psnr", "foreground") else ""
            found.append(Measure(metric, own, part, {} if other is None else {"unchanged": other}, gain_over=gain))
    return found
