"""The arms of the classifier study at this site: train, test on this site's test patients, tell only aggregates."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from client.data.context import StudyContext
from client.data.request import Request
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.policy.behind import Behind
from client.privacy.guarded import resampling, tells_counts
from client.privacy.leaving import Rules, leaving
from client.privacy.scores import noised_scores
from client.privacy.slices import kept_here
from client.study.arms import (
    possible_arms,
    told_share,
    training_sets,
)
from client.study.explanations import explain
from client.study.leaks import require_no_leak
from client.study.predictions import LEFT_OUT, TEST, Probabilities, keep_predictions, kept_predictions
from client.training.finite import require_finite
from common.errors import RefusalError
from common.figures.figure import REAL_ONLY, Figure
from common.imaging.slices import Slices
from common.metrics.classification import classification_scores, decisive_patients
from common.metrics.gain import paired_gain
from common.results.classifier import ClassifierScores, SiteArms, ToldScores
from common.seeding import Label
from common.study.phases import Phase, PhaseKind
from common.system.array_files import write_tensors
from common.system.files import read_json, write_json
from common.training.build import build_classifier_trainer, steps_per_round
from common.training.classifier import Trainer as ClassifierTrainer

REAL = "real"
"""The arm over which the others' gains are told."""

TRAVELLING = ("real", "real_synthetic", "synthetic")
"""Arms whose classifier a site keeps for the cross-site matrix."""


LOOKED_INTO = ("real", "real_synthetic", "synthetic")
"""Arms whose classifier is explained; those of single sites, in the first trial."""


def run_arms(data: SiteData, work: WorkFolder, test: Slices) -> SiteArms:
    """Trains one classifier an arm on this site alone; each takes the same number of optimiser steps.

    Args:
        test: what they are tested on.

    Raises:
        RefusalError: if there are no test patients, one of them would train as well, or a classifier came to values
            that are not finite.
    """
    if not data.split.test:
        raise RefusalError("it has no test patients")
    require_no_leak(data, work)
    study, trial = data.study, data.study.trial
    classifier = study.experiment.classifier
    federation = classifier.federation
    steps = federation.rounds * steps_per_round(federation, len(kept_here(data)), classifier.batch_size)
    told = SiteArms(arms={}, test_to_train=_test_to_train(data))
    for arm in possible_arms(study, work):
        started = time.monotonic()
        trainer = build_classifier_trainer(
            study.experiment,
            device=study.device,
            weights=study.weights,
            total_steps=steps,
            run=trial.run,
            tumour_share=told_share(data),
        )
        behind = Behind()
        sources = training_sets(data, work, arm, behind)
        losses = trainer.train(trainer.batches(sources, steps, study.trial_seed(Label.ARMS, arm)))
        require_finite("classifier", trainer.shared_arrays(), losses)
        work.record_training(trial.phase(f"arms/{arm}"), 0, losses, steps, time.monotonic() - started)
        tested = score_classifier(study, work, test, trainer, arm, "local")
        if arm in LOOKED_INTO and not trial.name:
            tested = tested.explained_by(explain(data, work, test, trainer, arm))
        work.update_result("arms.json", arm, tested.whole(steps).model_dump())
        told.arms[arm] = tested.leaving(study, steps, trained_here=True)
        if trial.fold:
            left_out = score_classifier(study, work, data.left_out, trainer, arm, "local", LEFT_OUT)
            work.update_result("left_out_arms.json", arm, left_out.whole(steps).model_dump())
            told.left_out[arm] = left_out.leaving(study, steps, trained_here=True)
        if arm in TRAVELLING and not trial.name:
            write_tensors(work.site_model(arm), trainer.shared_arrays())
            write_json(_behind_file(work, arm), behind.record())
    # Trained without noise, and so for this hospital alone: how well they do speaks of its training patients.
    return SiteArms(arms={}) if study.private else told


