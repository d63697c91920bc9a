"""Pre-training on public slices that comes to no numbers: nothing of it is kept, and the keys are named."""

from pathlib import Path

import pytest
import torch
from bad_steps import spoil
from tiny import TinyStudy

from common.errors import StudyError
from common.training import cgan, classifier
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.finite import all_finite
from common.training.trainer import Trainer, View
from server.pretraining import FILE, pretrained


@pytest.mark.parametrize(("phase", "family"), [("gan/cgan", cgan.Trainer), ("classifier", classifier.Trainer)])
def test_a_bad_step_is_told_with_its_keys_and_the_next_attempt_begins_anew(
    phase: str,
    family: type[Trainer[object]],
    tiny_study: TinyStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = tiny_study.settings(tmp_path)
    experiment = settings.experiment

    def attempt(steps: int) -> dict[str, torch.Tensor]:
        device, files = torch.device("cpu"), experiment.weights
        trainer = (
            build_classifier_trainer(experiment, device=device, weights=files, total_steps=3)
            if phase == "classifier"
            else build_gan_trainer(experiment, "cgan", device=device, weights=files)
        )
        return pretrained(settings, phase, trainer, [View("brain", ("flair",))], steps)

    spoil(family, monkeypatch)
    with pytest.raises(
        StudyError, match=rf"^pretraining/{phase}: .*not finite; .*pretraining\.gan_steps and pretraining\.classifier"
    ):
        attempt(3)
    assert not (settings.run_dir / "checkpoints" / phase / FILE).exists()
    monkeypatch.undo()
    again, untrained = attempt(3), attempt(0)
    assert all_finite(again.values())
    assert any(not torch.equal(value, untrained[name]) for name, value in again.items())
