"""Poisson draws of patients: each takes part in a step with the same probability, by itself, whatever the others do.

What a patient brings to a step is k of its slices, chosen evenly and without a look at what they show: a patient with a
hundred slices brings no more than one with five.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from opacus.utils.uniform_sampler import UniformWithReplacementSampler

from common.imaging.slices import SliceBatch, Slices
from common.training.patients import PatientDraw

MakeExamples = Callable[[PatientDraw, torch.Generator], Any]


class PoissonPatients:
    """An endless source of independent Poisson draws.

    Args:
        sources: the same patients' slices, real or made from them; a patient's k slices are drawn from all of its own
            sources in equal parts. Patients are told apart by name.
        rate: probability that a patient takes part in a step.
        slices: k, for each patient of a draw.
        make: turns a patient's slices into its batch.
        generator: CPU generator, seeded from the operating system.

    Raises:
        ValueError: if the rate is no probability above 0, or k is below 1.
    """

    def __init__(
        self,
        sources: Sequence[Slices],
        *,
        rate: float,
        slices: int,
        make: MakeExamples,
        generator: torch.Generator,
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"a sampling rate is above 0 and at most 1, got {rate}")
        if slices < 1:
            raise ValueError(f"a patient brings at least 1 slice, got {slices}")
        self.sources = sources
        self.rate = rate
        self.slices = slices
        self.make = make
        self.generator = generator
        self.names = sorted({patient.patient for source in sources for patient in source.patients})
        self._positions = [_positions(source) for source in sources]

    def draw(self) -> list[Any]:
        """The batches of the patients of one step; there may be none."""
        return next(self.draws(1))

    def draws(self, count: int) -> Iterator[list[Any]]:
        """``count`` draws, one after another."""
        if not self.names:
            return iter([[] for _ in range(count)])
        sampler = UniformWithReplacementSampler(
            num_samples=len(self.names), sample_rate=self.rate, generator=self.generator, steps=count
        )
        return ([batch for index in chosen if (batch := self._patient(index)) is not None] for chosen in sampler)

    def _patient(self, index: int) -> Any:
        """The batch of one patient; None for one without a single slice, who has nothing to add."""
        name = self.names[index]
        own = [(i, found[name]) for i, found in enumerate(self._positions) if len(found.get(name, ()))]
        if not own:
            return None
        # Dealt out in turn, so that with k = 4 and two sources two slices come from each.
        shares = [len(range(first, self.slices, len(own))) for first in range(len(own))]
        drawn = [
            self._draw(self.sources[source], positions, share)
            for (source, positions), share in zip(own, shares, strict=True)
            if share
        ]
        return self.make(_together(drawn), self.generator)

    def _draw(self, slices: Slices, positions: Any, count: int) -> PatientDraw:
        chosen = positions[torch.randint(len(positions), (count,), generator=self.generator).numpy()]
        return PatientDraw(
            slices=slices.batch(chosen),
            tumour=torch.from_numpy(slices.tumour_class()[chosen]),
            organ=slices.organ,
            condition=slices.condition(),
            min_tumour_pixels=slices.min_tumour_pixels,
        )


def _positions(slices: Slices) -> dict[str, Any]:
    return {patient.patient: np.flatnonzero(slices.owner == index) for index, patient in enumerate(slices.patients)}


def _together(draws: Sequence[PatientDraw]) -> PatientDraw:
    if len(draws) == 1:
        return draws[0]
    names = ("images", "labels", "foreground", "organ", "patients")
    joined = {name: torch.cat([getattr(one.slices, name) for one in draws]) for name in names}
    return PatientDraw(
        slices=SliceBatch(**joined),
        tumour=torch.cat([one.tumour for one in draws]),
        organ=draws[0].organ,
        condition=draws[0].condition,
        min_tumour_pixels=draws[0].min_tumour_pixels,
    )
