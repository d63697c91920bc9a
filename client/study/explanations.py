"""What this site's classifiers look at and how they see its synthetic slices; pictures and figures for the site report.

Nothing here leaves: the files show patients. What may be told to others passes :mod:`client.privacy.leaving`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.slices import kept_here
from client.study.arms import has_images, made_images
from client.study.choice import best_median_worst, most_confident, rules_in_order
from client.study.nearest import keep_nearest
from common.errors import DataError
from common.explanation.grad_cam import attention
from common.explanation.of_slices import attention_on_lesions, real_kinds, seen, synthetic_kinds
from common.explanation.shortcut import Fills, refilled, shortcut
from common.figures.figure import Figure, Scores
from common.imaging.slices import SliceBatch, Slices
from common.seeding import Label, derive_seed
from common.system.array_files import read_arrays, write_arrays
from common.system.files import write_json
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.kinds import GeneratorTrainer, SyntheticSlices

FOLDER = "explanations"
LOOKED_AT = 256
"""Slices with a lesion whose attention is measured."""
EMBEDDED = 100
"""Slices of each kind in a scatter plot."""
REFILLED = 256
EACH = 2
"""Pictures of each kind or rule."""

Arrays = dict[str, npt.NDArray[Any]]


def prepare_explanations(data: SiteData, work: WorkFolder, generator: GeneratorTrainer[Any]) -> None:
    """Right after a generator has made this site's slices: the test patients' healthy slices filled again by it, and
    which real lesions the synthetic ones resemble most."""
    _refilled_file(work).unlink(missing_ok=True)
    if isinstance(generator, Fills) and data.split.test:
        seed = derive_seed(data.study.experiment.seed, data.study.settings.name, Label.REFILLED)
        try:
            positions, images = refilled(generator, data.test, kept_here(data), REFILLED, seed)
        except DataError:
            pass  # No healthy test slice, or none with room for a lesion: then there is nothing to compare.
        else:
            kept = {"positions": positions.numpy(), "images": images.numpy().astype(np.float16)}
            write_arrays(_refilled_file(work), kept)
    keep_nearest(data, work, work.results / f"{FOLDER}/nearest.npz")


def explain(data: SiteData, work: WorkFolder, test: Slices, trainer: ClassifierTrainer, arm: str) -> list[Figure]:
    """Explains the classifier of ``arm`` and keeps the pictures in ``results/explanations/<arm>.npz``.

    Args:
        data, work: of a site with test patients.
        test: what the classifier was tested on.
        trainer: holds the trained classifier.
        arm: by which it was trained.

    Returns:
        The figures, which are also kept, as ``results/explanations/<arm>.json``.
    """
    made = made_images(work, "synthetic") if has_images(work, "synthetic") else None
    statistics = _statistics(data.study)
    kinds = real_kinds(kept_here(data), EMBEDDED)
    if made is not None:
        kinds += synthetic_kinds(made, kept_here(data), EMBEDDED)
    apart, embedding = seen(trainer, kinds, **statistics)
    measured = attention_on_lesions(trainer, test, LOOKED_AT, **statistics)
    figures = [*measured, *_shortcut(data, work, trainer), *apart]
    ranked = _lesions_by_score(trainer, made) if made is not None else {}
    arrays = _surest_calls(test, trainer) | embedding | ranked
    write_arrays(work.results / f"{FOLDER}/{arm}.npz", arrays)
    write_json(work.results / f"{FOLDER}/{arm}.json", Scores(figures=figures).model_dump())
    return figures


def _statistics(study: StudyContext) -> dict[str, int]:
    """How intervals are made: alike for every arm, so that their figures can be compared."""
    return {
        "samples": study.experiment.study.bootstrap,
        "seed": derive_seed(study.experiment.seed, study.settings.name, Label.EXPLANATIONS),
        "min_cell": study.min_cell,
    }


def _surest_calls(test: Slices, trainer: ClassifierTrainer) -> Arrays:
    if not len(test):
        return {}
    probability = trainer.predict(test.all().images).numpy()
    names = np.array([one.patient for one in test.patients])[test.owner]
    positions, kinds = rules_in_order(most_confident(probability, test.tumour_class(), test.owner, EACH))
    if not len(positions):
        return {}
    batch = test.batch(positions)
    first = np.searchsorted(test.owner, test.owner)
    return {
        "attention_kind": np.array(kinds),
        "attention_images": _shown(batch),
        "attention_labels": batch.labels.numpy(),
        "attention_maps": attention(trainer.classifier, batch.images).numpy().astype(np.float16),
        "attention_probability": probability[positions],
        "attention_patient": names[positions],
        "attention_slice": positions - first[positions],
    }


def _lesions_by_score(trainer: ClassifierTrainer, made: SyntheticSlices) -> Arrays:
    """Synthetic tumours: those that the classifier is surest of, the middle ones, and those it does not see."""
    tumours = made.tumour.nonzero().squeeze(1)
    if not len(tumours):
        return {}
    probability = trainer.predict(made.images[tumours]).numpy()
    positions, rules = rules_in_order(best_median_worst(probability, EACH))
    chosen = tumours[torch.from_numpy(positions)]
    return {
        "ranked_rule": np.array(rules),
        "ranked_images": made.images[chosen, 0].numpy().astype(np.float16),
        "ranked_labels": made.labels[chosen].numpy(),
        "ranked_probability": probability[positions],
        "ranked_of": np.array(len(tumours)),
    }


def _shortcut(data: SiteData, work: WorkFolder, trainer: ClassifierTrainer) -> list[Figure]:
    path = _refilled_file(work)
    if not path.exists():
        return []
    kept = read_arrays(path)
    positions = kept["positions"]
    return shortcut(
        trainer.predict(data.test.batch(positions).images).numpy(),
        trainer.predict(torch.from_numpy(kept["images"]).float()).numpy(),
        data.test.owner[positions],
        **_statistics(data.study),
    )


def _shown(batch: SliceBatch) -> npt.NDArray[np.float16]:
    """(N, H, W): the first contrast."""
    return batch.images[:, 0].numpy().astype(np.float16)


def _refilled_file(work: WorkFolder) -> Path:
    return work.run_state / "images" / "refilled.npz"
