from pathlib import Path

import pytest
import torch
import torchvision

from common.features.vgg import Vgg19, vgg19


@pytest.fixture(scope="module")
def convolutions() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"]).eval()


@pytest.fixture(scope="module")
def network(convolutions, tmp_path_factory) -> Vgg19:
    with torch.device("meta"):
        whole = torchvision.models.vgg19(weights=None, init_weights=False).state_dict()
    # One repeated zero stands for the classifier's half gigabyte, which plays no part.
    state = {key: torch.zeros(()).expand(value.shape) for key, value in whole.items()}
    state.update({f"features.{key}": value for key, value in convolutions.state_dict().items()})
    path: Path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save(state, path)
    return vgg19(path)


def test_layers_are_named_as_in_the_source():
    assert Vgg19.layers[:3] == ("relu1_1", "relu1_2", "relu2_1")
    assert len(Vgg19.layers) == 16
    assert Vgg19.layers[-1] == "relu5_4"


def test_maps_equal_torchvisions(network, convolutions):
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (images.expand(-1, 3, -1, -1) - mean) / deviation
    with torch.no_grad():
        expected = {"relu1_2": convolutions[:4](x), "relu3_4": convolutions[:18](x)}
    for name, maps in zip(expected, network.feature_maps(images, list(expected)), strict=True):
        torch.testing.assert_close(maps, expected[name])


def test_a_map_is_not_changed_by_what_follows(network):
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    alone = network.feature_maps(images, ["relu1_1"])[0]
    first, _ = network.feature_maps(images, ["relu1_1", "relu2_1"])
    assert torch.equal(first, alone)


def test_every_weight_is_frozen(network):
    assert not any(parameter.requires_grad for parameter in network.parameters())
