import pytest
import torch
from torch import nn

from common.errors import ConfigError
from common.networks.resnet_generator import ResnetGenerator


@pytest.mark.parametrize(
    ("height", "width", "downsamplings"), [(64, 64, 2), (20, 28, 2), (8, 8, 2), (12, 10, 1), (5, 7, 0), (16, 24, 3)]
)
def test_output_has_the_size_of_the_input(height: int, width: int, downsamplings: int) -> None:
    network = ResnetGenerator(3, 2, width=4, blocks=1, downsamplings=downsamplings)
    assert network(torch.rand(2, 3, height, width)).shape == (2, 2, height, width)


def test_paper_size_has_11_4_million_parameters_and_takes_256_pixels() -> None:
    with torch.device("meta"):
        network = ResnetGenerator(1, 1)
        assert network(torch.empty(1, 1, 256, 256)).shape == (1, 1, 256, 256)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(11.37e6, rel=2e-3)


def test_nothing_depends_on_the_other_images_of_the_batch() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(1, 1, width=4, blocks=2).train()
    x = torch.rand(4, 1, 16, 16)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_has_instance_norm_and_no_batch_statistics_and_works_in_place_nowhere() -> None:
    network = ResnetGenerator(1, 1, width=4)
    modules = list(network.modules())
    assert sum(isinstance(m, nn.InstanceNorm2d) for m in modules) == 5 + 2 * 9
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) or getattr(m, "inplace", False) for m in modules)
    assert not network.state_dict().keys() - dict(network.named_parameters()).keys()


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(1, 1, width=4, blocks=2)
    network(torch.rand(2, 1, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_does_not_end_in_an_activation() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(1, 1, width=8, blocks=1)
    output = network(torch.randn(8, 1, 16, 16)) * 10
    assert output.min() < -1
    assert output.max() > 1


@pytest.mark.parametrize("size", [30, 4])
def test_sizes_that_cannot_be_halved_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        ResnetGenerator(1, 1, width=4, blocks=1)(torch.rand(1, 1, size, size))


def test_impossible_sizes_of_the_network_are_named() -> None:
    with pytest.raises(ConfigError, match="width 0"):
        ResnetGenerator(1, 1, width=0)
