"""The arms of the classifier study at this site: train, test on this site's test patients, tell only aggregates."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.data.session import Session
from client.policy.behind import Behind
from client.privacy.guarded import resampling, tells_counts
from client.privacy.made import make_private_images
from client.privacy.scores import noised_scores
from client.privacy.slices import kept_here
from client.study.arms import (
    has_images,
    images_wanted,
    keep_images,
    made_images,
    make_images,
    possible_arms,
    told_share,
    training_sets,
)
from client.study.explanations import explain, prepare_explanations
from client.study.leaks import require_no_leak
from client.study.predictions import LEFT_OUT, TEST, Probabilities, keep_predictions, kept_predictions
from client.training.finite import require_finite
from client.training.local_generator import train_alone
from client.training.tuning import tuned
from common.array_files import write_arrays, write_tensors
from common.errors import RefusalError
from common.explanation.records import with_explanation
from common.files import read_json, write_json
from common.imaging.slices import Slices
from common.metrics.classification import ClassificationScores, classification_scores
from common.metrics.gain import Gain, paired_gain
from common.records import Instruction
from common.results_classifier import ArmScores, Interval, SiteArms
from common.seeding import derive_seed, numpy_generator
from common.training.build import build_classifier_trainer, steps_per_round
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.patients import PatientTrainer
from common.trials import arms_of

REAL = "real"
"""The arm over which the others' gains are told."""

TRAVELLING = ("real", "real_synthetic", "synthetic")
"""Arms whose classifier a site keeps for the cross-site matrix."""


LOOKED_INTO = ("real", "real_synthetic", "synthetic")
"""Arms whose classifier is explained; those of single sites, in the first trial."""


def synthesise(session: Session, model: str, arrays: dict[str, Tensor]) -> None:
    """Makes this site's images with a federated generator, and with one of its own if an arm asks for it; they stay
    here.

    Raises:
        RefusalError: if that model makes no slices of its own.
    """
    experiment, trial = session.experiment, session.trial
    trainer = tuned(session, model, arrays, "tuning")
    if isinstance(trainer, PatientTrainer):
        # A mask of one patient in another's slice would speak of two.
        trainer.public_masks = session.private
    seed = _seed(session, "synthesis", model)
    if session.private:
        make_private_images(session, trainer, seed)
    else:
        make_images(session, trainer, seed)
    if "local_generator" in arms_of(experiment, trial):
        own = tuned(session, model, train_alone(session, model).shared_arrays(), "tuning/alone")
        # The same places and noise: what made the weights is all that differs.
        keep_images(session, "local", own.synthesise(kept_here(session), images_wanted(session), seed))
    if not trial.name:
        _keep_gallery(session)
        if not session.private:
            prepare_explanations(session, trainer)


def run_arms(session: Session) -> SiteArms:
    """Trains one classifier an arm on this site alone; each takes the same number of optimiser steps.

    Raises:
        RefusalError: if there are no test patients, one of them would train as well, or a classifier came to values
            that are not finite.
    """
    if not session.split.test:
        raise RefusalError("it has no test patients")
    require_no_leak(session)
    experiment = session.experiment
    federation = experiment.classifier.federation
    batch_size = experiment.classifier.batch_size
    steps = federation.rounds * steps_per_round(federation, len(kept_here(session)), batch_size)
    told = SiteArms(arms={}, test_to_train=_test_to_train(session))
    for arm in possible_arms(session):
        started = time.monotonic()
        trainer = build_classifier_trainer(
            experiment,
            device=session.device,
            weights=session.weights,
            total_steps=steps,
            run=session.trial.run,
            tumour_share=told_share(session),
        )
        behind = Behind()
        sources = training_sets(session, arm, behind)
        losses = trainer.train(trainer.batches(sources, steps, _seed(session, "arms", arm)))
        require_finite("classifier", trainer.shared_arrays(), losses)
        phase = session.trial.phase(f"arms/{arm}")
        session.record_training(phase, 0, losses, steps, time.monotonic() - started)
        tested = score_classifier(session, trainer, arm, "local")
        whole, leaving = tested.whole(steps), tested.leaving(session, steps)
        if arm in LOOKED_INTO and not session.trial.name:
            record = explain(session, trainer, arm).record()
            whole = with_explanation(whole, record)
            leaving = with_explanation(leaving, record.leaving(session.min_cell, counts=tells_counts(session)))
        session.update_result("arms.json", arm, whole.model_dump())
        told.arms[arm] = leaving
        if session.trial.fold:
            left_out = score_classifier(session, trainer, arm, "local", LEFT_OUT)
            session.update_result("left_out_arms.json", arm, left_out.whole(steps).model_dump())
            told.left_out[arm] = left_out.leaving(session, steps)
        if arm in TRAVELLING and not session.trial.name:
            write_tensors(site_model_file(session, arm), trainer.shared_arrays())
            write_json(_behind_file(session, arm), behind.record())
    # Trained without noise, and so for this hospital alone: how well they do speaks of its training patients.
    return SiteArms(arms={}) if session.private else told


