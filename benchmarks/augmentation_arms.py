"""What each arm of ``augmentation.py`` trains its classifier on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from common.imaging.slices import Slices
from common.synthesis.baselines import blob, copy_and_paste
from common.training.cgan import Trainer as CganTrainer
from common.training.classifier import TrainingSet
from common.training.kinds import SyntheticSlices


@dataclass
class Making:
    """What a site has to make slices from.

    Attributes:
        slices: its training slices.
        federated, local: its cGAN after training with the other sites, and alone; made when first asked for.
        seed: of everything drawn.
    """

    slices: Slices
    federated: Callable[[], CganTrainer]
    local: Callable[[], CganTrainer]
    seed: int
    _kept: dict[str, Any] = field(default_factory=dict)

    def count(self, ratio: float) -> int:
        """Slices to make."""
        return max(2, round(ratio * len(self.slices)))

    @cached_property
    def real(self) -> TrainingSet:
        """The real slices."""
        return TrainingSet.from_slices(self.slices)


@dataclass(frozen=True)
class Arm:
    """One way to train a classifier.

    Attributes:
        says: in a few words.
        real: whether real slices are among its own.
        make: makes its synthetic slices; None for none.
    """

    says: str
    real: bool = True
    make: Callable[[Making], SyntheticSlices] | None = None

    def sources(self, making: Making) -> list[TrainingSet]:
        """With two sources, half of each batch comes from each."""
        found = [making.real] if self.real else []
        return found + ([TrainingSet.from_synthetic(self.make(making))] if self.make else [])


def _cgan(making: Making) -> SyntheticSlices:
    return making.federated().synthesise(making.slices, making.count(1), making.seed)


def _local_cgan(making: Making) -> SyntheticSlices:
    return making.local().synthesise(making.slices, making.count(1), making.seed)


def _copy_paste(making: Making) -> SyntheticSlices:
    return copy_and_paste(making.slices, making.count(1), making.seed)


def _blob(making: Making) -> SyntheticSlices:
    return blob(making.slices, making.count(1), making.seed)


ARMS = {
    "real": Arm("real slices alone"),
    "cgan": Arm("real and the federated cGAN's", make=_cgan),
    "copy_paste": Arm("real and copy-and-paste", make=_copy_paste),
    "blob": Arm("real and blobs", make=_blob),
    "cgan_only": Arm("the federated cGAN's alone", real=False, make=_cgan),
    "local_cgan": Arm("real and a cGAN's that was trained at the site alone", make=_local_cgan),
}
