"""Whether numbers are numbers: a loss that overflowed shows in weights and optimisers as infinite or not a number."""

import math
from collections.abc import Iterable

from torch import Tensor


def all_finite(values: Iterable[Tensor | float]) -> bool:
    """Whether no number is infinite or not a number.

    >>> import torch
    >>> all_finite([torch.ones(2), 1.0]), all_finite([torch.tensor([1.0, float("inf")])]), all_finite([float("nan")])
    (True, False, False)
    """
    return all(bool(one.isfinite().all()) if isinstance(one, Tensor) else math.isfinite(one) for one in values)