def evaluate_model(request: Request, arrays: dict[str, Tensor]) -> SiteArms:
    """Scores a classifier that came from elsewhere; its phase is ``federated/<arm>``, or ``cross_site/<model>`` with
    ``/<arm>`` after it unless that is ``real``.

    Raises:
        RefusalError: if there are no test patients, or one of them trained as well.
    """
    data, work, study, test = request.data, request.work, request.study, request.test
    noised = partial(noised_scores, data, work, request.instruction.phase, test, random=request.means.random)
    if not test.patients:
        if not study.guarded:
            raise RefusalError("it has no test patients")
        # That there are none is told as little as that there are few: by figures that are missing, or noised.
        return SiteArms(arms={"model": noised(np.zeros(0)) or ToldScores(figures=[])})
    require_no_leak(data, work)
    trainer = build_classifier_trainer(study.experiment, device=study.device, weights=study.weights, total_steps=1)
    trainer.load_shared_arrays(arrays)
    phase = Phase.parse(request.instruction.phase)
    across = phase.kind == PhaseKind.CROSS_SITE
    name = phase.label if across else request.instruction.arm or phase.name
    tested = score_classifier(study, work, test, trainer, name, phase.kind, real=phase.name if across else REAL)
    full = tested.whole(None)
    if phase.kind == PhaseKind.FEDERATED:
        work.update_result("federated_arms.json", name, full.model_dump())
    if not study.trial.name and (not phase.of if across else name == REAL):
        work.update_result("cross_site.json", name if across else "federated", full.model_dump())
    # Noise covers how few there are; that there are at least so many would be told without it.
    may_leave = noised(tested.probability) or tested.leaving(study, None)
    told = SiteArms(arms={"model": may_leave}, test_to_train=_test_to_train(data))
    if study.trial.fold and data.split.validation:
        left_out = score_classifier(study, work, data.left_out, trainer, name, phase.kind, LEFT_OUT)
        work.update_result("left_out_federated_arms.json", name, left_out.whole(None).model_dump())
        told.left_out["model"] = left_out.leaving(study, None)
    return told


def count_behind_site_model(work: WorkFolder, arm: str, behind: Behind) -> None:
    """Counts what it was trained on; nothing, where a release that did not count trained it."""
    file = _behind_file(work, arm)
    if file.exists():
        behind.add(read_json(file))


def _behind_file(work: WorkFolder, arm: str) -> Path:
    return work.site_model(arm).with_suffix(".json")


@dataclass(frozen=True)
class Tested:
    """A classifier on some patients of this site, with its gain over the one trained on real slices only."""

    scores: ClassifierScores
    slices: Slices
    probability: Probabilities

    def explained_by(self, figures: Sequence[Figure]) -> "Tested":
        """With what explains it."""
        return replace(self, scores=self.scores.model_copy(update={"figures": [*self.scores.figures, *figures]}))

    def whole(self, steps: int | None) -> ClassifierScores:
        """Everything, for this site's own report."""
        return self.scores.model_copy(update={"steps": steps})

    def leaving(self, study: StudyContext, steps: int | None, *, trained_here: bool = False) -> ToldScores:
        """The part that may leave."""
        decisive = decisive_patients(self.slices.tumour_class(), self.probability, self.slices.owner)
        return leaving(self.whole(steps), Rules.of(study, trained_here=trained_here, decisive=decisive))


def score_classifier(
    study: StudyContext,
    work: WorkFolder,
    slices: Slices,
    trainer: ClassifierTrainer,
    arm: str,
    scope: str,
    part: str = TEST,
    real: str = REAL,
) -> Tested:
    """Scores on some slices of this site; the predictions themselves are kept here.

    Args:
        slices: of its test patients, or of those of the fold.
        part: which of them; names the file of predictions.
        real: under which name the predictions are kept over which a gain is told.

    Raises:
        RefusalError: if it answers with no number; its finite weights may still be too large for that.
    """
    # As they are written down, so that whoever reads them finds the same figures.
    predicted = trainer.predict(slices.all().images).double().numpy()
    if study.guarded:
        # Weights that come from elsewhere may answer one patient with no number: failing would tell that it is there.
        predicted = np.nan_to_num(predicted, nan=0.5)
    elif not np.isfinite(predicted).all():
        raise RefusalError(
            "the classifier answers with values that are not finite; a lower classifier.learning_rate may help"
        )
    probability: Probabilities = np.round(predicted, 6)
    keep_predictions(work, part, arm, scope, slices, probability)
    beside = work.within(study.trial.with_real)
    with_real = kept_predictions(beside, part, real, scope) if arm != real else None
    scores = _scores(study, slices, probability)
    scores.figures += _gains(study, slices, probability, with_real)
    return Tested(scores, slices, probability)


def _scores(study: StudyContext, slices: Slices, probability: Probabilities) -> ClassifierScores:
    samples, seed = resampling(study)
    return classification_scores(
        slices.tumour_class(),
        probability,
        slices.owner,
        samples=samples,
        seed=seed,
        min_cell=study.min_cell,
    )


def _gains(
    study: StudyContext, slices: Slices, probability: Probabilities, with_real: Probabilities | None
) -> list[Figure]:
    if with_real is None or len(with_real) != len(probability):
        return []
    samples, seed = resampling(study)
    gains = paired_gain(
        slices.tumour_class(),
        probability,
        with_real,
        slices.owner,
        samples=samples,
        seed=seed,
        min_cell=study.min_cell,
    )
    behind = {"n": len(probability), "patients": len(np.unique(slices.owner))}
    return [gain.figure(metric, "", REAL_ONLY, **behind) for metric, gain in gains.items()]


def _test_to_train(data: SiteData) -> float | None:
    """Patients left out over those that train, where the hospital declares counts."""
    train = len(data.split.train)
    if not data.study.trial.fold or not train or not tells_counts(data.study):
        return None
    return len(data.split.validation) / train
