"""Translated slices beside the real ones of the same patients, and what leaving them unchanged would give."""

from collections.abc import Mapping

from torch import Tensor

from common.imaging.slices import SliceBatch, lesion_mask
from common.metrics.similarity import box_mask, psnr, ssim_by_region
from common.results import Translation


def compared_with_target(translated: Tensor, target: Tensor, source: SliceBatch) -> dict[str, Tensor]:
    """How alike translated and untranslated slices are to the real target.

    Args:
        translated, target: (N, D, H, W) in [0, 1].
        source: the N slices that were translated, in C contrasts, with their labels and foreground.

    Returns:
        name -> (N,) float64, by the names of :class:`~common.results.Translation`; PSNR in dB. Without the unchanged
        slices' figures where C is not D. NaN for the lesion of a slice that shows none.
    """
    regions = {"": None, "foreground_": source.foreground, "lesion_": box_mask(lesion_mask(source.labels))}
    figures: dict[str, Tensor] = {}
    for version, images in (("", translated), ("unchanged_", source.images)):
        if images.shape != target.shape:
            continue
        similar = ssim_by_region(images, target, list(regions.values()))
        for (region, mask), values in zip(regions.items(), similar, strict=True):
            figures |= {
                f"{version}{region}ssim": values,
                f"{version}{region}psnr": psnr(images, target, mask),
            }
    return figures


def mean_translation(figures: Mapping[str, Tensor]) -> Translation:
    """Means over slices of what :func:`compared_with_target` gave; the lesion's over the slices that show one."""
    shown = ~figures["lesion_ssim"].isnan()
    means = {
        name: float((values[shown] if "lesion" in name else values).mean())
        for name, values in figures.items()
        if name in Translation.model_fields and ("lesion" not in name or shown.any())
    }
    return Translation.model_validate({**means, "lesion_slices": int(shown.sum())})
