"""Poisson draws of patients: each takes part in a step with the same probability, by itself, whatever the others do.

What a patient brings to a step is k of its slices, chosen evenly and without a look at what they show: a patient with a
hundred slices brings no more than one with five. Whether it is drawn, which slices it brings and all chance in its
loss come from a stream of its own, so that they are the same whoever else is there.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from client.privacy.randomness import PrivateRandom, Stream
from common.imaging.slices import SliceBatch, Slices
from common.training.patients import PatientDraw

_log = logging.getLogger("oncofed.client")

MakeExamples = Callable[[PatientDraw, torch.Generator], Any]


@dataclass(frozen=True)
class Drawn:
    """A patient that takes part in a step.

    Attributes:
        batch: its training examples.
        chance: 63 bits from which all chance in its loss follows, e.g. dropout.
    """

    batch: Any
    chance: int


class PoissonPatients:
    """An endless source of independent Poisson draws.

    Args:
        sources: the same patients' slices, real or made from them; a patient's k slices are drawn from all of its own
            sources in parts that are equal, or by turns one larger. Patients are told apart by name.
        rate: probability that a patient takes part in a step.
        slices: k, for each patient of a draw.
        make: turns a patient's slices into its batch.
        random: of the training.

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
        random: PrivateRandom,
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"a sampling rate is above 0 and at most 1, got {rate}")
        if slices < 1:
            raise ValueError(f"a patient brings at least 1 slice, got {slices}")
        self.sources = sources
        self.rate = rate
        self.slices = slices
        self.make = make
        self.random = random
        self.names = sorted({patient.patient for source in sources for patient in source.patients})
        self._positions = [_positions(source) for source in sources]
        self._drawn = 0

    def draw(self) -> list[Drawn]:
        """The patients of one step; there may be none."""
        self._drawn += 1
        streams = ((name, self.random.stream("patient", self._drawn, name)) for name in self.names)
        chosen = ((name, stream) for name, stream in streams if stream.uniform(1)[0] < self.rate)
        return [one for name, stream in chosen if (one := self._patient(name, stream)) is not None]

    def _patient(self, name: str, stream: Stream) -> Drawn | None:
        """What one patient brings; None for one that has nothing to add: no slice, or none that makes an example."""
        own = [(i, found[name]) for i, found in enumerate(self._positions) if len(found.get(name, ()))]
        if not own:
            return None
        # Dealt out in turn, so that with k = 4 and two sources two slices come from each; what does not come out even
        # begins at another source each time, or with k = 1 nobody would ever bring a slice of the second.
        begin = int(stream.integers(1, len(own))[0]) if self.slices % len(own) else 0
        shares = [len(range((place - begin) % len(own), self.slices, len(own))) for place in range(len(own))]
        drawn = [
            _slices(self.sources[source], positions[stream.integers(share, len(positions))])
            for (source, positions), share in zip(own, shares, strict=True)
            if share
        ]
        try:
            batch = self.make(_together(drawn), stream.generator())
        except MemoryError:
            raise
        except Exception:
            # Whether a training fails must not depend on one patient: coordinators choose the study, and could ask for
            # something that fails for some patients only.
            _log.exception("a patient adds nothing: its examples cannot be made", extra={"fields": {"patient": name}})
            return None
        return Drawn(batch, stream.seed())


def _slices(source: Slices, chosen: Any) -> PatientDraw:
    return PatientDraw(
        slices=source.batch(chosen),
        tumour=torch.from_numpy(source.tumour_class()[chosen]),
        organ=source.organ,
        condition=source.condition(),
        min_tumour_pixels=source.min_tumour_pixels,
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
