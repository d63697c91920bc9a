"""Which settings of the steps are possible at all: asked once, before anything is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from common.study.allowed import require

if TYPE_CHECKING:
    from common.study.experiment import PreprocessingConfig

CROPS = ("foreground", "organ", "each_lung")
LARGEST_MEDIAN = 10


def check_preprocessing(steps: PreprocessingConfig, organ: str) -> None:
    """Refuses what no study of an organ could pass.

    Args:
        organ: one of ``ORGANS``; the key below ``organs``.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """
    where = f"organs.{organ}.steps"
    if steps.skull_strip:
        require(organ == "brain", f"{where}.skull_strip", steps.skull_strip, "only a brain has a skull to take off")
    if steps.spacing is not None:
        possible = len(steps.spacing) == 3 and all(math.isfinite(mm) and mm >= 0 for mm in steps.spacing)
        require(
            possible, f"{where}.spacing", steps.spacing, "three numbers of millimetres along [z, y, x], 0 keeps an axis"
        )
    require(steps.crop in CROPS, f"{where}.crop", steps.crop, f"one of {', '.join(CROPS)}")
    require(steps.crop != "each_lung" or organ == "lung", f"{where}.crop", steps.crop, "only lungs come in twos")
    require(
        math.isfinite(steps.margin) and steps.margin >= 0, f"{where}.margin", steps.margin, "millimetres, 0 or more"
    )
    require(
        0 <= steps.median <= LARGEST_MEDIAN,
        f"{where}.median",
        steps.median,
        f"a radius of 0 (off) to {LARGEST_MEDIAN} pixels",
    )
    ascending = len(steps.window) == 2 and -math.inf < steps.window[0] < steps.window[1] < math.inf
    require(ascending, f"{where}.window", steps.window, "two ascending numbers")
    if steps.stretch is not None:
        percentiles = len(steps.stretch) == 2 and 0 <= steps.stretch[0] < steps.stretch[1] <= 100
        require(percentiles, f"{where}.stretch", steps.stretch, "two ascending percentiles, e.g. [1, 99]")
