"""One classifier and a set of slices: its attention on lesions, and how it sees real and synthetic slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.explanation.embedding import FEWEST, embed, told_apart
from common.explanation.grad_cam import attention, attention_scores, cell_size
from common.figures.figure import Figure
from common.imaging.slices import Slices
from common.imaging.spread import spread_over_patients
from common.seeding import Label, derive_seed
from common.training.classifier import Trainer
from common.training.kinds import SyntheticSlices

CLASSES = {"tumour": True, "healthy": False}


@dataclass(frozen=True)
class SliceKind:
    """Slices of one class, real or synthetic.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        patient: (N,) int64, whose they are or on whose slices they were built.
        tumour, synthetic: what they are.
    """

    images: Tensor
    patient: npt.NDArray[np.int64]
    tumour: bool
    synthetic: bool


def real_positions(slices: Slices, tumour: bool, most: int) -> npt.NDArray[np.int64]:
    """At most ``most`` slices of one class, spread evenly over patients."""
    positions = slices.tumour_positions() if tumour else slices.healthy_positions()
    return spread_over_patients(positions, slices.owner, most)


def real_kinds(slices: Slices, most: int) -> list[SliceKind]:
    """Real slices with a lesion and without, at most ``most`` of each; a class that is not there is left out."""
    found = ((tumour, real_positions(slices, tumour, most)) for tumour in CLASSES.values())
    return [
        SliceKind(slices.batch(positions).images, slices.owner[positions], tumour, synthetic=False)
        for tumour, positions in found
        if len(positions)
    ]


def synthetic_kinds(made: SyntheticSlices, slices: Slices, most: int) -> list[SliceKind]:
    """Synthetic slices of both classes, at most ``most`` of each, evenly spaced in the order they were made in.

    Args:
        made: the synthetic slices.
        slices: those that they were built on.
        most: of a class.
    """
    owner, kinds = owners(made, slices), []
    for tumour in CLASSES.values():
        own = np.flatnonzero(made.tumour.numpy() == tumour)
        chosen = own[np.linspace(0, len(own) - 1, min(len(own), most)).astype(np.int64)]
        if len(chosen):
            kinds.append(SliceKind(made.images[torch.from_numpy(chosen)], owner[chosen], tumour, synthetic=True))
    return kinds


def owners(made: SyntheticSlices, slices: Slices) -> npt.NDArray[np.int64]:
    """(N,) the patient on whose slice each was built; one that belongs to nobody has a number of its own."""
    origin = made.origin.numpy()
    nobody = len(slices.patients) + np.arange(len(origin))
    if not len(slices):
        return nobody
    return np.where(origin >= 0, slices.owner[np.maximum(origin, 0)], nobody).astype(np.int64)


def seen(
    trainer: Trainer, kinds: Sequence[SliceKind], *, samples: int, seed: int, min_cell: int
) -> tuple[list[Figure], dict[str, npt.NDArray[Any]]]:
    """What the classifier of ``trainer`` sees in several kinds of slices at once.

    Args:
        trainer: holds the classifier.
        kinds: drawn into one picture.
        samples, seed, min_cell: as for :func:`~common.explanation.embedding.told_apart`.

    Returns:
        How well real and synthetic are told apart, for the classes that have both; and the
        picture, as :func:`~common.report.explanations.embedding_charts` takes it, empty for too few slices.
    """
    if not kinds:
        return [], {}
    features = trainer.features(torch.cat([kind.images for kind in kinds])).numpy().astype(np.float64)
    patient = np.concatenate([kind.patient for kind in kinds])
    tumour = np.concatenate([np.full(len(kind.images), kind.tumour) for kind in kinds])
    synthetic = np.concatenate([np.full(len(kind.images), kind.synthetic) for kind in kinds])
    apart = []
    for name, wanted in CLASSES.items():
        of = tumour == wanted
        if synthetic[of].any() and not synthetic[of].all():
            own = derive_seed(seed, Label.TOLD_APART, name)
            apart.append(
                told_apart(features[of], synthetic[of], patient[of], name, samples=samples, seed=own, min_cell=min_cell)
            )
    if len(features) < FEWEST:
        return apart, {}
    found = embed(features, derive_seed(seed, Label.EMBEDDING))
    return apart, {
        "embedding_tsne": found.tsne.astype(np.float32),
        "embedding_pca": found.pca.astype(np.float32),
        "embedding_explained": found.explained,
        "embedding_perplexity": np.array(found.perplexity),
        "embedding_tumour": tumour,
        "embedding_synthetic": synthetic,
    }


def attention_on_lesions(
    trainer: Trainer, slices: Slices, most: int, *, samples: int, seed: int, min_cell: int
) -> list[Figure]:
    """:func:`~common.explanation.grad_cam.attention_scores` on at most ``most`` slices with a lesion, spread over
    patients; lesions are widened by half a cell. Empty without such a slice."""
    positions = real_positions(slices, True, most)
    if not len(positions):
        return []
    batch = slices.batch(positions)
    return attention_scores(
        attention(trainer.classifier, batch.images),
        batch.labels,
        batch.foreground,
        batch.patients.numpy(),
        reach=-(-cell_size(trainer.classifier, batch.images) // 2),
        samples=samples,
        seed=derive_seed(seed, Label.ATTENTION),
        min_cell=min_cell,
    )
