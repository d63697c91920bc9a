"""What arrays must look like to be used: a site's update to be aggregated, synthetic slices to be kept or to leave."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, RecordDict
from torch import Tensor

from common.protocol.records import ARRAYS, IMAGES, METRICS, NUM_EXAMPLES, UnacceptableError, values_of

MAX_FIGURE = 1e12
"""Nothing that a site measures, a loss or a norm, is larger."""

_LOSS = re.compile(r"loss\.[A-Za-z0-9_.-]{1,60}")
_MOST_LOSSES = 40


@dataclass(frozen=True)
class ImagesCheck:
    """What synthetic slices must look like to be used, or to leave a site.

    Attributes:
        shape: (C, H, W) of one.
        least: how many at least.
        most: how many at most; None: any number.
    """

    shape: tuple[int, int, int]
    least: int
    most: int | None = None

    def read(self, content: RecordDict) -> Tensor:
        """The (N, C, H, W) float32 slices of a message.

        Raises:
            UnacceptableError: for anything but one such array of finite values in [0, 1], or another number of slices.
        """
        if len(content.array_records) != 1 or list(content.array_records.get(ARRAYS, {})) != [IMAGES]:
            raise UnacceptableError("expected one array of images and nothing else")
        try:
            values = values_of(content.array_records[ARRAYS][IMAGES])
        except UnacceptableError as error:
            raise UnacceptableError("the images cannot be read") from error
        if values.dtype != np.float32 or values.ndim != 4 or values.shape[1:] != self.shape:
            raise UnacceptableError(f"the images are no float32 slices of shape {self.shape}")
        if len(values) < self.least or (self.most is not None and len(values) > self.most):
            raise UnacceptableError("the number of images is not the one that was asked for")
        if not np.isfinite(values).all():
            raise UnacceptableError("the images hold values that are not finite")
        if values.min() < 0 or values.max() > 1:
            raise UnacceptableError("the images hold values outside [0, 1]")
        return torch.from_numpy(np.array(values))


@dataclass(frozen=True)
class UpdateCheck:
    """What a training reply must look like to be aggregated.

    Attributes:
        reference: the weights that were sent out.
        examples: the weight in averages that the site declared at hello.
        max_norm: largest L2 norm of (update - reference).
    """

    reference: Mapping[str, Tensor]
    examples: int
    max_norm: float

    def norm(self, content: RecordDict) -> float:
        """The L2 norm of the update, after every other check has passed.

        Raises:
            UnacceptableError: for other keys, shapes or types, values that are not finite, a norm beyond the bound, or
                a number of examples that was not declared.
        """
        if len(content.array_records) != 1 or len(content.metric_records) != 1:
            raise UnacceptableError("expected one set of arrays and one set of metrics")
        arrays = content.array_records.get(ARRAYS)
        metrics = content.metric_records.get(METRICS)
        if arrays is None or metrics is None:
            raise UnacceptableError("arrays or metrics are missing")
        if set(arrays) != set(self.reference):
            odd = sorted(set(arrays) ^ set(self.reference))
            raise UnacceptableError(f"{len(odd)} array names differ from the model's, e.g. {odd[0][:80]!r}")
        total = 0.0
        for name, expected in self.reference.items():
            values = _values_like(arrays[name], expected.numpy(), name)
            if not np.isfinite(values).all():
                raise UnacceptableError(f"{name} holds values that are not finite")
            total += _squared_distance(values, expected.numpy())
        _check_metrics(metrics)
        examples = metrics.get(NUM_EXAMPLES)
        if type(examples) is not int or examples != self.examples:
            raise UnacceptableError("the number of examples is not the declared one")
        norm = math.sqrt(total)
        if not norm <= self.max_norm:
            raise UnacceptableError(
                f"update norm {norm:.3g} exceeds the bound {self.max_norm:.3g} (strategy.norm_bound; a learning rate "
                "that is too high does this)"
            )
        return norm


def _values_like(array: Array, expected: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The values of ``array``, where it states the shape and type of ``expected`` and is what it states."""
    if tuple(array.shape) != expected.shape or array.dtype != str(expected.dtype):
        raise UnacceptableError(f"{name} has another shape or type")
    try:
        return values_of(array)
    except UnacceptableError as error:
        raise UnacceptableError(f"{name}: {error}") from error


def _squared_distance(values: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Infinite where it is too large to tell: that exceeds every bound."""
    if values.dtype.kind != "f":
        values, expected = values.astype(np.float64), expected.astype(np.float64)
    with np.errstate(over="ignore"):
        difference = (values - expected).astype(np.float64)
        return float(np.vdot(difference, difference))


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    """Refuses what is no loss: its names are shown, and its values end in means and in JSON."""
    if len(metrics) > 1 + _MOST_LOSSES:
        raise UnacceptableError("there are more metrics than a training has losses")
    for key, value in metrics.items():
        if key != NUM_EXAMPLES and not _LOSS.fullmatch(key):
            raise UnacceptableError(f"metric {key[:80]!r} is not one of a training")
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_FIGURE:
            raise UnacceptableError(f"metric {key[:80]!r} is not a finite number of a plausible size")
