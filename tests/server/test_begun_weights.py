"""Weights that are exchanged while a run is stopped."""

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet50

from common.errors import WeightsError
from common.study.config import compose
from common.study.progress import NoProgress
from server.begun_weights import require_weights_as_begun
from server.settings import StudySettings


def test_a_run_that_goes_on_with_another_file_of_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "resnet50.pth"
    experiment = compose(
        ["classifier=resnet50", f"weights.imagenet_resnet50={file}", "models.cgan.perceptual_weight=0"]
    )
    experiment.evaluation.features = "efficientnet_lite0"
    settings = StudySettings(experiment, "study", tmp_path / "study", 1, {}, tmp_path, NoProgress(), "flower")
    state = resnet50(weights=None).state_dict()
    torch.save(state, file)
    for _ in range(2):
        require_weights_as_begun(settings)
    state["fc.bias"] += 1
    torch.save(state, file)
    with pytest.raises(WeightsError, match=f"weights.imagenet_resnet50={file}: is another file than the one"):
        require_weights_as_begun(settings)
