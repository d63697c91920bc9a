"""What this site's classifiers look at and how they see its made slices; pictures and figures for the site report.

Nothing here leaves: the files show patients. What may be told to others is :meth:`ExplanationRecord.leaving`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.arms import made_images
from client.nearest import keep_nearest
from client.session import Session
from common.errors import DataError, RefusalError
from common.explanation.choice import best_median_worst, most_confident, rules_in_order
from common.explanation.embedding import FEWEST, Separability, embed, told_apart
from common.explanation.explained import Explained
from common.explanation.grad_cam import AttentionScores, attention, attention_scores, cell_size
from common.explanation.shortcut import Fills, Shortcut, refilled, shortcut
from common.files import read_arrays, write_arrays, write_json
from common.imaging.slices import SliceBatch, Slices
from common.imaging.spread import spread_over_patients
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

CLASSES = {"tumour": True, "healthy": False}

Arrays = dict[str, npt.NDArray[Any]]


def prepare_explanations(session: Session, generator: GeneratorTrainer[Any]) -> None:
    """Right after a generator has made this site's slices: the test patients' healthy slices filled again by it, and
    which real lesions the made ones resemble most."""
    _refilled_file(session).unlink(missing_ok=True)
    if isinstance(generator, Fills) and session.split.test:
        seed = derive_seed(session.experiment.seed, session.settings.name, "refilled")
        try:
            positions, images = refilled(generator, session.test, session.training, REFILLED, seed)
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
    measured, attention_pictures = _attention(session, trainer)
    apart, embedding = _embedding(session, trainer, made)
    explained = Explained(measured, apart, _shortcut(session, trainer))
    arrays = attention_pictures | embedding | (_lesions_by_score(trainer, made) if made is not None else {})
    write_arrays(session.result_file(f"{FOLDER}/{arm}.npz"), arrays)
    write_json(session.result_file(f"{FOLDER}/{arm}.json"), explained.record().model_dump())
    return explained


def _statistics(session: Session, *names: str) -> dict[str, int]:
    """How intervals are made: alike for every arm, so that their figures can be compared."""
    return {
        "samples": session.experiment.study.bootstrap,
        "seed": derive_seed(session.experiment.seed, session.settings.name, "explanations", *names),
        "min_cell": session.min_cell,
    }


def _made(session: Session) -> SyntheticSlices | None:
    try:
        return made_images(session, "synthetic")
    except RefusalError:
        return None


def _attention(session: Session, trainer: ClassifierTrainer) -> tuple[AttentionScores | None, Arrays]:
    test = session.test
    if not len(test):
        return None, {}
    chosen = spread_over_patients(test.tumour_positions(), test.owner, LOOKED_AT)
    scores = None
    if len(chosen):
        batch = test.batch(chosen)
        scores = attention_scores(
            attention(trainer.classifier, batch.images),
            batch.labels,
            batch.foreground,
            batch.patients.numpy(),
            reach=-(-cell_size(trainer.classifier, batch.images) // 2),
            **_statistics(session, "attention"),
        )
    return scores, _surest_calls(test, trainer)


def _surest_calls(test: Slices, trainer: ClassifierTrainer) -> Arrays:
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


def _embedding(
    session: Session, trainer: ClassifierTrainer, made: SyntheticSlices | None
) -> tuple[dict[str, Separability], Arrays]:
    """Real slices of the training patients, and those made of them: the same surroundings on both sides."""
    training = session.training
    parts: list[tuple[Tensor, npt.NDArray[np.int64], bool, bool]] = []
    for tumour in CLASSES.values():
        positions = training.tumour_positions() if tumour else training.healthy_positions()
        positions = spread_over_patients(positions, training.owner, EMBEDDED)
        if len(positions):
            parts.append((training.batch(positions).images, training.owner[positions], tumour, False))
        if made is not None:
            owner = owners(made, training)
            own = np.flatnonzero(made.tumour.numpy() == tumour)
            chosen = own[np.linspace(0, len(own) - 1, min(len(own), EMBEDDED)).astype(np.int64)]
            if len(chosen):
                parts.append((made.images[torch.from_numpy(chosen)], owner[chosen], tumour, True))
    if not parts:
        return {}, {}
    features = trainer.features(torch.cat([images for images, *_ in parts])).numpy().astype(np.float64)
    owner = np.concatenate([owners for _, owners, _, _ in parts])
    tumour_class = np.concatenate([np.full(len(images), tumour) for images, _, tumour, _ in parts])
    synthetic = np.concatenate([np.full(len(images), kind) for images, _, _, kind in parts])
    apart = {}
    for name, tumour in CLASSES.items() if made is not None else ():
        of = tumour_class == tumour
        if synthetic[of].any() and not synthetic[of].all():
            apart[name] = told_apart(features[of], synthetic[of], owner[of], **_statistics(session, "told apart", name))
    if len(features) < FEWEST:
        return apart, {}
    found = embed(features, derive_seed(session.experiment.seed, session.settings.name, "embedding"))
    return apart, {
        "embedding_tsne": found.tsne.astype(np.float32),
        "embedding_pca": found.pca.astype(np.float32),
        "embedding_explained": found.explained,
        "embedding_perplexity": np.array(found.perplexity),
        "embedding_tumour": tumour_class,
        "embedding_synthetic": synthetic,
    }


def owners(made: SyntheticSlices, training: Slices) -> npt.NDArray[np.int64]:
    """(N,) the training patient on whose slice each was built; one that belongs to nobody has a number of its own."""
    origin = made.origin.numpy()
    nobody = len(training.patients) + np.arange(len(origin))
    if not len(training):
        return nobody
    return np.where(origin >= 0, training.owner[np.maximum(origin, 0)], nobody).astype(np.int64)


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
        **_statistics(session, "shortcut"),
    )


def _shown(batch: SliceBatch) -> npt.NDArray[np.float16]:
    """(N, H, W): the first contrast."""
    return batch.images[:, 0].numpy().astype(np.float16)


def _refilled_file(session: Session) -> Path:
    return session.folder / "state" / session.run / "images" / "refilled.npz"
