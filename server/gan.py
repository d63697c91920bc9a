"""The GAN phase: federated rounds, each scored on the reference set, then the chosen round's one final score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from flwr.serverapp import Grid
from torch import Tensor

from common.config import to_yaml
from common.errors import StudyError
from common.files import read_arrays, write_arrays
from common.records import Action
from common.results import FinalScore, GanResult, GanRound, PairedScores
from common.seeding import derive_seed
from common.training.build import build_generator_trainer
from common.training.trainer import GeneratorTrainer
from server.checkpoint import PhaseCheckpoints
from server.evaluation import ReferenceEvaluation, build_evaluation
from server.reference import reference_part
from server.roster import Member, Roster
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
    organs = _scored_organs(settings, members)
    scoring = _RoundScoring(settings, trainer, organs, checkpoints.folder)
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
        final = {organ: _final_score(settings, trainer, organ).model_dump() for organ in organs}
        checkpoints.finish(final)
    result = GanResult(
        exchange=trainer.exchange,
        score=trainer.score,
        chosen_round=training.chosen_round,
        rounds=[
            GanRound(**{key: value for key, value in record.items() if key in GanRound.model_fields})
            for record in training.records
        ],
        final={organ: FinalScore.model_validate(score) for organ, score in final.items()},
    )
    return TrainedGenerator(training.weights, result)


class _RoundScoring:
    """Scores each round, organ by organ, on the reference set's selection part, which is also what chooses the round.

    The round with the highest mean over organs is chosen: one generator serves them all.
    """

    def __init__(
        self, settings: StudySettings, trainer: GeneratorTrainer[object], organs: Sequence[str], folder: Path
    ) -> None:
        self.settings, self.trainer, self.organs, self.folder = settings, trainer, organs, folder
        experiment = settings.experiment
        self.seed = derive_seed(experiment.seed, "score", str(experiment.model["name"]))
        # A strip of at most a dozen rounds shows the course of a long training as well as hundreds would.
        self.every = math.ceil(experiment.federation.rounds / STRIP)

    @cached_property
    def evaluations(self) -> dict[str, ReferenceEvaluation]:
        return {organ: _evaluation(self.settings, organ, "selection") for organ in self.organs}

    def __call__(self, server_round: int, weights: dict[str, Tensor]) -> Scored:
        self.trainer.load_shared_arrays(weights)
        outcomes = {organ: one.score(self.trainer, self.seed) for organ, one in self.evaluations.items()}
        if server_round % self.every == 0 or server_round == self.settings.experiment.federation.rounds:
            images = {organ: outcome.gallery_images for organ, outcome in outcomes.items()}
            write_arrays(self.folder / f"images-{server_round:05d}.npz", images)
        scores = {organ: outcome.to_scores() for organ, outcome in outcomes.items()}
        return Scored(
            figures={"scores": {organ: one.model_dump() for organ, one in scores.items()}},
            shown=_shown(scores),
            choice=float(np.mean([outcome.choice for outcome in outcomes.values()])),
        )

    def keep_gallery(self) -> None:
        """The reference slices of the report, made by the round that the trainer holds, and by the rounds before."""
        files = sorted(self.folder.glob("images-*.npz"))
        rounds = [read_arrays(file) for file in files]
        for organ, evaluation in self.evaluations.items():
            outcome = evaluation.score(self.trainer, self.seed)
            gallery = outcome.gallery(self.settings.experiment.evaluation.gallery, [images[organ] for images in rounds])
            gallery["rounds"] = np.array([int(file.stem.removeprefix("images-")) for file in files])
            write_arrays(self.settings.run_dir / "reference" / f"{organ}.npz", gallery)


def _shown(scores: Mapping[str, PairedScores]) -> dict[str, float]:
    """A few figures for the terminal: more than one organ leaves room for one figure each."""
    if len(scores) > 1:
        return {f"{organ} lesion SSIM": one.lesion_ssim for organ, one in scores.items()}
    (one,) = scores.values()
    return {"lesion SSIM": one.lesion_ssim, "floor": one.floor_lesion_ssim, one.frechet.name: one.frechet.value}


def _final_score(settings: StudySettings, trainer: GeneratorTrainer[object], organ: str) -> FinalScore:
    """The chosen round on patients that had no part in choosing it; done once."""
    experiment = settings.experiment
    outcome = _evaluation(settings, organ, "final").score(trainer, derive_seed(experiment.seed, "final score"))
    return outcome.final(experiment.study.bootstrap, derive_seed(experiment.seed, "final score", "bootstrap"))


def _evaluation(settings: StudySettings, organ: str, part: str) -> ReferenceEvaluation:
    return build_evaluation(
        reference_part(settings, organ, part), settings.experiment, cache_dir=settings.cache_dir / "features"
    )


def _scored_organs(settings: StudySettings, members: Sequence[Member]) -> list[str]:
    """The organs that are trained on and that the coordinator has a reference set of.

    Raises:
        StudyError: if there is none: no round could be scored or chosen.
    """
    trained = sorted({member.hello.organ for member in members})
    organs = [organ for organ in trained if organ in settings.reference]
    if not organs:
        raise StudyError(
            f"gan: the sites train on {', '.join(trained)}, and there is a reference set of "
            f"{', '.join(settings.reference) or 'no organ'}; set reference.{trained[0]}.path"
        )
    return organs
