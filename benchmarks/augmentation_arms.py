"""What each arm of ``augmentation.py`` trains its classifier on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from client.study.baselines import blob, copy_and_paste
from common.imaging.slices import SliceBatch, Slices
from common.synthesis.masks import Deformation, MaskBank, Masks
from common.synthesis.sources import InsertionSource
from common.training.cgan import Trainer as CganTrainer
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.classifier import TrainingSet
from common.training.kinds import SyntheticSlices


@dataclass
class Making:
    """What a site has to make slices from.

    Attributes:
        slices: its training slices.
        federated, local: its cGAN after training with the other sites, and alone; made when first asked for.
        judge: a classifier of the site's real slices alone; trained when first asked for.
        tuned, local_tuned: the federated cGAN, and the site's own, after as many more steps at this site; trained
            when asked for.
        others: training slices of the other sites.
        seed: of everything drawn.
    """

    slices: Slices
    federated: Callable[[], CganTrainer]
    local: Callable[[], CganTrainer]
    judge: Callable[[], ClassifierTrainer]
    tuned: Callable[[], CganTrainer]
    local_tuned: Callable[[], CganTrainer]
    others: Sequence[Slices]
    seed: int

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
        make: each makes synthetic slices that are a source of their own; half of each batch with one of them, two
            thirds with two.
        weight: how often synthetic slices are drawn from, for each time that a real one is.
        first: whether the synthetic slices have the first half of the steps and the real ones the second.
        paired: whether a tumour that was put into a slice and its negative come in the same batch.
    """

    says: str
    real: bool = True
    make: Sequence[Callable[[Making], SyntheticSlices]] = ()
    weight: float = 1.0
    first: bool = False
    paired: bool = False

    def stages(self, making: Making) -> list[list[TrainingSet]]:
        """Sources of equal parts of the training, one after another."""
        real = [making.real] if self.real else []
        made = [TrainingSet.from_synthetic(make(making), self.weight) for make in self.make]
        return [made, real] if self.first else [real + made]


def _cgan(ratio: float = 1, **changes: Any) -> Callable[[Making], SyntheticSlices]:
    """The federated cGAN's, with changes to its configuration when it makes them."""

    def make(making: Making) -> SyntheticSlices:
        trainer, config = making.federated(), making.federated().config
        trainer.config = replace(config, **changes)
        made = trainer.synthesise(making.slices, making.count(ratio), making.seed)
        trainer.config = config
        return made

    return make


def _public(making: Making) -> SyntheticSlices:
    """Half of the masks are the site's own, half of a public shape."""
    trainer = making.federated()
    parts = []
    for public in (False, True):
        trainer.public_masks = public
        parts.append(trainer.synthesise(making.slices, making.count(0.5), making.seed))
    trainer.public_masks = False
    return joined(parts)


class _PooledMasks:
    """Masks of every site's tumours, as often as each has them; shapes of another organ get a label of this one's."""

    def __init__(self, making: Making) -> None:
        self.slices = making.slices
        self.sources = [(MaskBank(slices), slices.organ) for slices in (making.slices, *making.others)]
        self.organ = making.slices.organ

    def draw(self, count: int, generator: torch.Generator) -> SliceBatch:
        """``count`` tumour slices."""
        sizes = torch.tensor([float(len(bank)) for bank, _ in self.sources])
        counts = torch.multinomial(sizes, count, replacement=True, generator=generator).bincount(minlength=len(sizes))
        parts = []
        for (bank, organ), number in zip(self.sources, counts.tolist(), strict=True):
            if number == 0:
                continue
            part = bank.draw(number, generator)
            if organ != self.organ:
                part = replace(part, labels=(part.labels > 0).to(torch.uint8) * (2 if self.organ == "brain" else 1))
            parts.append(part)
        mixed = torch.randperm(count, generator=generator)
        names = [one.name for one in fields(SliceBatch)]
        return SliceBatch(**{name: torch.cat([getattr(part, name) for part in parts])[mixed] for name in names})


def _pooled(making: Making) -> SyntheticSlices:
    """Masks of all sites, put into this site's slices."""
    trainer = making.federated()
    source = trainer._source
    trainer._source = lambda slices: _with_masks(source(slices), _PooledMasks(making))  # type: ignore[method-assign]
    made = trainer.synthesise(making.slices, making.count(1), making.seed)
    trainer._source = source  # type: ignore[method-assign]
    return made


def _with_masks(source: InsertionSource, masks: Masks) -> InsertionSource:
    source.bank = masks
    return source


def _tuned(ratio: float = 1) -> Callable[[Making], SyntheticSlices]:
    return lambda making: making.tuned().synthesise(making.slices, making.count(ratio), making.seed)


