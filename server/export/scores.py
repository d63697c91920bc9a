"""What the model card says of a generator's quality: figures of the results, each beside its floor."""

from common.export.card import Score
from common.results import AnyFinal, FinalNearest, FinalPaired, Translation


def card_scores(subject: str, final: AnyFinal) -> tuple[Score, ...]:
    """The chosen round on the reference set's final part.

    Args:
        subject: what was scored: an organ, or a translation.
        final: its scores.
    """
    frechet, n = final.frechet, final.slices
    rows: list[tuple[str, float, int, float | None, str]] = [
        (frechet.name, frechet.value, frechet.n, frechet.floor, "real against real")
    ]
    if isinstance(final, FinalPaired):
        inpainted = "biharmonic inpainting"
        rows += [
            ("SSIM around the lesion", final.lesion_ssim, n, final.floor_lesion_ssim, inpainted),
            ("PSNR around the lesion in dB", final.lesion_psnr, n, final.floor_lesion_psnr, inpainted),
        ]
    if isinstance(final, FinalNearest):
        nearest = "real slices against the nearest one of another patient"
        rows += [
            ("SSIM to the nearest real slice", final.nearest_ssim, n, final.real_nearest_ssim, nearest),
            ("PSNR to the nearest real slice in dB", final.nearest_psnr, n, final.real_nearest_psnr, nearest),
            ("MS-SSIM between generated slices", final.ms_ssim, n, final.real_ms_ssim, "between real slices"),
        ]
    # Both kinds of translation have it, one of them only where the reference set holds the truth.
    translation = getattr(final, "translation", None)
    if isinstance(translation, Translation):
        one, unchanged = translation, "not translated"
        rows += [
            ("SSIM in the foreground", one.foreground_ssim, n, one.unchanged_foreground_ssim, unchanged),
            ("PSNR in the foreground in dB", one.foreground_psnr, n, one.unchanged_foreground_psnr, unchanged),
        ]
    return tuple(
        Score(name=f"{name}, {subject}", value=value, n=count, floor=floor, floor_name=floor_name)
        for name, value, count, floor, floor_name in rows
    )