def evaluate_model(session: Session, instruction: Instruction, arrays: dict[str, Tensor]) -> SiteArms:
    """Scores a classifier that came from elsewhere; its phase is ``federated/<arm>``, or ``cross_site/<model>`` with
    ``/<arm>`` after it unless that is ``real``.

    Raises:
        RefusalError: if there are no test patients, or one of them trained as well.
    """
    if not session.test.patients:
        if not session.guarded:
            raise RefusalError("it has no test patients")
        # That there are none is told as little as that there are few: by figures that are missing, or noised.
        nobody = noised_scores(session, instruction.phase, session.test, np.zeros(0))
        return SiteArms(arms={"model": nobody or nothing_told(None)})
    require_no_leak(session)
    experiment = session.experiment
    trainer = build_classifier_trainer(experiment, device=session.device, weights=session.weights, total_steps=1)
    trainer.load_shared_arrays(arrays)
    scope, _, name = instruction.phase.partition("/")
    real = REAL
    if scope == "federated":
        name = instruction.arm or name
    else:
        real = name.partition("/")[0]
    tested = score_classifier(session, trainer, name, scope, real=real)
    full = tested.whole(None)
    if scope == "federated":
        session.update_result("federated_arms.json", name, full.model_dump())
    if (scope == "cross_site" or name == REAL) and "/" not in name and not session.trial.name:
        model = name if scope == "cross_site" else "federated"
        cells = {"auc": full.auc.model_dump(), "accuracy": full.accuracy.model_dump()}
        session.update_result("cross_site.json", model, cells)
    # Noise covers how few there are; that there are at least so many would be told without it.
    noised = noised_scores(session, instruction.phase, session.test, tested.probability)
    leaving = noised or tested.leaving(session, None)
    told = SiteArms(arms={"model": leaving}, test_to_train=_test_to_train(session))
    if session.trial.fold and session.split.validation:
        left_out = score_classifier(session, trainer, name, scope, LEFT_OUT)
        session.update_result("left_out_federated_arms.json", name, left_out.whole(None).model_dump())
        told.left_out["model"] = left_out.leaving(session, None)
    return told


def site_model_file(session: Session, arm: str) -> Path:
    """This site's own classifier of an arm of the first trial."""
    return session.first.state_folder / "site_models" / f"{arm}.safetensors"


def behind_site_model(session: Session, arm: str) -> Behind:
    """What it was trained on; nothing looked at, where a release that did not count trained it."""
    file = _behind_file(session, arm)
    return Behind.of(read_json(file)) if file.exists() else Behind()


def _behind_file(session: Session, arm: str) -> Path:
    return site_model_file(session, arm).with_suffix(".json")


@dataclass(frozen=True)
class Tested:
    """A classifier on some patients of this site, and its gain over the one trained on real slices only."""

    scores: ClassificationScores
    gain: Gain | None
    slices: Slices
    probability: Probabilities

    def whole(self, steps: int | None) -> ArmScores:
        """Everything, for this site's own report."""
        return self._with_gain(self.scores.arm_scores(steps=steps))

    def leaving(self, session: Session, steps: int | None) -> ArmScores:
        """The part that may leave: nothing below ``min_cell`` patients, counts only if declared."""
        if self.scores.patients < session.min_cell:
            return nothing_told(steps)
        told = self._with_gain(self.scores.arm_scores(steps=steps, counts=tells_counts(session)))
        return told.model_copy(update=self._too_few(session)) if session.guarded else told

    def _too_few(self, session: Session) -> dict[str, Interval]:
        """Figures that fewer than ``min_cell`` patients stand behind: who chooses the classifier could have it call the
        slices of one patient alone, whose own figure precision would be."""
        truth, called = self.slices.tumour_class(), self.probability >= 0.5

        def patients(slices: npt.NDArray[np.bool_]) -> int:
            return len(np.unique(self.slices.owner[slices]))

        tumour, healthy, positive = patients(truth), patients(~truth), patients(called)
        behind = {
            "precision": positive,
            "recall": tumour,
            "f1": min(tumour, positive),
            "sensitivity": tumour,
            "auc": min(tumour, healthy),
            "auc_gain": min(tumour, healthy),
        }
        return {name: Interval(mean=None) for name, count in behind.items() if count < session.min_cell}

    def _with_gain(self, scores: ArmScores) -> ArmScores:
        if self.gain is None:
            return scores
        gains = {"accuracy_gain": self.gain.accuracy.interval(), "auc_gain": self.gain.auc.interval()}
        return scores.model_copy(update=gains)


