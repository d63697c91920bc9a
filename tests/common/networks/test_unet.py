import pytest
import torch
from torch import nn

from common.errors import ConfigError
from common.networks.unet import ConditionalNorm, UNet
from common.study.conditions import CODE_GAIN


@pytest.mark.parametrize(("height", "width", "depth"), [(32, 32, 3), (64, 64, 3), (37, 50, 3), (8, 8, 3), (64, 64, 6)])
def test_output_has_the_size_of_the_input(height: int, width: int, depth: int) -> None:
    network = UNet(5, 2, width=4, depth=depth)
    assert network(torch.rand(2, 5, height, width)).shape == (2, 2, height, width)


def test_paper_size_has_about_54_million_parameters() -> None:
    with torch.device("meta"):
        network = UNet(13, 1, width=64, depth=8)
    assert 50e6 < sum(p.numel() for p in network.parameters()) < 58e6


def test_paper_size_takes_256_pixels() -> None:
    with torch.device("meta"):
        assert UNet(13, 1, width=64, depth=8)(torch.empty(1, 13, 256, 256)).shape == (1, 1, 256, 256)


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_nothing_depends_on_the_other_images_of_the_batch(norm: str) -> None:
    torch.manual_seed(0)
    network = UNet(3, 1, width=4, depth=2, norm=norm).train()
    x = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_has_no_batch_statistics_and_works_in_place_nowhere() -> None:
    for module in UNet(3, 1, width=4, depth=3).modules():
        assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
        assert not getattr(module, "inplace", False)


def test_every_weight_gets_a_gradient() -> None:
    network = UNet(3, 1, width=4, depth=3)
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_norm_can_be_left_out() -> None:
    assert not any(isinstance(m, nn.InstanceNorm2d) for m in UNet(3, 1, width=4, depth=2, norm="none").modules())


def test_wrong_choices_are_named() -> None:
    with pytest.raises(ConfigError, match="batch"):
        UNet(3, 1, norm="batch")
    with pytest.raises(ConfigError, match="depth"):
        UNet(3, 1, depth=0)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        UNet(3, 1, width=4, depth=4)(torch.zeros(1, 3, 8, 8))


def test_the_code_of_an_organ_changes_what_a_normalised_network_makes() -> None:
    torch.manual_seed(0)
    network = UNet(3, 1, width=4, depth=2, code_size=2)
    image = torch.rand(1, 3, 16, 16)
    brain, liver = network(image, torch.tensor([1.0, 0.0])), network(image, torch.tensor([0.0, 1.0]))
    assert (brain - liver).abs().mean() > 0.01


def test_conditional_normalisation_is_a_scale_and_shift_after_instance_norm() -> None:
    norm = ConditionalNorm(3, code_size=2)
    assert norm.by_code is not None
    torch.nn.init.normal_(norm.by_code.weight)
    x, code = torch.rand(2, 3, 5, 5), torch.tensor([0.3, -1.0])
    scale, shift = norm.by_code(CODE_GAIN * code).chunk(2)
    plain = torch.nn.functional.instance_norm(x)
    expected = plain * (1 + scale.view(1, 3, 1, 1)) + shift.view(1, 3, 1, 1)
    torch.testing.assert_close(norm(x, code), expected)
