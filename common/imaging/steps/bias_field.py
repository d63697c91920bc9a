"""Bias field: the smooth shading that a scanner's coils put over an MRI."""

import numpy as np
import SimpleITK

from common.errors import BadStudyError
from common.imaging.steps.study import Mask, Volume


def correct_bias_field(channel: Volume, inside: Mask, *, shrink: int = 4, iterations: int = 50) -> Volume:
    """One (Z, Y, X) volume with the scanner's smooth shading divided out, by N4 inside the foreground.

    The field is fitted on a volume shrunk ``shrink`` times along every axis that is long enough, with ``iterations``
    at each of four levels, and applied at full resolution. Outside the foreground values stay as they are. A single
    slice gets a field of its plane.

    Raises:
        BadStudyError: if no field can be fitted.

    Source: Tustison et al. 2010, N4ITK: improved N3 bias correction.
    """
    flat = len(channel) == 1
    positive = np.where(inside, np.maximum(channel, 1e-3 * float(channel[inside].max(initial=0.0))), 0)
    full = SimpleITK.GetImageFromArray((positive[0] if flat else positive).astype(np.float32))
    mask = SimpleITK.GetImageFromArray((inside[0] if flat else inside).astype(np.uint8))
    factors = [min(shrink, max(1, size // 4)) for size in full.GetSize()]
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * 4)
    try:
        n4.Execute(SimpleITK.Shrink(full, factors), SimpleITK.Shrink(mask, factors))
    except RuntimeError as error:
        raise BadStudyError(
            "no bias field can be fitted to the image; steps: {bias_field: false} in site.yaml leaves that out"
        ) from error
    field = np.exp(SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)))
    return np.asarray(np.where(inside, channel / field, channel), dtype=np.float32)
