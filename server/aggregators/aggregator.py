"""What a federation strategy is to the round loop."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from common.errors import StudyError
from common.results.shares import Shares


@dataclass(frozen=True)
class Update:
    """A site's reply that passed every check.

    Attributes:
        arrays: under ``<network>.<key>``: weights after local training, or gradients where those are exchanged.
        losses: mean of each loss over the site's steps.
    """

    arrays: Mapping[str, Tensor] = field(repr=False)
    losses: Mapping[str, float]


Weights = dict[str, Tensor]
Updates = Mapping[str, Update]


class Aggregator(ABC):
    """The coordinator's part of a federation strategy; each training has its own, since it may keep state."""

    def instructions(self) -> Mapping[str, Any]:
        """What sites are told beside the weights: fields of :class:`common.protocol.records.Instruction`, by alias."""
        return {}

    @abstractmethod
    def aggregate(self, server_round: int, current: Weights, updates: Updates, shares: Sequence[Shares]) -> Weights:
        """The next global weights, with the names, shapes and types of ``current``, in sorted order.

        Args:
            server_round: 1-based.
            current: the weights that the sites started from.
            updates: by site, with the arrays of ``current``.
            shares: how much each site counts in the average of each network, in the order in which they are summed;
                every network is in one of them.

        Raises:
            StudyError: if these updates cannot be aggregated.
        """

    def state(self) -> dict[str, Tensor]:
        """What lasts from round to round beside the weights; it is saved in the checkpoint of each round."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes up the :meth:`state` of the last finished round.

        Raises:
            StudyError: if it is another strategy's.
        """
        if state:
            raise StudyError(f"the checkpoint holds state, and {type(self).__name__} keeps none; start a new run")
