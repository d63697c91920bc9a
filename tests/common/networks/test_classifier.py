from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from common.errors import ConfigError, WeightsError
from common.networks.classifier import ResNet50Classifier, SmallResNet, build_classifier
from common.study.experiment import WeightsConfig


@pytest.mark.parametrize(("contrasts", "size"), [(1, 64), (4, 64), (2, 96)])
def test_small_resnet_gives_one_logit_a_slice(contrasts: int, size: int) -> None:
    network = SmallResNet(contrasts, width=8)
    assert network(torch.rand(3, contrasts, size, size)).shape == (3,)


def test_small_resnet_is_fit_for_per_patient_gradients() -> None:
    for module in SmallResNet(1).modules():
        assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
        assert not getattr(module, "inplace", False)


def test_small_resnet_treats_each_slice_alone() -> None:
    network = SmallResNet(1, width=8).eval()
    x = torch.rand(4, 1, 64, 64)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]), rtol=1e-4, atol=1e-5)


def test_head_sees_mean_and_maximum() -> None:
    network = SmallResNet(1, width=8).eval()
    maps = torch.rand(2, 32, 5, 5)
    expected = torch.cat([maps.flatten(2).mean(2), maps.flatten(2).max(2).values], 1)
    torch.testing.assert_close(network.pooled(maps), expected)


def test_logit_is_the_head_over_the_features() -> None:
    network = SmallResNet(1, width=8).eval()
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(network(x), network.head(network.features(x)).squeeze(1))


def test_resnet50_of_one_contrast_equals_the_original_on_three_equal_channels(tmp_path: Path) -> None:
    torch.manual_seed(1)
    original = torchvision.models.resnet50(weights=None).eval()
    path = tmp_path / "resnet50.pth"
    torch.save(original.state_dict(), path)
    ours = ResNet50Classifier(1, weights=path).eval()
    x = torch.rand(2, 1, 64, 64)
    original.fc = nn.Identity()
    with torch.no_grad():
        expected = original(((x - 0.449) / 0.226).expand(-1, 3, -1, -1))
        torch.testing.assert_close(ours.features(x), expected, rtol=1e-3, atol=1e-4)


def test_resnet50_of_several_contrasts_keeps_its_scale() -> None:
    torch.manual_seed(1)
    four = ResNet50Classifier(4).eval()
    x = torch.rand(2, 1, 64, 64)
    one = ResNet50Classifier(1).eval()
    one.load_state_dict({**four.state_dict(), "network.conv1.weight": four.network.conv1.weight.sum(1, keepdim=True)})
    with torch.no_grad():
        torch.testing.assert_close(four(x.expand(-1, 4, -1, -1)), one(x), rtol=1e-3, atol=1e-4)


def test_wrong_choices_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown network 'vit'"):
        build_classifier("vit", 1)
    with pytest.raises(ConfigError, match="small_resnet has no pre-trained"):
        build_classifier("small_resnet", 1, pretrained=True)
    with pytest.raises(WeightsError, match="imagenet_resnet50"):
        build_classifier("resnet50", 1, pretrained=True)
    with pytest.raises(WeightsError, match=r"nothing\.pth"):
        build_classifier(
            "resnet50", 1, pretrained=True, weights=WeightsConfig(imagenet_resnet50=str(tmp_path / "nothing.pth"))
        )
