"""Translated slices against the real ones of the same patients, and what leaving them unchanged would give."""

from torch import Tensor

from common.imaging.slices import SliceBatch, lesion_mask
from common.metrics.similarity import box_mask, psnr, ssim_by_region
from server.evaluation.outcome import Measure


def compared_with_target(translated: Tensor, target: Tensor, source: SliceBatch) -> list[Measure]:
    """How alike translated and untranslated slices are to the real target.

    Args:
        translated, target: (N, D, H, W) in [0, 1].
        source: the N slices that were translated, in C contrasts, with their labels and foreground.

    Returns:
        SSIM and PSNR (dB) of the whole slice, its foreground, and the crop around the lesion; NaN there for a slice
        that shows none. Without the unchanged slices as a reference where C is not D.
    """
    regions = {"": None, "foreground": source.foreground, "lesion": box_mask(lesion_mask(source.labels))}
    versions = {"": translated, "unchanged": source.images}
    found: dict[str, dict[str, list[Tensor]]] = {
        version: {
            "ssim": ssim_by_region(images, target, list(regions.values())),
            "psnr": [psnr(images, target, mask) for mask in regions.values()],
        }
        for version, images in versions.items()
        if images.shape == target.shape
    }
    return [
        Measure(
            metric,
            found[""][metric][number],
            part,
            {"unchanged": found["unchanged"][metric][number]} if "unchanged" in found else {},
            gain_over="unchanged" if (metric, part) == ("psnr", "foreground") else "",
        )
        for number, part in enumerate(regions)
        for metric in ("ssim", "psnr")
    ]
