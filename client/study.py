"""The arms of the classifier study at this site: train, test on this site's test patients, tell only aggregates."""

import csv
import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.arms import made_images, make_images, possible_arms, training_sets
from client.session import Session
from common.errors import RefusalError
from common.files import write_arrays, write_bytes, write_tensors
from common.metrics.classification import ClassificationScores, classification_scores
from common.results import ArmScores, Interval, SiteArms
from common.seeding import derive_seed, numpy_generator
from common.training.build import build_classifier_trainer, build_gan_trainer, steps_per_round
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.kinds import GeneratorTrainer
from common.training.patients import PatientTrainer

PREDICTION_COLUMNS = ("arm", "scope", "patient", "slice", "truth", "probability")


def synthesise(session: Session, model: str, arrays: dict[str, Tensor]) -> None:
    """Makes this site's images with a federated generator; they stay here.

    Raises:
        RefusalError: if that model makes no slices of its own.
    """
    experiment = session.experiment
    trainer = build_gan_trainer(experiment, model, device=session.device, weights=session.weights)
    if not isinstance(trainer, GeneratorTrainer):
        raise RefusalError(f"{model} makes no slices that an arm could train on")
    trainer.load_shared_arrays(arrays)
    if isinstance(trainer, PatientTrainer):
        # A mask of one patient in another's slice would speak of two.
        trainer.public_masks = session.private
    seed = derive_seed(experiment.seed, session.settings.name, "synthesis", model)
    make_images(session, trainer, seed)
    _keep_gallery(session)


def run_arms(session: Session) -> SiteArms:
    """Trains one classifier an arm on this site alone; each takes the same number of optimiser steps."""
    if not session.split.test:
        raise RefusalError("it has no test patients")
    experiment = session.experiment
    federation = experiment.classifier.federation
    batch_size = experiment.classifier.batch_size
    steps = federation.rounds * steps_per_round(federation, len(session.training), batch_size)
    shown: dict[str, ArmScores] = {}
    for arm in possible_arms(session):
        started = time.monotonic()
        trainer = build_classifier_trainer(
            experiment, device=session.device, weights=session.weights, total_steps=steps
        )
        seed = derive_seed(experiment.seed, session.settings.name, "arms", arm)
        losses = trainer.train(trainer.batches(training_sets(session, arm), steps, seed))
        session.record_training(f"arms/{arm}", 0, losses, steps, time.monotonic() - started)
        scores = _test(session, trainer, arm, "local")
        session.update_result("arms.json", arm, scores.arm_scores(steps=steps).model_dump())
        shown[arm] = leaving(session, scores, steps)
        if arm == "real":
            write_tensors(site_model_file(session), trainer.shared_arrays())
    # Trained without noise, and so for this hospital alone: how well they do speaks of its training patients.
    return SiteArms(arms={} if session.private else shown)


def evaluate_model(session: Session, phase: str, arrays: dict[str, Tensor]) -> SiteArms:
    """Scores a classifier that came from elsewhere; ``phase`` is ``federated/<arm>`` or ``cross_site/<model>``."""
    if not session.split.test:
        raise RefusalError("it has no test patients")
    experiment = session.experiment
    trainer = build_classifier_trainer(experiment, device=session.device, weights=session.weights, total_steps=1)
    trainer.load_shared_arrays(arrays)
    scope, _, name = phase.partition("/")
    scores = _test(session, trainer, name, scope)
    full = scores.arm_scores()
    if scope == "federated":
        session.update_result("federated_arms.json", name, full.model_dump())
    if scope == "cross_site" or name == "real":
        model = name if scope == "cross_site" else "federated"
        cells = {"auc": full.auc.model_dump(), "accuracy": full.accuracy.model_dump()}
        session.update_result("cross_site.json", model, cells)
    return SiteArms(arms={"model": leaving(session, scores, None)})


def site_model_file(session: Session) -> Path:
    """This site's own classifier, trained on its real images."""
    return session.folder / "state" / session.run / "site_model.safetensors"


def leaving(session: Session, scores: ClassificationScores, steps: int | None) -> ArmScores:
    """The part of ``scores`` that may leave: nothing below ``min_cell`` patients, counts only if declared."""
    if scores.patients < session.min_cell:
        nothing = Interval(mean=None)
        return ArmScores(accuracy=nothing, precision=nothing, recall=nothing, f1=nothing, auc=nothing, steps=steps)
    return scores.arm_scores(steps=steps, counts=session.settings.declare_counts and not session.private)


def _test(session: Session, trainer: ClassifierTrainer, arm: str, scope: str) -> ClassificationScores:
    """Scores on this site's test patients; the predictions themselves are kept here."""
    experiment, slices = session.experiment, session.test
    truth = slices.tumour_class()
    probability = trainer.predict(slices.all().images).numpy().astype(np.float64)
    _keep_predictions(session, arm, scope, truth, probability)
    return classification_scores(
        truth,
        probability,
        slices.owner,
        samples=experiment.study.bootstrap,
        seed=derive_seed(experiment.seed, session.settings.name, "bootstrap"),
        min_cell=session.min_cell,
    )


def _keep_predictions(session: Session, arm: str, scope: str, truth: Any, probability: Any) -> None:
    path = session.result_file("predictions.csv")
    rows: list[Iterable[object]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [row for row in list(csv.reader(file))[1:] if tuple(row[:2]) != (arm, scope)]
    slices = session.test
    first = np.searchsorted(slices.owner, slices.owner)
    for position, owner in enumerate(slices.owner):
        number = position - int(first[position])
        patient = slices.patients[owner].patient
        rows.append((arm, scope, patient, number, int(truth[position]), f"{probability[position]:.6f}"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PREDICTION_COLUMNS)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _keep_gallery(session: Session) -> None:
    """Real slices beside made ones for the site report: drawn by a fixed seed, not picked."""
    experiment, slices = session.experiment, session.training
    wanted = experiment.evaluation.gallery
    random = numpy_generator(experiment.seed, session.settings.name, "gallery")
    arrays: dict[str, np.ndarray[Any, Any]] = {}

    def add(name: str, images: Tensor, labels: Tensor) -> None:
        arrays[name] = images[:, 0].numpy().astype(np.float32)
        arrays[f"{name}_labels"] = labels.numpy()

    for name, positions in (
        ("real_tumour", slices.tumour_positions()),
        ("real_healthy", slices.healthy_positions()),
    ):
        batch = slices.batch(np.sort(random.permutation(positions)[:wanted]))
        add(name, batch.images, batch.labels)
    for name, source, tumour in (
        ("synthetic_tumour", "synthetic", True),
        ("synthetic_healthy", "synthetic", False),
        ("copy_paste", "copy_paste", True),
        ("blob", "blob", True),
    ):
        made = made_images(session, source)
        positions = np.flatnonzero(made.tumour.numpy() == tumour)
        chosen = torch.from_numpy(np.sort(random.permutation(positions)[:wanted]))
        add(name, made.images[chosen], made.labels[chosen])
    write_arrays(session.result_file("gallery.npz"), arrays)
