"""The GAN phase: federated rounds, each scored on the reference set, then the chosen round's one final score."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from flwr.serverapp import Grid
from torch import Tensor

from common.config import to_yaml
from common.files import read_arrays, write_arrays
from common.records import Action
from common.results import FinalScore, GanResult, GanRound
from common.seeding import derive_seed
from common.training.build import build_generator_trainer
from common.training.trainer import GeneratorTrainer
from server.checkpoint import PhaseCheckpoints
from server.evaluation import ReferenceEvaluation, build_evaluation
from server.reference import reference_part
from server.roster import Roster
from server.rounds import FederatedTraining, Scored
from server.settings import StudySettings

STRIP = 12
"""Rounds in the gallery's strip."""


@dataclass(frozen=True)
class TrainedGenerator:
    """The chosen round of the GAN and what the report says of it."""

    weights: dict[str, Tensor] = field(repr=False)
    result: GanResult


def train_gan(grid: Grid, settings: StudySettings, roster: Roster) -> TrainedGenerator:
    """Trains ``experiment.model`` over the sites that can; every round is scored, the best one is kept.

    Raises:
        StudyError: if fewer sites than the quorum can or do take part.
    """
    experiment = settings.experiment
    model = str(experiment.model["name"])
    phase = f"gan/{model}"
    checkpoints = PhaseCheckpoints(settings.run_dir, phase)
    members = roster.require("gan", experiment.strategy.quorum)
    trainer = build_generator_trainer(
        experiment, device=torch.device(experiment.evaluation.device), weights=experiment.weights
    )
    initial = trainer.shared_arrays()
    scoring = _RoundScoring(settings, trainer, checkpoints.folder)
    training = FederatedTraining(
        grid=grid,
        run=settings.name,
        phase=phase,
        action=Action.TRAIN_GAN,
        experiment=to_yaml(experiment, leaving=True),
        config=experiment.strategy,
        members=members,
        rounds=experiment.federation.rounds,
        checkpoints=checkpoints,
        progress=settings.progress,
        score=scoring,
    ).train(initial)
    final = checkpoints.result()
    if final is None:
        trainer.load_shared_arrays(training.weights)
        scoring.keep_gallery()
        final = _final_score(settings, trainer).model_dump()
        checkpoints.finish(final)
    result = GanResult(
        exchange=trainer.exchange,
        score=trainer.score,
        chosen_round=training.chosen_round,
        rounds=[
            GanRound(**{key: value for key, value in record.items() if key in GanRound.model_fields})
            for record in training.records
        ],
        final=FinalScore.model_validate(final),
    )
    return TrainedGenerator(training.weights, result)


class _RoundScoring:
    """Scores each round on the reference set's selection part, which is also what chooses the round."""

    def __init__(self, settings: StudySettings, trainer: GeneratorTrainer[object], folder: Path) -> None:
        self.settings, self.trainer, self.folder = settings, trainer, folder
        experiment = settings.experiment
        self.seed = derive_seed(experiment.seed, "score", str(experiment.model["name"]))
        # A strip of at most a dozen rounds shows the course of a long training as well as hundreds would.
        self.every = math.ceil(experiment.federation.rounds / STRIP)

    @cached_property
    def evaluation(self) -> ReferenceEvaluation:
        return _evaluation(self.settings, "selection")

    def __call__(self, server_round: int, weights: dict[str, Tensor]) -> Scored:
        self.trainer.load_shared_arrays(weights)
        outcome = self.evaluation.score(self.trainer, self.seed)
        if server_round % self.every == 0 or server_round == self.settings.experiment.federation.rounds:
            write_arrays(self.folder / f"images-{server_round:05d}.npz", {"images": outcome.gallery_images})
        figures = outcome.to_scores().model_dump()
        return Scored(
            figures=figures,
            shown={
                "lesion SSIM": figures["lesion_ssim"],
                "floor": figures["floor_lesion_ssim"],
                figures["frechet"]["name"]: figures["frechet"]["value"],
            },
            choice=outcome.choice,
        )

    def keep_gallery(self) -> None:
        """The reference slices of the report, made by the round that the trainer holds, and by the rounds before."""
        outcome = self.evaluation.score(self.trainer, self.seed)
        files = sorted(self.folder.glob("images-*.npz"))
        strip = [read_arrays(file)["images"] for file in files]
        gallery = outcome.gallery(self.settings.experiment.evaluation.gallery, strip)
        gallery["rounds"] = np.array([int(file.stem.removeprefix("images-")) for file in files])
        write_arrays(self.settings.run_dir / "reference" / "gallery.npz", gallery)


def _final_score(settings: StudySettings, trainer: GeneratorTrainer[object]) -> FinalScore:
    """The chosen round on patients that had no part in choosing it; done once."""
    experiment = settings.experiment
    outcome = _evaluation(settings, "final").score(trainer, derive_seed(experiment.seed, "final score"))
    return outcome.final(experiment.study.bootstrap, derive_seed(experiment.seed, "final score", "bootstrap"))


def _evaluation(settings: StudySettings, part: str) -> ReferenceEvaluation:
    return build_evaluation(
        reference_part(settings, part), settings.experiment, cache_dir=settings.cache_dir / "features"
    )
