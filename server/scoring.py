"""Scores of a GAN in training: every round on the selection part, the chosen round once on the final part."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from common.errors import StudyError
from common.figures.figure import ImageScores
from common.seeding import Label, derive_seed
from common.study.models import Model
from common.system.array_files import read_arrays, write_arrays
from common.training.trainer import Trainer, View
from server.evaluation.diverged import DivergedError
from server.evaluation.evaluation import Evaluation, build_evaluations
from server.evaluation.outcome import Outcome
from server.rounds import Scored
from server.settings import StudySettings

STRIP = 12
"""Rounds in the gallery's strip."""


@dataclass(frozen=True)
class _Best:
    """The best round that this process scored."""

    round: int
    choice: float
    outcomes: dict[str, Outcome]


class RoundScoring:
    """Scores each round, subject by subject, on the reference set's selection part, which is also what chooses it.

    The round with the highest mean over subjects is chosen: one model serves them all.
    """

    def __init__(
        self,
        settings: StudySettings,
        model: Model,
        trainer: Trainer[Any],
        subjects: Mapping[str, tuple[View, ...]],
        folder: Path,
    ) -> None:
        self.settings, self.model, self.trainer, self.subjects, self.folder = settings, model, trainer, subjects, folder
        self.seed = derive_seed(settings.experiment.seed, Label.SCORE, model.name)
        # A strip of at most a dozen rounds shows the course of a long training as well as hundreds would.
        self.every = math.ceil(model.federation.rounds / STRIP)
        self._best: _Best | None = None

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        return build_evaluations(self.settings, self.trainer, self.subjects, "selection")

    def __call__(self, server_round: int, weights: dict[str, Tensor]) -> Scored:
        """
        Raises:
            StudyError: if the model has diverged.
        """
        self.trainer.load_shared_arrays(weights)
        try:
            outcomes = {subject: one.score(self.trainer, self.seed) for subject, one in self.evaluations.items()}
        except DivergedError as error:
            name = self.model.name
            raise StudyError(
                f"gan/{name}, round {server_round}: {error}; lower models.{name}.learning_rate in a new run"
            ) from error
        if server_round % self.every == 0 or server_round == self.model.federation.rounds:
            images = {subject_file(subject): outcome.gallery_images for subject, outcome in outcomes.items()}
            write_arrays(self.folder / f"images-{server_round:05d}.npz", images)
        choice = float(np.mean([outcome.choice for outcome in outcomes.values()]))
        if server_round and (self._best is None or choice > self._best.choice):
            self._best = _Best(server_round, choice, outcomes)
        return Scored(
            scores={subject: one.to_scores() for subject, one in outcomes.items()},
            shown=_shown(outcomes),
            choice=choice,
        )

    def keep_gallery(self, server_round: int) -> None:
        """The reference slices of the report, made by a round, which the trainer holds, and by the rounds before.

        They are made again only where an earlier process scored that round.
        """
        best = self._best if self._best is not None and self._best.round == server_round else None
        files = sorted(self.folder.glob("images-*.npz"))
        rounds = [read_arrays(file) for file in files]
        for subject, evaluation in self.evaluations.items():
            outcome = best.outcomes[subject] if best else evaluation.score(self.trainer, self.seed)
            strip = [images[subject_file(subject)] for images in rounds]
            gallery = outcome.pictures.arrays(self.settings.experiment.evaluation.gallery, strip)
            gallery["rounds"] = np.array([int(file.stem.removeprefix("images-")) for file in files])
            gallery["subject"] = np.array(subject)
            folder = self.settings.run_dir / "reference" / self.model.name
            write_arrays(folder / f"{subject_file(subject)}.npz", gallery)


def final_scores(
    settings: StudySettings, trainer: Trainer[Any], subjects: Mapping[str, tuple[View, ...]]
) -> dict[str, ImageScores]:
    """The round that the trainer holds, on patients that had no part in choosing it; done once."""
    experiment = settings.experiment
    seed = derive_seed(experiment.seed, Label.FINAL_SCORE)
    return {
        subject: evaluation.score(trainer, seed).final(experiment.study.bootstrap, derive_seed(seed, Label.BOOTSTRAP))
        for subject, evaluation in build_evaluations(settings, trainer, subjects, "final").items()
    }


def _shown(outcomes: Mapping[str, Outcome]) -> Mapping[str, float]:
    """A few figures for the terminal: more than one subject leaves room for one figure each."""
    if len(outcomes) == 1:
        return next(iter(outcomes.values())).shown
    return {f"{subject} {name}": value for subject, one in outcomes.items() for name, value in [*one.shown.items()][:1]}


def subject_file(subject: str) -> str:
    """A subject's name as that of a file or an array."""
    return re.sub(r"[^a-z0-9]+", "-", subject)
