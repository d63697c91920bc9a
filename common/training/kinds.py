"""The kinds of trainer: what each can make, and so what the coordinator can measure and how sites can work together.

A model family is a subclass of one or several of these, see :mod:`common.training.trainer` for the shape they share.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from common.imaging.slices import SliceBatch, Slices
from common.seeding import Label, derive_seed
from common.training.trainer import Contributor, EvaluationProtocol, Needs, Trainer, View

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class SyntheticSlices:
    """What a generator made at one site.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N, H, W) uint8: the mask it was asked for; all 0 for a synthetic negative.
        tumour: (N,) bool: the class it was made as.
        foreground: (N, H, W) bool.
        origin: (N,) int64: position in the site's slices of the slice it was built on, -1 where there is none.
        moved_on: how often a slice had no place for a lesion, and another one was taken.
    """

    images: Tensor
    labels: Tensor
    tumour: Tensor
    foreground: Tensor
    origin: Tensor
    moved_on: int = 0

    def __len__(self) -> int:
        return len(self.images)


class GeneratorTrainer(Trainer[Batch]):
    """A trainer whose model can make images."""

    @abstractmethod
    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        """``count`` synthetic slices at this site, half of them tumours, half made the same way without one."""

    def tune(self, slices: Slices, seed: int) -> dict[str, float]:
        """What a site trains alone before it makes slices with the generator of all; the mean of each loss.

        Nothing, and no losses, unless overridden.
        """
        return {}


class GradientTrainer(Trainer[Batch]):
    """A trainer that can also work by ``Exchange.GRADIENTS``: the coordinator takes the optimiser steps.

    One exchange is one message a site: weights in, a contribution out. All arrays keep their names from
    :meth:`Trainer.shared_arrays`.
    """

    batches_per_exchange: int = 1
    """How many batches a site draws for one contribution."""

    @abstractmethod
    def contribute(self, batches: Iterable[Batch]) -> tuple[dict[str, Tensor], dict[str, float]]:
        """At a site: what it adds to the coordinator's next step, and the mean of each loss; weights were loaded
        before."""

    @abstractmethod
    def expected_contribution(self) -> dict[str, Tensor]:
        """At the coordinator: names, shapes and starting values of a contribution (zeros for a gradient, the weights
        themselves for weights), against which what arrives is checked."""

    @abstractmethod
    def absorb(self, contributions: Mapping[str, Mapping[str, Tensor]], sites: Mapping[str, Contributor]) -> None:
        """At the coordinator: takes the step that all sites' contributions add up to."""


@dataclass(frozen=True)
class ProxySource:
    """Whose images stand in for the real ones that a site does not hold.

    Attributes:
        model: a GAN of the study that samples slices.
        slices: how many of them each site releases.
    """

    model: str
    slices: int


class ProxyTrainer(Trainer[Batch]):
    """A trainer that can also work by ``Exchange.PROXIES``: a site learns from synthetic slices of what it lacks."""

    @classmethod
    @abstractmethod
    def proxy_source(cls, config: Any) -> ProxySource | None:
        """Where the proxies come from; None where ``config`` asks for another exchange."""

    @classmethod
    @abstractmethod
    def proxied_view(cls, config: Any, view: View) -> View:
        """The view whose synthetic slices a site needs that shows ``view`` itself."""

    @abstractmethod
    def give_proxies(self, images: Tensor) -> None:
        """Hands the site those slices, (N, C, H, W) in [0, 1]; they must be there before batches are drawn."""


class SamplingTrainer(GeneratorTrainer[Batch]):
    """A generator of whole slices from noise (``EvaluationProtocol.NEAREST``)."""

    protocol: ClassVar[EvaluationProtocol] = EvaluationProtocol.NEAREST
    needs: ClassVar[Needs] = Needs.CLASSES
    family: ClassVar[str]

    @abstractmethod
    def sample(self, tumour: Tensor, condition: Tensor, seed: int) -> Tensor:
        """(N, C, H, W) float32 in [0, 1] on the CPU, made as the classes ``tumour`` (N,) bool.

        Args:
            tumour: (N,) bool.
            condition: (K,) organ and contrasts.
            seed: the same seed gives the same images.
        """

    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        """Slices made for this site's organ and contrasts; the first half of them (and the odd one) as tumours.

        There is no mask, so that all labels are 0 and ``tumour`` alone tells the class. Foreground is what is not 0
        in some contrast.
        """
        tumour = torch.arange(count) < count - count // 2
        images = self.sample(tumour, slices.condition(), derive_seed(seed, self.family, Label.SYNTHESISE))
        return SyntheticSlices(
            images=images,
            labels=torch.zeros(count, *images.shape[2:], dtype=torch.uint8),
            tumour=tumour,
            foreground=(images > 0).any(1),
            origin=torch.full((count,), -1),
        )


class TranslatingTrainer(Trainer[Batch]):
    """A pair of generators between two domains (``EvaluationProtocol.CYCLE``)."""

    protocol: ClassVar[EvaluationProtocol] = EvaluationProtocol.CYCLE

    domains: tuple[View, View]
    """The two sides, first and second."""

    @classmethod
    @abstractmethod
    def sides(cls, config: Any) -> tuple[View, View]:
        """The two sides that ``config`` names.

        Raises:
            ConfigError: if they are not two different ones with equally many contrasts.
        """

    @classmethod
    def subjects(cls, config: Any, views: Sequence[View]) -> dict[str, tuple[View, ...]]:
        """Both directions, each as (source, target)."""
        first, second = cls.sides(config)
        return {f"{a.name} to {b.name}": (a, b) for a, b in ((first, second), (second, first))}

    @abstractmethod
    def translate(self, images: Tensor, source: int) -> Tensor:
        """(N, C, H, W) in [0, 1] on the CPU: ``images`` of domain ``source`` (0 or 1) as the other domain's."""


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
    """A generator whose output has a real counterpart (``EvaluationProtocol.PAIRED``)."""

    protocol: ClassVar[EvaluationProtocol] = EvaluationProtocol.PAIRED
    needs: ClassVar[Needs] = Needs.MASKS

    @abstractmethod
    def reconstruct(self, batch: SliceBatch, condition: Tensor, seed: int) -> Reconstruction:
        """The tumour slices of ``batch`` made again from their own labels; ``condition`` is (K,)."""


class PairedTranslationTrainer(Trainer[Batch]):
    """A generator of other contrasts of the same slice (``EvaluationProtocol.TRANSLATION``)."""

    protocol: ClassVar[EvaluationProtocol] = EvaluationProtocol.TRANSLATION

    @classmethod
    @abstractmethod
    def sides(cls, config: Any) -> tuple[View, View]:
        """What is translated, and into what."""

    @classmethod
    def subjects(cls, config: Any, views: Sequence[View]) -> dict[str, tuple[View, ...]]:
        """The one direction, as (source, target)."""
        source, target = cls.sides(config)
        return {f"{source.name} to {target.name}": (source, target)}

    @abstractmethod
    def translate(self, batch: SliceBatch) -> Tensor:
        """(N, D, H, W) in [0, 1] on the CPU: the slices of ``batch``, whose channels are the source contrasts, in the
        target's."""