def _local_tuned(making: Making) -> SyntheticSlices:
    return making.local_tuned().synthesise(making.slices, making.count(1), making.seed)


def _beside(making: Making) -> SyntheticSlices:
    trainer, config = making.tuned(), making.tuned().config
    trainer.config = replace(config, decoy_inpainting=True)
    made = trainer.synthesise(making.slices, making.count(1), making.seed)
    trainer.config = config
    return made


def _hard(making: Making) -> SyntheticSlices:
    """Of three times as many, the third of each class that a classifier of the site's real slices gets most wrong."""
    made = _cgan(ratio=3)(making)
    error = (making.judge().predict(made.images) - made.tumour.float()).abs()
    kept = making.count(1)
    chosen = []
    for tumour, count in ((True, kept - kept // 2), (False, kept // 2)):
        positions = (made.tumour == tumour).nonzero().squeeze(1)
        chosen.append(positions[error[positions].argsort(descending=True)[:count]])
    return selected(made, torch.cat(chosen))


def joined(parts: Sequence[SyntheticSlices]) -> SyntheticSlices:
    """All of them, one after another."""
    names = [one.name for one in fields(SyntheticSlices)]
    return SyntheticSlices(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def selected(made: SyntheticSlices, positions: Tensor) -> SyntheticSlices:
    """Those at ``positions``."""
    return SyntheticSlices(**{one.name: getattr(made, one.name)[positions] for one in fields(SyntheticSlices)})


def _local_cgan(making: Making) -> SyntheticSlices:
    return making.local().synthesise(making.slices, making.count(1), making.seed)


def _copy_paste(deformation: Deformation | None = None, ratio: float = 1) -> Callable[[Making], SyntheticSlices]:
    return lambda making: copy_and_paste(making.slices, making.count(ratio), making.seed, deformation=deformation)


def _blob(deformation: Deformation | None = None, ratio: float = 1) -> Callable[[Making], SyntheticSlices]:
    return lambda making: blob(making.slices, making.count(ratio), making.seed, deformation=deformation)


WIDE = Deformation(scale=(0.4, 1.6))

ARMS = {
    "real": Arm("real slices alone"),
    "cgan": Arm("real and the federated cGAN's", make=[_cgan()]),
    "copy_paste": Arm("real and copy-and-paste", make=[_copy_paste()]),
    "blob": Arm("real and blobs", make=[_blob()]),
    "cgan_only": Arm("the federated cGAN's alone", real=False, make=[_cgan()]),
    "local_cgan": Arm("real and a cGAN's that was trained at the site alone", make=[_local_cgan]),
    "cgan_tuned": Arm("the federated cGAN's after the preset's tuning at the site", make=[_tuned()]),
    "local_tuned": Arm("the site's own cGAN's after the same tuning", make=[_local_tuned]),
    "tuned_only": Arm("those of cgan_tuned alone", real=False, make=[_tuned()]),
    "tuned_x3": Arm("three of them for each real one, as often drawn", make=[_tuned(ratio=3)]),
    "tuned_beside": Arm("with a second place of each tumour's slice filled", make=[_beside]),
    "tuned_pairs": Arm("each of their tumours in one batch with its negative", make=[_tuned()], paired=True),
    "cgan_pooled": Arm("masks of all sites", make=[_pooled]),
    "cgan_x3": Arm("three cGAN's slices for each real one, as often drawn", make=[_cgan(ratio=3)]),
    "blob_x3": Arm("the same with blobs", make=[_blob(ratio=3)]),
    "copy_x3": Arm("the same with copy-and-paste", make=[_copy_paste(ratio=3)]),
    "cgan_heavy": Arm("three of them in a batch for each real one", make=[_cgan(ratio=3)], weight=3),
    "cgan_wide": Arm("masks of 0.4 to 1.6 times their size", make=[_cgan(lesion_scale=[0.4, 1.6])]),
    "copy_wide": Arm("the same with copy-and-paste", make=[_copy_paste(WIDE)]),
    "blob_wide": Arm("the same with blobs", make=[_blob(WIDE)]),
    "cgan_faint": Arm("lesions of 0.4 to 1.3 times their contrast", make=[_cgan(lesion_contrast=[0.4, 1.3])]),
    "cgan_public": Arm("half of the masks of a public shape", make=[_public]),
    "cgan_hard": Arm("those that a first classifier gets most wrong", make=[_hard]),
    "cgan_copy": Arm("real, the cGAN's and copy-and-paste", make=[_cgan(), _copy_paste()]),
    "cgan_first": Arm("the cGAN's first, then real slices", make=[_cgan()], first=True),
    "cgan_pairs": Arm("each tumour in one batch with its negative", make=[_cgan()], paired=True),
}
"""The question's arms first, then ideas: what makes the slices help more?"""
