"""The one shape of every trainer: build from config, load weights, train on batches, state out.

A model family is one file beside this one. It holds a ``Config`` dataclass (what ``configs/model/<name>.yaml`` may
say) and a ``Trainer`` subclass. The server never asks which family it aggregates: it dispatches on ``exchange`` (how
sites work together) and ``score`` (what the coordinator can measure).
"""

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from common.errors import ConfigError
from common.imaging.slices import SliceBatch, Slices

Batch = TypeVar("Batch")


class Exchange(StrEnum):
    """How sites train one model together."""

    AVERAGE = "average"
    GRADIENTS = "gradients"
    PROXIES = "proxies"


class Score(StrEnum):
    """What the coordinator can compare a generated image with."""

    PAIRED = "paired"
    CYCLE = "cycle"
    NEAREST = "nearest"
    NONE = "none"


OptimiserStep = Callable[[torch.optim.Optimizer], None]
"""Called after ``backward`` in place of ``optimizer.step()``: plain, with a proximal term, or private."""


def plain_step(optimizer: torch.optim.Optimizer) -> None:
    """The optimiser's own step, unchanged."""
    optimizer.step()


@dataclass(frozen=True)
class SyntheticSlices:
    """What a generator made at one site.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N, H, W) uint8: the mask it was asked for; all 0 for a synthetic negative.
        tumour: (N,) bool: the class it was made as.
        foreground: (N, H, W) bool.
        origin: (N,) int64: position in the site's slices of the slice it was built on, -1 where there is none.
    """

    images: Tensor
    labels: Tensor
    tumour: Tensor
    foreground: Tensor
    origin: Tensor

    def __len__(self) -> int:
        return len(self.images)


class Trainer(ABC, Generic[Batch]):
    """Local training of one model family at one site.

    Subclasses fill ``networks`` (name -> module; generators' names begin with ``generator``) and ``optimisers``
    (name -> optimiser; private to the site) in ``__init__``.
    """

    exchange: ClassVar[Exchange] = Exchange.AVERAGE
    score: ClassVar[Score] = Score.NONE

    config: Any
    """The model's own ``Config``; every one has a ``batch_size``."""
    networks: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]

    def __init__(self, *, device: torch.device, step: OptimiserStep = plain_step) -> None:
        self.device = device
        self.step = step
        self.networks = {}
        self.optimisers = {}
        self.steps_done = 0
        self.generators_only = False

    @abstractmethod
    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[Batch]:
        """``count`` training batches drawn from ``slices``; the same for the same seed."""

    @abstractmethod
    def train(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Takes one optimiser step (of each network) a batch; returns the mean of each loss over the batches."""

    def shared_networks(self) -> dict[str, nn.Module]:
        """The networks that cross the wire; with ``generators_only`` the discriminators stay at the site."""
        return {
            name: network
            for name, network in self.networks.items()
            if not self.generators_only or name.startswith("generator")
        }

    def shared_arrays(self) -> dict[str, Tensor]:
        """Weights and floating-point buffers of the shared networks, detached, on the CPU, as ``<network>.<key>``."""
        return {
            f"{name}.{key}": tensor.detach().cpu().clone()
            for name, network in self.shared_networks().items()
            for key, tensor in network.state_dict().items()
            if tensor.is_floating_point()
        }

    def load_shared_arrays(self, arrays: Mapping[str, Tensor]) -> None:
        """Replaces the weights by what :meth:`shared_arrays` gave somewhere else.

        Raises:
            ValueError: if names or shapes differ from this model's.
        """
        for name, network in self.shared_networks().items():
            own = network.state_dict()
            prefix = f"{name}."
            given = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            expected = {k for k, v in own.items() if v.is_floating_point()}
            if set(given) != expected:
                odd = sorted(set(given) ^ expected)[:3]
                raise ValueError(f"weights of {name} do not fit this model: {', '.join(odd)}")
            for key, value in given.items():
                if value.shape != own[key].shape:
                    raise ValueError(f"{prefix}{key}: shape {tuple(value.shape)}, expected {tuple(own[key].shape)}")
            with torch.no_grad():
                for key, value in given.items():
                    own[key].copy_(value)

    def private_state(self) -> dict[str, Tensor]:
        """What must last at the site but never crosses the wire: optimisers, steps, networks that are not shared."""
        state: dict[str, Tensor] = {"steps_done": torch.tensor(self.steps_done)}
        shared = self.shared_networks()
        for name, network in self.networks.items():
            if name not in shared:
                state |= {f"network.{name}.{key}": value.cpu().clone() for key, value in network.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for index, values in optimiser.state_dict()["state"].items():
                for key, value in values.items():
                    tensor = value if isinstance(value, Tensor) else torch.tensor(value)
                    state[f"optimiser.{name}.{index}.{key}"] = tensor.detach().cpu().clone()
        return state

    def load_private_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes up where :meth:`private_state` left off; an empty mapping is a fresh start."""
        if not state:
            return
        self.steps_done = int(state["steps_done"])
        shared = self.shared_networks()
        for name, network in self.networks.items():
            if name not in shared:
                prefix = f"network.{name}."
                network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        for name, optimiser in self.optimisers.items():
            restored: dict[int, dict[str, Tensor]] = {}
            for key, value in state.items():
                if key.startswith(f"optimiser.{name}."):
                    index, _, entry = key.removeprefix(f"optimiser.{name}.").partition(".")
                    restored.setdefault(int(index), {})[entry] = value.clone()
            optimiser.load_state_dict({**optimiser.state_dict(), "state": restored})


class GeneratorTrainer(Trainer[Batch]):
    """A trainer whose model can make images."""

    @abstractmethod
    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        """``count`` synthetic slices at this site, half of them tumours, half made the same way without one."""


@dataclass(frozen=True)
class Reconstruction:
    """Generated slices beside the real ones they should equal.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], generated inside ``region``, real outside.
        targets: (N, C, H, W) float32 in [0, 1], the real slices.
        region: (N, H, W) bool, what was generated (everything, for a model that makes whole images).
    """

    images: Tensor
    targets: Tensor
    region: Tensor


class PairedTrainer(GeneratorTrainer[Batch]):
    """A generator whose output has a real counterpart (``Score.PAIRED``)."""

    score: ClassVar[Score] = Score.PAIRED

    @abstractmethod
    def reconstruct(self, batch: SliceBatch, condition: Tensor, seed: int) -> Reconstruction:
        """The tumour slices of ``batch`` made again from their own labels; ``condition`` is (K,)."""


_NAME = re.compile(r"[a-z][a-z0-9_]*")


def trainer_module(name: str) -> Any:
    """The module ``common.training.<name>`` with its ``Config`` and ``Trainer``.

    Raises:
        ConfigError: if there is no such model; only files beside this one can be named.
    """
    if not _NAME.fullmatch(name) or name == "trainer":
        raise ConfigError(f"unknown model {name!r}")
    try:
        module = importlib.import_module(f"common.training.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"common.training.{name}":
            raise
        raise ConfigError(f"unknown model {name!r}: there is no common/training/{name}.py") from error
    return module
