"""Whose slices a training drew: counted while it draws them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.imaging.slices import Slices


@dataclass
class Behind:
    """The training patients, and the slices of them, that one training drew from.

    A synthetic slice counts as the one that it was made on, and as nobody's where it was made from noise alone.

    Attributes:
        patients: names.
        slices: positions among the site's training slices.
        watched: whether it was looked at: nothing drawn and nothing looked at are not the same.
    """

    patients: set[str] = field(default_factory=set)
    slices: set[int] = field(default_factory=set)
    watched: bool = False

    def watch(self, slices: Slices) -> Slices:
        """The same slices; whatever batch is made of them is counted here."""
        return slices.watched(lambda positions: self.count(slices, torch.from_numpy(positions)))

    def count(self, slices: Slices, positions: Tensor) -> None:
        """Counts some ``positions`` (N,) of ``slices``; -1 is no slice of anyone."""
        self.watched = True
        known = positions[positions >= 0].numpy()
        self.slices.update(known.tolist())
        self.patients.update(slices.patients[owner].patient for owner in np.unique(slices.owner[known]))

    def record(self) -> dict[str, Any]:
        """As JSON, to be kept at the site beside a model that may leave later."""
        return {"patients": sorted(self.patients), "slices": sorted(self.slices)}

    def add(self, record: dict[str, Iterable[Any]]) -> None:
        """Counts what :meth:`record` kept as well."""
        self.patients.update(record["patients"])
        self.slices.update(record["slices"])
        self.watched = True
