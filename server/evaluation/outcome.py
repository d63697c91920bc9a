"""What one scoring of a generator found, slice by slice: the source of scores, intervals and galleries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.figures.figure import Figure, ImageScores
from common.figures.registry import METRICS
from common.metrics.bootstrap import paired_difference
from common.training.trainer import EvaluationProtocol
from server.evaluation.gallery import Gallery


@dataclass(frozen=True)
class Measure:
    """One metric of N slices.

    Attributes:
        metric, part: as in :class:`~common.figures.figure.Figure`.
        values: (N,) float64; NaN for a slice of which it is undefined.
        references: the same of what it is to be read against, (M,) each; slices are the same ones where M is N.
        interval: whether the final score tells its mean over patients, with an interval, in place of that over slices.
        gain_over: the reference over which the final score tells a gain, paired over patients; empty for none.
    """

    metric: str
    values: Tensor
    part: str = ""
    references: Mapping[str, Tensor] = field(default_factory=dict)
    interval: bool = False
    gain_over: str = ""

    def figure(self, patients: Tensor | None) -> Figure:
        """Means over the slices of which it is defined.

        Args:
            patients: (N,) whose slice each is; None where they belong to nobody.
        """
        held = ~self.values.isnan()
        return Figure(
            metric=self.metric,
            part=self.part,
            value=_mean(self.values),
            n=int(held.sum()),
            patients=None if patients is None else len(set(patients[held].tolist())),
            references={name: _mean(values) for name, values in self.references.items()},
        )


@dataclass(frozen=True)
class Outcome:
    """A generator on one part of the reference set.

    Attributes:
        protocol: how its images were compared.
        measures: of N images, one by one.
        sets: of the images as a set.
        patients: (N,) int64, whose slice each image is; None where they belong to nobody and are independent.
        reference_patients: of how many real patients the images were compared with.
        images: (N, H, W) first contrast of every generated image: kept each round, so that any of them can be followed.
        choice: what the best round is chosen by; higher is better.
        shown: a few figures for a terminal, the telling one first, by a short name.
        pictures: for the report's gallery.
        collapsed: whether too many of the images are strikingly alike.
    """

    protocol: EvaluationProtocol
    measures: Sequence[Measure]
    sets: Sequence[Figure]
    patients: Tensor | None
    reference_patients: int
    images: Tensor = field(repr=False)
    choice: float
    shown: Mapping[str, float]
    pictures: Gallery = field(repr=False)
    collapsed: bool = False

    @property
    def gallery_images(self) -> npt.NDArray[np.float16]:
        """:attr:`images` in the precision in which they are kept."""
        images: npt.NDArray[np.float16] = self.images.numpy().astype(np.float16)
        return images

    def to_scores(self) -> ImageScores:
        """The record of a round: means over slices."""
        return self._scores([one.figure(self.patients) for one in self.measures])

    def final(self, samples: int, seed: int) -> ImageScores:
        """The record of the chosen round, with intervals over patients and gains that are paired over them.

        Args:
            samples: resamples of the patients.
            seed: the same seed gives the same intervals.
        """
        figures = []
        for one in self.measures:
            figure = one.figure(self.patients)
            if one.interval:
                figure = figure.model_copy(update=self._estimate(one, torch.zeros_like(one.values), samples, seed))
            figures.append(figure)
            if one.gain_over in one.references:
                gain = self._estimate(one, one.references[one.gain_over], samples, seed)
                of = {"metric": one.metric, "part": one.part, "n": figure.n, "patients": figure.patients}
                figures.append(Figure.model_validate({**of, "against": one.gain_over, **gain}))
        return self._scores(figures)

    def _estimate(self, one: Measure, other: Tensor, samples: int, seed: int) -> dict[str, float | None]:
        owner = torch.arange(len(one.values)) if self.patients is None else self.patients
        found = paired_difference(one.values.numpy(), other.numpy(), owner.numpy(), samples, seed)
        return {"value": found.value, "low": found.low, "high": found.high, "standard_error": found.standard_error}

    def _scores(self, figures: Sequence[Figure]) -> ImageScores:
        order = list(METRICS)
        return ImageScores(
            protocol=self.protocol,
            figures=sorted([*figures, *self.sets], key=lambda one: order.index(one.metric)),
            slices=len(self.images),
            patients=self.reference_patients,
            collapsed=self.collapsed,
        )


def _mean(values: Tensor) -> float | None:
    held = values[~values.isnan()]
    return float(held.mean()) if len(held) else None
