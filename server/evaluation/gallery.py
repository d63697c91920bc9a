"""Pictures of a scoring, chosen by a rule and not picked: what is kept for the report, in one form for every kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

EVENLY = "evenly spread"


@dataclass(frozen=True)
class Gallery:
    """N slices, each in several versions that belong beside each other.

    Attributes:
        about: a sentence on what is shown.
        versions: name -> (N, H, W) in [0, 1], in the order of the columns; one of them is ``followed``.
        followed: the version that the rounds are shown of.
        last: the version that stands at the end of a strip of rounds, if any.
        rank_by: (N,) what slices are ranked by, higher is better.
        figures: name -> (N,) what is written above a slice.
        labels: (N, H, W) uint8, outlined if given.
    """

    about: str
    versions: Mapping[str, Tensor]
    followed: str
    rank_by: Tensor
    figures: Mapping[str, Tensor]
    last: str | None = None
    labels: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Further arrays (N, ...) that a reader of the file may want."""

    def arrays(
        self, count: int, by_round: Sequence[npt.NDArray[np.floating[Any]]] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """At most ``count`` slices: best, median and worst, then slices evenly spread over the others.

        Args:
            by_round: (N, H, W) images of the followed version of earlier scorings of the same slices, one a round.

        Returns:
            ``about`` text; ``versions`` (v,) names and ``images`` (n, v, H, W) float32; ``followed`` and ``last`` names
            (``last`` may be empty); ``rule`` (n,) text; ``figure_names`` (k,) and ``figures`` (n, k); perhaps
            ``labels`` (n, H, W) uint8; with ``by_round`` also ``by_round`` (r, n, H, W) float16.
        """
        chosen, rules = choose(self.rank_by, count)
        arrays: dict[str, npt.NDArray[Any]] = {
            "about": np.array(self.about),
            "versions": np.array(list(self.versions)),
            "images": np.stack([images[chosen].numpy() for images in self.versions.values()], axis=1).astype(
                np.float32
            ),
            "followed": np.array(self.followed),
            "last": np.array(self.last or ""),
            "rule": np.array(rules),
            "figure_names": np.array(list(self.figures)),
            "figures": np.stack([values[chosen].numpy() for values in self.figures.values()], axis=1),
            **{name: values[chosen].numpy() for name, values in self.extra.items()},
        }
        if self.labels is not None:
            arrays["labels"] = self.labels[chosen].numpy()
        if by_round:
            arrays["by_round"] = np.stack([images[chosen] for images in by_round]).astype(np.float16)
        return arrays


def choose(rank_by: Tensor, count: int) -> tuple[list[int], list[str]]:
    """Positions of at most ``count`` slices and the rule by which each was chosen.

    >>> import torch
    >>> choose(torch.tensor([0.1, 0.9, 0.5, 0.4]), 4)
    ([1, 3, 0, 2], ['best', 'median', 'worst', 'evenly spread'])
    """
    order = rank_by.argsort(descending=True, stable=True).tolist()
    named = {order[0]: "best"}
    named.setdefault(order[len(order) // 2], "median")
    named.setdefault(order[-1], "worst")
    named = dict(list(named.items())[:count])
    others = [i for i in range(len(order)) if i not in named]
    lacking = min(count - len(named), len(others))
    spread = [others[int((k + 0.5) * len(others) / lacking)] for k in range(lacking)]
    return [*named, *spread], [*named.values(), *[EVENLY] * len(spread)]
