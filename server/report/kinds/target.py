"""What both kinds of translation show of slices that have a real counterpart: translated and unchanged against it."""

from collections.abc import Sequence
from typing import Any

from common.report.charts import Series
from common.report.formatting import DECIBEL, SIMILARITY
from common.results import Translation
from server.report.kinds.kind import Column, Panel, figure_column

_PANELS = (
    ("SSIM to the real target, {}", "{}_ssim", SIMILARITY),
    ("PSNR to the real target, {}, dB", "{}_psnr", DECIBEL),
)
_COLUMNS = (
    ("SSIM to the target, {}", "{}_ssim", SIMILARITY),
    ("PSNR to the target, dB, {}", "{}_psnr", DECIBEL),
)


def target_panels(rounds: Sequence[tuple[int, Translation]], part: str = "foreground") -> list[Panel]:
    """SSIM and PSNR of a ``part`` of the slice (``foreground`` or ``lesion``) over the rounds; none without rounds."""

    def line(name: str, key: str) -> Series:
        points = [(r, getattr(one, key)) for r, one in rounds if getattr(one, key) is not None]
        return Series(name, points, floor=name == "unchanged")

    panels = []
    for title, key, scale in _PANELS:
        lines = [line("translated", key.format(part)), line("unchanged", f"unchanged_{key.format(part)}")]
        if lines[0].points:
            panels.append(Panel(title.format(part), [one for one in lines if one.points], scale.number))
    return panels


def target_columns(part: str = "foreground") -> list[Column[Any]]:
    """The same as columns of the table of rounds, out of ``Scores.translation``."""
    return [
        figure_column(group.format(part), title, scale, prefix + key.format(part), "translation")
        for group, key, scale in _COLUMNS
        for title, prefix in (("translated", ""), ("unchanged", "unchanged_"))
    ]
