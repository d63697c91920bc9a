"""A round whose images are no numbers is never chosen: the study ends with the model, the round and the key."""

from pathlib import Path

import pytest
import torch
from tiny import TinyStudy

from common.errors import StudyError
from common.study.models import model_of
from common.training.build import build_gan_trainer
from common.training.finite import all_finite
from common.training.trainer import View
from server.scoring import RoundScoring


def test_finite_weights_that_make_no_pixels_are_told_with_the_model_the_round_and_the_key(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    settings = tiny_study.settings(tmp_path)
    experiment = settings.experiment
    trainer = build_gan_trainer(experiment, "cgan", device=torch.device("cpu"), weights=experiment.weights)
    sound = trainer.shared_arrays()
    scoring = RoundScoring(
        settings, model_of(experiment, "cgan"), trainer, {"brain": (View("brain", ("flair",)),)}, tmp_path / "phase"
    )
    first = scoring(1, sound)
    overflowing = {name: torch.full_like(value, 3e38) for name, value in sound.items()}
    assert all_finite(overflowing.values())
    with pytest.raises(
        StudyError,
        match=r"^gan/cgan, round 2: the model has diverged: .* lower models\.cgan\.learning_rate in a new run$",
    ):
        scoring(2, overflowing)
    assert [file.name for file in (tmp_path / "phase").iterdir()] == ["images-00001.npz"]
    assert scoring(3, sound).choice == first.choice