def nothing_told(steps: int | None) -> ArmScores:
    """Scores of which none leaves."""
    nothing = Interval(mean=None)
    return ArmScores(accuracy=nothing, precision=nothing, recall=nothing, f1=nothing, auc=nothing, steps=steps)


def score_classifier(
    session: Session, trainer: ClassifierTrainer, arm: str, scope: str, part: str = TEST, real: str = REAL
) -> Tested:
    """Scores on this site's test patients, or on those of the fold; the predictions themselves are kept here.

    Args:
        real: under which name the predictions are kept over which a gain is told.

    Raises:
        RefusalError: if it answers with no number; its finite weights may still be too large for that.
    """
    slices = session.test if part == TEST else session.left_out
    # As they are written down, so that whoever reads them finds the same figures.
    predicted = trainer.predict(slices.all().images).double().numpy()
    if session.guarded:
        # Weights that come from elsewhere may answer one patient with no number: failing would tell that it is there.
        predicted = np.nan_to_num(predicted, nan=0.5)
    elif not np.isfinite(predicted).all():
        raise RefusalError(
            "the classifier answers with values that are not finite; a lower classifier.learning_rate may help"
        )
    probability: Probabilities = np.round(predicted, 6)
    keep_predictions(session, part, arm, scope, slices, probability)
    beside = session.within(session.trial.with_real)
    with_real = kept_predictions(beside, part, real, scope) if arm != real else None
    return Tested(
        _scores(session, slices, probability), _gain(session, slices, probability, with_real), slices, probability
    )


def _scores(session: Session, slices: Slices, probability: Probabilities) -> ClassificationScores:
    samples, seed = resampling(session)
    return classification_scores(
        slices.tumour_class(),
        probability,
        slices.owner,
        samples=samples,
        seed=seed,
        min_cell=session.min_cell,
    )


def _gain(session: Session, slices: Slices, probability: Probabilities, with_real: Probabilities | None) -> Gain | None:
    if with_real is None or len(with_real) != len(probability):
        return None
    samples, seed = resampling(session)
    return paired_gain(
        slices.tumour_class(),
        probability,
        with_real,
        slices.owner,
        samples=samples,
        seed=seed,
        min_cell=session.min_cell,
    )


def _test_to_train(session: Session) -> float | None:
    """Patients left out over those that train, where the hospital declares counts."""
    train = len(session.split.train)
    if not session.trial.fold or not train or not tells_counts(session):
        return None
    return len(session.split.validation) / train


def _seed(session: Session, *what: str) -> int:
    """A seed of this site and trial."""
    trial = session.trial.name
    return derive_seed(session.experiment.seed, session.settings.name, *what, *([trial] if trial else []))


def _keep_gallery(session: Session) -> None:
    """Real slices beside made ones for the site report: drawn by a fixed seed, not picked."""
    experiment, slices = session.experiment, kept_here(session)
    wanted = experiment.evaluation.gallery
    random = numpy_generator(experiment.seed, session.settings.name, "gallery")
    arrays: dict[str, np.ndarray[Any, Any]] = {}

    def add(name: str, images: Tensor, labels: Tensor) -> None:
        arrays[name] = images[:, 0].numpy().astype(np.float32)
        arrays[f"{name}_labels"] = labels.numpy()

    for name, positions in (
        ("real_tumour", np.flatnonzero(slices.tumour_class())),
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
        if not has_images(session, source):
            continue
        made = made_images(session, source)
        positions = np.flatnonzero(made.tumour.numpy() == tumour)
        chosen = torch.from_numpy(np.sort(random.permutation(positions)[:wanted]))
        add(name, made.images[chosen], made.labels[chosen])
    write_arrays(session.result_file("gallery.npz"), arrays)
