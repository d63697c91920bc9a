"""The rate schedule of every GAN: constant, then linearly down."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

FLOOR = 0.02
"""The share of a rate that is left at the end: optimisers keep moving if a training is prolonged."""


@dataclass(frozen=True)
class RateSchedule:
    """Rates that are constant over the first half of ``decay_steps`` and fall linearly to 2% over the second.

    It has no state of its own: the trainer's count of steps decides, so that a resumed training goes on rightly.

    Attributes:
        rates: learning rate by optimiser.
        decay_steps: steps after which the rates end; 0 keeps them constant.

    >>> schedule = RateSchedule({"generator": 1e-3}, decay_steps=10)
    >>> [round(schedule.factor(step), 2) for step in (0, 5, 6, 9, 10, 100)]
    [1.0, 1.0, 0.8, 0.2, 0.02, 0.02]

    Source: the linear decay is that of CycleGAN (Zhu et al. 2017), which ends at 0.
    """

    rates: Mapping[str, float]
    decay_steps: int = 0

    def factor(self, steps_done: int) -> float:
        """What every rate is multiplied by in the step after ``steps_done`` steps."""
        if self.decay_steps == 0:
            return 1.0
        return min(1.0, max(FLOOR, 2 * (1 - steps_done / self.decay_steps)))

    def apply(self, optimisers: Mapping[str, torch.optim.Optimizer], steps_done: int) -> None:
        """Sets the rate of each optimiser for its next step."""
        factor = self.factor(steps_done)
        for name, rate in self.rates.items():
            for group in optimisers[name].param_groups:
                group["lr"] = rate * factor
