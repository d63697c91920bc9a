"""How a federated classifier sees the public reference set, and the same slices made again by a generator."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.errors import DataError
from common.explanation.of_slices import (
    SliceKind,
    attention_on_lesions,
    real_kinds,
    real_positions,
    seen,
    synthetic_kinds,
)
from common.explanation.shortcut import Fills, refilled, shortcut
from common.figures.figure import Figure, Scores
from common.imaging.slices import Slices
from common.seeding import Label, derive_seed
from common.system.array_files import write_arrays
from common.system.files import write_json
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.kinds import GeneratorTrainer, PairedTrainer
from common.training.trainer import Trainer
from server.reference import reference_part
from server.settings import StudySettings

FOLDER = "explanations"
EMBEDDED = 100
"""Slices of each kind."""

PART = 32


ARM = "real"
"""The federated classifier that looks at the reference set: what it makes of synthetic slices, it has learnt of real
ones."""


def explain_reference_sets(
    settings: StudySettings,
    classifier: Mapping[str, Tensor],
    model: str | None,
    generator: Mapping[str, Tensor] | None,
) -> None:
    """:func:`explain_reference` for every organ of the study; what is there already is kept.

    Args:
        classifier: weights of the federated classifier.
        model: the GAN whose images the arms train on, with ``generator`` its weights; None without one.
    """
    experiment = settings.experiment
    folder = settings.run_dir / "reference" / FOLDER
    device = torch.device(experiment.evaluation.device)
    trainer = build_classifier_trainer(experiment, device=device, weights=experiment.weights, total_steps=1)
    trainer.load_shared_arrays(classifier)
    made: Trainer[Any] | None = None
    if model is not None and generator is not None:
        made = build_gan_trainer(experiment, model, device=device, weights=experiment.weights)
        made.load_shared_arrays(generator)
    for organ in settings.reference:
        if (folder / f"{organ}.json").exists():
            continue
        explain_reference(
            trainer,
            reference_part(settings, organ, "selection"),
            made,
            folder,
            samples=experiment.study.bootstrap,
            seed=derive_seed(experiment.seed, FOLDER, organ),
            min_cell=experiment.study.min_cell,
        )


@dataclass(frozen=True)
class _Filled:
    """Healthy slices with a region filled again: their positions, what they became, and whose they are."""

    positions: Tensor
    images: Tensor
    patient: npt.NDArray[np.int64]


def explain_reference(
    classifier: ClassifierTrainer,
    reference: Slices,
    generator: Trainer[Any] | None,
    folder: Path,
    *,
    samples: int,
    seed: int,
    min_cell: int,
) -> Scores:
    """Writes ``folder/<organ>.npz``, what the report draws, and ``folder/<organ>.json``, the figures.

    Args:
        classifier: holds the federated weights.
        reference: the reference set's selection part; public, so nothing here is withheld.
        generator: holds the chosen weights. A paired one makes the tumour slices again from their own labels, and one
            that fills regions the healthy ones; any other that makes slices makes new ones at this reference set. None,
            or one that makes none of these, leaves real slices alone.
        folder: e.g. ``<run>/reference/explanations``.
        samples: resamples of an interval.
        seed: of everything that is drawn.
        min_cell: fewest patients for an interval.

    Returns:
        The figures.
    """
    statistics = {"samples": samples, "seed": seed, "min_cell": min_cell}
    filled = _filled_again(reference, generator, derive_seed(seed, Label.FILLED))
    kinds = [*real_kinds(reference, EMBEDDED), *_made(reference, generator, filled, derive_seed(seed, Label.MADE))]
    apart, embedding = seen(classifier, kinds, **statistics)
    measured = attention_on_lesions(classifier, reference, EMBEDDED, **statistics)
    scores = Scores(figures=[*measured, *_shortcut(classifier, reference, filled, statistics), *apart])
    told = {"subject": np.array(reference.organ), "about": np.array(_about(generator, filled))}
    write_arrays(folder / f"{reference.organ}.npz", {**told, **embedding})
    write_json(folder / f"{reference.organ}.json", scores.model_dump())
    return scores


def _about(generator: Trainer[Any] | None, filled: _Filled | None) -> str:
    """What the synthetic slices are, in a sentence."""
    if isinstance(generator, PairedTrainer):
        healthy = ", healthy slices with a region filled again without a lesion" if filled is not None else ""
        return f"Synthetic: the same slices made again by the generator, tumours from their own labels{healthy}."
    if isinstance(generator, GeneratorTrainer):
        return "Synthetic: new slices by the generator, which are none of the real ones made again."
    return "There are no synthetic slices: the study trained no generator that makes any."


def _made(reference: Slices, generator: Trainer[Any] | None, filled: _Filled | None, seed: int) -> list[SliceKind]:
    if isinstance(generator, PairedTrainer):
        parts = [_made_again(reference, generator, seed)]
        if filled is not None:
            parts.append(SliceKind(filled.images, filled.patient, tumour=False, synthetic=True))
        return [part for part in parts if part is not None]
    if isinstance(generator, GeneratorTrainer):
        try:
            made = generator.synthesise(reference, 2 * EMBEDDED, seed)
        except DataError:
            return []
        return synthetic_kinds(made, reference, EMBEDDED)
    return []


def _made_again(reference: Slices, generator: PairedTrainer[Any], seed: int) -> SliceKind | None:
    positions = real_positions(reference, True, EMBEDDED)
    if not len(positions):
        return None
    condition = reference.condition()
    images = [
        generator.reconstruct(reference.batch(positions[at : at + PART]), condition, derive_seed(seed, at)).images
        for at in range(0, len(positions), PART)
    ]
    # A trainer leaves out slices without a lesion pixel; there are none among these.
    return SliceKind(torch.cat(images), reference.owner[positions], tumour=True, synthetic=True)


def _filled_again(reference: Slices, generator: Trainer[Any] | None, seed: int) -> _Filled | None:
    if not isinstance(generator, Fills):
        return None
    try:
        positions, images = refilled(generator, reference, reference, EMBEDDED, seed)
    except DataError:
        return None  # Without a lesion there is no mask, without a healthy slice no place for one.
    return _Filled(positions, images, reference.owner[positions.numpy()])


def _shortcut(
    classifier: ClassifierTrainer, reference: Slices, filled: _Filled | None, statistics: dict[str, int]
) -> list[Figure]:
    if filled is None:
        return []
    return shortcut(
        classifier.predict(reference.batch(filled.positions).images).numpy(),
        classifier.predict(filled.images).numpy(),
        filled.patient,
        **statistics,
    )
