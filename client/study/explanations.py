"""What this site's classifiers look at and how they see its made slices; pictures and figures for the site report.

Nothing here leaves: the files show patients. What may be told to others is :meth:`ExplanationRecord.leaving`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from client.data.session import Session
from client.privacy.slices import kept_here
from client.study.arms import made_images
from client.study.nearest import keep_nearest
from common.array_files import read_arrays, write_arrays
from common.errors import DataError, RefusalError
from common.explanation.choice import best_median_worst, most_confident, rules_in_order
from common.explanation.explained import Explained
from common.explanation.grad_cam import attention
from common.explanation.of_slices import attention_on_lesions, real_kinds, seen, synthetic_kinds
from common.explanation.shortcut import Fills, Shortcut, refilled, shortcut
from common.files import write_json
from common.imaging.slices import SliceBatch, Slices
from common.seeding import derive_seed
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


def prepare_explanations(session: Session, generator: GeneratorTrainer[Any]) -> None:
    """Right after a generator has made this site's slices: the test patients' healthy slices filled again by it, and
    which real lesions the made ones resemble most."""
    _refilled_file(session).unlink(missing_ok=True)
    if isinstance(generator, Fills) and session.split.test:
        seed = derive_seed(session.experiment.seed, session.settings.name, "refilled")
        try:
            positions, images = refilled(generator, session.test, kept_here(session), REFILLED, seed)
        except DataError:
            pass  # No healthy test slice, or none with room for a lesion: then there is nothing to compare.
        else:
            kept = {"positions": positions.numpy(), "images": images.numpy().astype(np.float16)}
            write_arrays(_refilled_file(session), kept)
    keep_nearest(session, session.result_file(f"{FOLDER}/nearest.npz"))


def explain(session: Session, trainer: ClassifierTrainer, arm: str) -> Explained:
    """Explains the classifier of ``arm`` and keeps the pictures in ``results/explanations/<arm>.npz``.

    Args:
        session: of a site with test patients.
        trainer: holds the trained classifier.
        arm: by which it was trained.

    Returns:
        The figures, which are also kept, as ``results/explanations/<arm>.json``.
    """
    made = _made(session)
    statistics = _statistics(session)
    kinds = real_kinds(kept_here(session), EMBEDDED)
    if made is not None:
        kinds += synthetic_kinds(made, kept_here(session), EMBEDDED)
    apart, embedding = seen(trainer, kinds, **statistics)
    measured = attention_on_lesions(trainer, session.test, LOOKED_AT, **statistics)
    explained = Explained(measured, apart, _shortcut(session, trainer))
    ranked = _lesions_by_score(trainer, made) if made is not None else {}
    arrays = _surest_calls(session.test, trainer) | embedding | ranked
    write_arrays(session.result_file(f"{FOLDER}/{arm}.npz"), arrays)
    write_json(session.result_file(f"{FOLDER}/{arm}.json"), explained.record().model_dump())
    return explained


def _statistics(session: Session) -> dict[str, int]:
    """How intervals are made: alike for every arm, so that their figures can be compared."""
    return {
        "samples": session.experiment.study.bootstrap,
        "seed": derive_seed(session.experiment.seed, session.settings.name, "explanations"),
        "min_cell": session.min_cell,
    }


def _made(session: Session) -> SyntheticSlices | None:
    try:
        return made_images(session, "synthetic")
    except RefusalError:
        return None


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


def _shortcut(session: Session, trainer: ClassifierTrainer) -> Shortcut | None:
    path = _refilled_file(session)
    if not path.exists():
        return None
    kept = read_arrays(path)
    positions = kept["positions"]
    return shortcut(
        trainer.predict(session.test.batch(positions).images).numpy(),
        trainer.predict(torch.from_numpy(kept["images"]).float()).numpy(),
        session.test.owner[positions],
        **_statistics(session),
    )


def _shown(batch: SliceBatch) -> npt.NDArray[np.float16]:
    """(N, H, W): the first contrast."""
    return batch.images[:, 0].numpy().astype(np.float16)


def _refilled_file(session: Session) -> Path:
    return session.run_state / "images" / "refilled.npz"
