"""What a trainer offers to patient-level differential privacy: a loss of one patient's slices, and which weights it
trains.

The private step itself is not here: a site takes it, because the site pays for it. A trainer only says what a step is
made of, so that a guarantee does not rest on a trainer's own loop.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from common.imaging.slices import SliceBatch
from common.training.trainer import Trainer

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class PatientDraw:
    """Some slices of one patient, chosen without a look at what they show.

    Attributes:
        slices: k of them.
        tumour: (k,) bool, their class.
        organ: of the site.
        condition: (K,) organ and contrasts.
        min_tumour_pixels: from how many lesion pixels on a mask is one to learn from.
    """

    slices: SliceBatch
    tumour: Tensor
    organ: str
    condition: Tensor
    min_tumour_pixels: int


@dataclass(frozen=True)
class PatientUpdate(Generic[Batch]):
    """One optimiser step on patients.

    Attributes:
        optimiser: its name among the trainer's optimisers; also that of the mechanism in the accounts.
        networks: name -> module, whose weights the loss trains; all of them belong to that optimiser.
        loss: the scalar loss of one patient's examples, a mean over them.
    """

    optimiser: str
    networks: dict[str, nn.Module]
    loss: Callable[[Batch], Tensor]

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained weights by ``<network>.<key>``."""
        return {
            f"{name}.{key}": parameter
            for name, network in self.networks.items()
            for key, parameter in network.named_parameters()
        }


class PatientTrainer(Trainer[Batch], ABC):
    """A trainer that can also be trained with patients as the unit of privacy.

    A private training replaces :meth:`Trainer.train`: for each step, all updates of :meth:`patient_updates` in order,
    each on a Poisson draw of patients of its own, then :meth:`public_update`.
    """

    watches_validation: ClassVar[bool] = False
    """Whether a training ends, or its rates change, by figures of validation patients."""

    public_masks: bool = False
    """Whether tumours are put where a public prior says, and not where other patients of the site have theirs."""

    @abstractmethod
    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> Batch:
        """One training example for each slice of ``draw``, made of nothing but that slice and chance."""

    @abstractmethod
    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[Batch]]:
        """The optimiser steps on patients that make up one training step; a name may come more than once.

        Args:
            condition: (K,) the site's organ and contrasts, which may say what can be trained there.
        """

    def public_update(self, condition: Tensor, generator: torch.Generator) -> None:
        """What else a training step does; it sees no patient, only weights that are private already.

        Args:
            condition: (K,) the site's organ and contrasts.
            generator: CPU generator.
        """


def example_count(batch: Any) -> int:
    """How many examples a patient's batch holds.

    Raises:
        ValueError: unless every tensor of two or more dimensions, and every one named for its examples, has one entry
            an example: a batch with unequal real and generated halves would be clipped as if it were smaller.
    """
    counts = {
        field.name: len(value)
        for field in fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor) and field.name != "condition"
    }
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"a patient's batch holds unequal numbers of examples: {told}")
    return next(iter(counts.values()))
