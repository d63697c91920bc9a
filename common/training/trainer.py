"""The one shape of every trainer: build from config, load weights, train on batches, state out.

A model family is one file beside this one. It holds a ``Config`` dataclass (its keys below ``models.<name>``) and a
``Trainer`` subclass; a GAN's derives from :class:`common.training.gan.GanTrainer`. The server never asks which family
it aggregates: it dispatches on ``exchange`` (how sites work together) and ``score`` (what the coordinator can measure).
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from common.errors import DataError
from common.export.recipe import Recipe
from common.imaging.slices import Slices
from common.seeding import derive_seed
from common.study.allowed import require_allowed
from common.study.experiment import ImageConfig

Batch = TypeVar("Batch")


class Exchange(StrEnum):
    """How sites train one model together."""

    AVERAGE = "average"
    GRADIENTS = "gradients"
    PROXIES = "proxies"


class EvaluationProtocol(StrEnum):
    """What the coordinator can compare a generated image with."""

    PAIRED = "paired"
    TRANSLATION = "translation"
    CYCLE = "cycle"
    NEAREST = "nearest"
    NONE = "none"


class Needs(StrEnum):
    """What a model must know of the slices that it learns from."""

    SLICES = "slices"
    CLASSES = "classes"
    MASKS = "masks"


OptimiserStep = Callable[[torch.optim.Optimizer], None]
"""Called after ``backward`` in place of ``optimizer.step()``: plain, or with a proximal term."""


def plain_step(optimizer: torch.optim.Optimizer) -> None:
    """The optimiser's own step, unchanged."""
    optimizer.step()


@dataclass(frozen=True)
class View:
    """What one site shows one model: an organ, in contrasts that become the channels.

    >>> View("brain", ("t1", "t2")).name
    'brain t1+t2'
    """

    organ: str
    contrasts: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people and for files."""
        return f"{self.organ} {'+'.join(self.contrasts)}"


@dataclass(frozen=True)
class Contributor:
    """A site in the eyes of the aggregation: what it shows the model, and what it counts in averages."""

    view: View
    examples: int


class Trainer(ABC, Generic[Batch]):
    """Local training of one model family at one site.

    Subclasses fill ``networks`` (name -> module; generators' names begin with ``generator``) and ``optimisers``
    (name -> optimiser; private to the site) in ``__init__``.
    """

    exchange: ClassVar[Exchange] = Exchange.AVERAGE
    protocol: ClassVar[EvaluationProtocol] = EvaluationProtocol.NONE
    needs: ClassVar[Needs] = Needs.SLICES

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

    @classmethod
    def check_config(cls, config: Any, image: ImageConfig, key: str = "model") -> None:
        """Refuses what a key may not be (:mod:`common.study.allowed`); a family adds what does not go together.

        Args:
            config: the model's own ``Config``.
            image: size of a slice.
            key: of the model in a study, e.g. ``models.cgan``.

        Raises:
            ConfigError: naming the whole key, the value and what is allowed.
        """
        require_allowed(config, f"{key}.")

    @classmethod
    def recipes(cls, config: Any, *, size: int, channels: int) -> Mapping[str, Recipe]:
        """The generators that can be exported, by their names in ``networks``; none unless overridden.

        Args:
            config: the model's own ``Config``.
            size: rows and columns of a slice.
            channels: contrasts of a slice.
        """
        return {}

    @classmethod
    def view(cls, config: Any, study: Mapping[str, tuple[str, ...]], organ: str, held: Sequence[str]) -> View | None:
        """What a site shows this model: an organ and, of the contrasts that it holds, those that the model looks at.

        Args:
            config: the model's own ``Config``.
            study: contrasts by organ, as the study looks at them.
            organ: of the site.
            held: contrasts that the site has.

        Returns:
            None for a site that has nothing to show this model.
        """
        wanted = study.get(organ)
        return View(organ, wanted) if wanted and set(wanted) <= set(held) else None

    @classmethod
    def check_views(cls, config: Any, views: Mapping[str, View]) -> None:
        """Refuses a training for which these sites cannot be enough, however many they are.

        Args:
            config: the model's own ``Config``.
            views: what each site that would take part shows.

        Raises:
            StudyError: naming what is missing.
        """

    @classmethod
    def subjects(cls, config: Any, views: Sequence[View]) -> dict[str, tuple[View, ...]]:
        """What the coordinator scores this model on, by name: the reference set in these views.

        Args:
            config: the model's own ``Config``.
            views: what the sites show, each once.
        """
        organs = [view.organ for view in views]
        return {(view.organ if organs.count(view.organ) == 1 else view.name): (view,) for view in views}

    @classmethod
    def check_slices(cls, config: Any, slices: Slices) -> None:
        """Refuses slices of which :meth:`batches` could not draw any batch.

        Args:
            config: the model's own ``Config``.
            slices: the training slices of one site.

        Raises:
            DataError: saying what there is too little of.
        """
        if not len(slices):
            raise DataError("there is no training slice; add patients")

    def averaging_weights(self, network: str, sites: Mapping[str, Contributor]) -> dict[str, float]:
        """How much each site counts in the average of ``network``; in proportion to its examples unless overridden.

        A site that did not train the network counts 0.
        """
        return {site: float(one.examples) for site, one in sites.items()}

    @abstractmethod
    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[Batch]:
        """``count`` training batches drawn from ``slices``; the same for the same seed."""

    def train(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Takes one optimiser step (of each network) a batch; returns the mean of each loss over the batches."""
        self.to_training_mode()
        return mean_losses(self._step(batch) for batch in batches)

    def _step(self, batch: Batch) -> dict[str, float]:
        self.begin_step()
        losses = {name: float(value) for name, value in self.train_step(batch).items()}
        self.end_step()
        return losses

    def pretrain(self, sources: Sequence[Slices], steps: int, seed: int) -> dict[str, float]:
        """``steps`` steps on slices of ``sources`` in turn, before a training; the mean of each loss.

        Args:
            sources: public slices, a set for each view.
            steps: over all of them together.
            seed: of their batches.
        """
        each = math.ceil(steps / len(sources))
        streams = [self.batches(one, each, derive_seed(seed, index)) for index, one in enumerate(sources)]
        return self.train(next(streams[step % len(streams)]) for step in range(steps))

    @abstractmethod
    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step of each network on ``batch``, between :meth:`begin_step` and :meth:`end_step`.

        Returns:
            Each loss, detached.
        """

    def to_training_mode(self) -> None:
        """Switches the networks that train to training; averages of them stay as they are."""
        for name, network in self.networks.items():
            if not name.endswith("_ema"):
                network.train()

    def begin_step(self) -> None:
        """What comes before a step, e.g. the schedule of the learning rates."""

    def end_step(self) -> None:
        """What comes after a step; averages of weights follow before this counts it."""
        self.steps_done += 1

    def descend(self, name: str, loss: Tensor) -> None:
        """A step of the optimiser ``name`` down the gradient of ``loss``."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.step(optimiser)

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


def mean_losses(steps: Iterable[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """The mean of each loss over some steps.

    >>> mean_losses([{"l1": 1.0}, {"l1": torch.tensor(2.0)}])
    {'l1': 1.5}
    """
    totals: dict[str, float] = defaultdict(float)
    count = 0
    for losses in steps:
        for name, value in losses.items():
            totals[name] += float(value)
        count += 1
    return {name: value / count for name, value in totals.items()}
