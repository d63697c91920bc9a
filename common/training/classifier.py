"""The tumour classifier: does this slice hold a tumour? Trained alike in every arm of the study."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import DataError
from common.imaging.slices import Slices
from common.networks.classifier import TumourClassifier, build_classifier
from common.seeding import Label, derive_seed, torch_generator
from common.study.experiment import ClassifierConfig, ImageConfig, WeightsConfig
from common.study.precision import full_precision
from common.training.augmentation import augment_slices
from common.training.kinds import SyntheticSlices
from common.training.patients import PatientDraw, PatientTrainer, PatientUpdate
from common.training.shares import counts_of_a_share
from common.training.trainer import OptimiserStep, plain_step

Config = ClassifierConfig
"""The classifier's choices are part of the experiment's schema; the name mirrors the other trainer modules."""


@dataclass(frozen=True)
class TrainingSet:
    """One source of training slices.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        tumour: (N,) bool.
        weight: how often it is drawn from, relative to the other sources.
        drawn: is told which positions every batch draws; None where nobody asks.
    """

    images: Tensor
    tumour: Tensor
    weight: float = 1.0
    drawn: Callable[[Tensor], None] | None = None

    @classmethod
    def from_slices(cls, slices: Slices, weight: float = 1.0) -> "TrainingSet":
        """Every real slice with its class."""
        return cls(slices.all().images, torch.from_numpy(slices.tumour_class()), weight)

    @classmethod
    def from_synthetic(cls, synthetic: SyntheticSlices, weight: float = 1.0) -> "TrainingSet":
        """Every synthetic slice, with the class it was made as."""
        return cls(synthetic.images, synthetic.tumour, weight)


@dataclass(frozen=True)
class ClassifierBatch:
    """Half tumours, half not; of an odd number, in turns one more of either.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1], augmented.
        tumour: (B,) bool.
    """

    images: Tensor
    tumour: Tensor


class Trainer(PatientTrainer[ClassifierBatch]):
    """Trains one classifier at one site.

    Args:
        config: network and rates.
        image: size of a slice.
        channels: contrasts of a slice.
        device: where the network lives.
        step: takes the place of ``optimizer.step()``.
        weights: files of pre-trained weights (ResNet-50's, if ``config.pretrained``).
        seed: of the first weights.
        total_steps: length of the learning-rate schedule: steps a round times rounds.
        tumour_share: share of tumours among the slices that it is to judge, above 0 and below 1. Batches are half
            tumours whatever it is; the loss makes up for that, so that probabilities are right for this share (logit
            adjustment, Menon et al. 2021) and 0.5 is where a slice is more likely to hold a tumour than not.

    Raises:
        ConfigError: for an unknown network.
        WeightsError: if pre-trained weights are needed and missing.
    """

    def __init__(
        self,
        config: Config,
        *,
        image: ImageConfig,
        channels: int,
        device: torch.device,
        step: OptimiserStep = plain_step,
        weights: WeightsConfig | None = None,
        seed: int,
        total_steps: int,
        tumour_share: float = 0.5,
    ) -> None:
        super().__init__(device=device, step=step)
        self.config = config
        self.batch_shift = -math.log(tumour_share / (1 - tumour_share))
        self.image = image
        self.total_steps = total_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, Label.CLASSIFIER, Label.WEIGHTS))
            self.classifier: TumourClassifier = build_classifier(
                config.network, channels, width=config.width, pretrained=config.pretrained, weights=weights
            )
        self.networks = {"classifier": self.classifier.to(device)}
        self.optimisers = {
            "classifier": torch.optim.AdamW(
                self.classifier.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
        }

    def batches(self, slices: Slices | Sequence[TrainingSet], count: int, seed: int) -> Iterator[ClassifierBatch]:
        """``count`` augmented batches, half of each tumours (of an odd size over several, see
        :func:`counts_of_a_share`), each half shared out over the sources by their weights.

        Raises:
            DataError: if no source holds a tumour slice, or none holds a slice without one.
        """
        sources = [TrainingSet.from_slices(slices)] if isinstance(slices, Slices) else slices
        draws = [_ClassDraw(sources, tumour) for tumour in (False, True)]
        tumours = counts_of_a_share(self.config.batch_size, 0.5, count, seed)
        return (
            self._batch(draws, number, torch_generator(seed, Label.CLASSIFIER, Label.BATCH, i))
            for i, number in enumerate(tumours)
        )

    def _batch(self, draws: Sequence["_ClassDraw"], tumours: int, generator: torch.Generator) -> ClassifierBatch:
        parts = [
            draw.images(count, generator)
            for draw, count in zip(draws, (self.config.batch_size - tumours, tumours), strict=True)
        ]
        tumour = torch.cat([torch.full((len(part),), kind) for part, kind in zip(parts, (False, True), strict=True)])
        return ClassifierBatch(augment_slices(torch.cat(parts), generator), tumour)

    def begin_step(self) -> None:
        """The rate of this step."""
        for group in self.optimisers["classifier"].param_groups:
            group["lr"] = self.config.learning_rate * _one_cycle(self.steps_done / self.total_steps)

    def train_step(self, batch: ClassifierBatch) -> dict[str, Tensor]:
        """One step; the loss, and the share of training slices told right."""
        logits, loss = self._loss(batch)
        self.descend("classifier", loss)
        right = ((logits > 0) == batch.tumour.to(self.device)).float().mean()
        return {"loss": loss.detach(), "accuracy": right}

    def _loss(self, batch: ClassifierBatch) -> tuple[Tensor, Tensor]:
        # Dropout draws from the step's own seed, so that a resumed training draws the same.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(Label.CLASSIFIER, Label.DROPOUT, self.steps_done))
            logits = full_precision(self.classifier(batch.images.to(self.device))) + self.batch_shift
        target = batch.tumour.to(self.device).to(logits) * 0.95 + 0.025  # label smoothing (Szegedy et al. 2016), 5%
        return logits, F.binary_cross_entropy_with_logits(logits, target)

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> ClassifierBatch:
        """The slices, augmented, with their classes."""
        return ClassifierBatch(augment_slices(draw.slices.images, generator), draw.tumour)

    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[ClassifierBatch]]:
        """The one network."""
        loss = lambda batch: self._loss(batch)[1]  # noqa: E731
        return (PatientUpdate("classifier", {"classifier": self.classifier}, loss),)

    def predict(self, images: Tensor) -> Tensor:
        """(N,) float32 on the CPU: the probability of a tumour in each of ``images`` (N, C, H, W)."""
        self.classifier.eval()
        with torch.no_grad():
            return torch.cat([self.classifier(part).float().sigmoid().cpu() for part in self._parts(images)])

    def features(self, images: Tensor) -> Tensor:
        """(N, D) float32 on the CPU: what the classifier's last layer sees, e.g. for a t-SNE."""
        self.classifier.eval()
        with torch.no_grad():
            return torch.cat([self.classifier.features(part).float().cpu() for part in self._parts(images)])

    def _parts(self, images: Tensor) -> Iterator[Tensor]:
        return (images[start : start + 128].to(self.device) for start in range(0, max(len(images), 1), 128))


class _ClassDraw:
    """Draws slices of one class from several sources."""

    def __init__(self, sources: Sequence[TrainingSet], tumour: bool) -> None:
        usable = [(s, (s.tumour == tumour).nonzero().squeeze(1)) for s in sources if s.weight > 0]
        self.sources = [(s, index) for s, index in usable if len(index)]
        if not self.sources:
            raise DataError(
                f"there is no training slice {'with' if tumour else 'without'} a tumour; the classifier needs both"
                " kinds: add patients, or lower min_tumour_pixels of its organ"
            )
        weights = torch.tensor([s.weight for s, _ in self.sources], dtype=torch.float64)
        self.bounds = (weights / weights.sum()).cumsum(0)

    def images(self, count: int, generator: torch.Generator) -> Tensor:
        # Evenly spaced points with one random shift: the shares are met in each batch, not only on average.
        shift = torch.rand(1, generator=generator, dtype=torch.float64)
        points = (torch.arange(count, dtype=torch.float64) + shift) / count
        owner = torch.searchsorted(self.bounds, points).clamp(max=len(self.sources) - 1)
        parts = []
        for i, (source, index) in enumerate(self.sources):
            drawn = index[torch.randint(len(index), (int((owner == i).sum()),), generator=generator)]
            if source.drawn is not None:
                source.drawn(drawn)
            parts.append(source.images[drawn])
        return torch.cat(parts)


def _one_cycle(progress: float) -> float:
    """The learning rate's factor (Smith & Topin 2019): rises to 1 over the first fifth, then falls to nearly 0."""
    progress = min(progress, 1.0)
    if progress < 0.2:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.2)) / 2
    return max(1e-3, (1 + math.cos(math.pi * (progress - 0.2) / 0.8)) / 2)
