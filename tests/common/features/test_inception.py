from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models import inception

from common.errors import ConfigError, WeightsError
from common.features.extractor import feature_extractor
from common.features.inception import fid_inception
from common.study.experiment import WeightsConfig


@pytest.fixture(scope="module")
def torchvisions() -> inception.Inception3:
    torch.manual_seed(0)
    network = inception.Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.1, 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def weights(torchvisions, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(torchvisions.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_the_original_graphs_poolings(torchvisions, weights, images, monkeypatch):
    """The same weights in torchvision's own network, its pooling function exchanged from outside."""
    calls = 0

    def original_pool(x: torch.Tensor, **options: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 9:
            return F.max_pool2d(x, **options)
        ones = F.avg_pool2d(torch.ones_like(x), **options)
        return F.avg_pool2d(x, **options) / ones

    class Pooling:
        avg_pool2d = staticmethod(original_pool)

        def __getattr__(self, name: str) -> object:
            return getattr(F, name)

    own = fid_inception(weights)(images)
    monkeypatch.setattr(inception, "F", Pooling())
    torchvisions.fc = torch.nn.Identity()
    large = F.interpolate(images.expand(-1, 3, -1, -1), (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = torchvisions(2 * large - 1)
    assert calls == 9
    assert expected.std() > 0
    torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_a_distance_with_them_is_called_fid(weights, images):
    extractor = feature_extractor("inception_v3", WeightsConfig(fid_inception=str(weights)))
    assert (extractor.name, extractor.distance_name) == ("InceptionV3", "FID")
    assert extractor.features(images[:1]).shape == (1, 2048)


def test_without_the_weights_the_option_is_named():
    with pytest.raises(WeightsError, match=r"weights.fid_inception=.*evaluation.features=efficientnet_lite0"):
        feature_extractor("inception_v3")


def test_torchvisions_imagenet_weights_are_not_taken_for_them(tmp_path):
    network = torchvision.models.inception_v3(weights=None, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "imagenet.pth")
    with pytest.raises(WeightsError, match="not this network's"):
        feature_extractor("inception_v3", WeightsConfig(fid_inception=str(tmp_path / "imagenet.pth")))


def test_unknown_features_are_a_clear_error():
    with pytest.raises(ConfigError, match=r"evaluation.features=resnet: known are efficientnet_lite0, inception_v3"):
        feature_extractor("resnet")
