from pathlib import Path

import pytest
import torch

from common.errors import ConfigError, WeightsError
from common.features.efficientnet import EfficientNetLite0
from common.features.frozen import FrozenNetwork
from common.features.vgg import Vgg19
from common.losses import perceptual
from common.losses.perceptual import LAYERS, PerceptualLoss, perceptual_loss
from common.study.experiment import WeightsConfig


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    return perceptual_loss("efficientnet_lite0")


def test_equal_images_have_no_loss(loss: PerceptualLoss) -> None:
    x = torch.rand(2, 1, 32, 32)
    assert loss(x, x).item() == 0


def test_equals_the_difference_of_maps_computed_apart(loss: PerceptualLoss) -> None:
    a, b = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    parts = []
    for layer in loss.layers:
        (have,), (want,) = loss.network.feature_maps(a, [layer]), loss.network.feature_maps(b, [layer])
        parts.append((have - want).abs().mean() / want.abs().mean())
    torch.testing.assert_close(loss(a, b), torch.stack(parts).mean())


def test_contrasts_count_alike(loss: PerceptualLoss) -> None:
    a, b = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(loss(a.expand(-1, 2, -1, -1), b.expand(-1, 2, -1, -1)), loss(a, b))


def test_blurred_texture_costs_more_than_a_shift_of_brightness(loss: PerceptualLoss) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 1, 32, 32) * 0.5 + 0.25
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    brighter = x + (blurred - x).abs().mean()
    assert loss(blurred, x) > loss(brighter, x)


def test_gradient_reaches_the_generated_image_alone(loss: PerceptualLoss) -> None:
    a, b = torch.rand(2, 1, 32, 32, requires_grad=True), torch.rand(2, 1, 32, 32, requires_grad=True)
    loss(a, b).backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert b.grad is None
    assert not any(p.requires_grad for p in loss.parameters())


def test_vgg19_gets_the_file_that_was_resolved(monkeypatch: pytest.MonkeyPatch, loss: PerceptualLoss) -> None:
    asked: list[Path] = []

    def network(path: Path) -> FrozenNetwork:
        asked.append(path)
        return loss.network

    monkeypatch.setattr(perceptual, "resolve_weights", lambda weights, names: {"vgg19": Path(weights.vgg19)})
    monkeypatch.setattr(perceptual, "vgg19", network)
    assert perceptual_loss("vgg19", WeightsConfig(vgg19="somewhere.pth")).layers == LAYERS["vgg19"]
    assert asked == [Path("somewhere.pth")]


def test_the_compared_layers_exist() -> None:
    assert set(LAYERS["efficientnet_lite0"]) <= set(EfficientNetLite0.layers)
    assert set(LAYERS["vgg19"]) <= set(Vgg19.layers)


def test_wrong_choices_are_named() -> None:
    with pytest.raises(ConfigError, match="lpips"):
        perceptual_loss("lpips")
    with pytest.raises(WeightsError, match=r"weights\.vgg19"):
        perceptual_loss("vgg19")
