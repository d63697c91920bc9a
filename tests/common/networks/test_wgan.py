import pytest
import torch
from torch import nn

from common.errors import ConfigError
from common.networks.wgan import NORMS, Critic, SliceGenerator, StyledNorm


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def generator(size: int = 32, channels: int = 1, norm: str = "instance") -> SliceGenerator:
    torch.manual_seed(0)
    return SliceGenerator(size, channels, noise_size=8, code_size=3, width=4, norm=norm)


def noise_for(count: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise and grain."""
    return torch.randn(count, 8), torch.randn(count, 1, size, size)


def critic(channels: int = 1, layers: int = 4) -> Critic:
    torch.manual_seed(0)
    return Critic(channels, code_size=3, width=4, layers=layers)


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_slices_and_scores_have_the_right_shape_at_every_size(size: int, channels: int) -> None:
    made = generator(size, channels)(*noise_for(2, size), torch.rand(2, 3))
    assert made.shape == (2, channels, size, size)
    assert critic(channels)(made, torch.rand(2, 3)).shape == (2, 1, size // 16, size // 16)


@pytest.mark.parametrize("size", [32, 64, 256])
def test_five_convolutions_lead_from_the_base_map_to_the_slice(size: int) -> None:
    network = generator(size)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 5
    assert network.base == size // 32
    seen = []
    for layer in convolutions:
        layer.register_forward_hook(lambda module, given, made: seen.append(made.shape[-1]))
    network(*noise_for(1, size), torch.rand(1, 3))
    assert seen == [size // 16, size // 8, size // 4, size // 2, size]


def test_full_size_has_the_stated_numbers_of_parameters() -> None:
    made = SliceGenerator(256, 1, noise_size=128, code_size=10, width=64)
    judge = Critic(1, code_size=10, width=64)
    assert count(made) == pytest.approx(15.9e6, rel=0.005)
    assert count(judge) == pytest.approx(2.9e6, rel=0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_depends_on_the_other_images_of_the_batch(norm: str) -> None:
    (noise, grain), code = noise_for(4), torch.rand(4, 3)
    network, judge = generator(norm=norm).train(), critic().train()
    made = network(noise, grain, code)
    torch.testing.assert_close(made[1:2], network(noise[1:2], grain[1:2], code[1:2]))
    torch.testing.assert_close(judge(made, code)[1:2], judge(made[1:2], code[1:2]))


def test_networks_have_no_batch_statistics_and_work_in_place_nowhere() -> None:
    for network in (generator(), critic()):
        for module in network.modules():
            assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
            assert not getattr(module, "inplace", False)
        assert not list(network.buffers())


@pytest.mark.parametrize("norm", NORMS)
def test_every_weight_gets_a_gradient(norm: str) -> None:
    network, judge = generator(norm=norm), critic()
    code = torch.rand(2, 3)
    judge(network(*noise_for(2), code), code).mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in judge.parameters())


@pytest.mark.parametrize("norm", NORMS)
def test_code_noise_and_grain_change_the_slice(norm: str) -> None:
    network = generator(norm=norm)
    (noise, grain), code = noise_for(1), torch.eye(3)[:1]
    made = network(noise, grain, code)
    spread = made.std()
    assert (network(noise, grain, torch.eye(3)[1:2]) - made).abs().mean() > 0.05 * spread
    assert (network(torch.randn(1, 8), grain, code) - made).abs().mean() > 0.05 * spread
    assert (network(noise, torch.randn(1, 1, 32, 32), code) - made).abs().mean() > 0.01 * spread


def test_the_code_changes_the_score_by_the_projection_of_the_features() -> None:
    judge, images = critic(), torch.rand(2, 1, 32, 32)
    code = torch.eye(3)[:2]
    features = images
    for layer in judge.layers:
        features = nn.functional.leaky_relu(layer(features), 0.2)
    expected = judge.score(features) + torch.einsum("bchw,bc->bhw", features, judge.by_code(code)).unsqueeze(1)
    torch.testing.assert_close(judge(images, code), expected)
    assert not torch.allclose(judge(images, code), judge(images, code.flip(0)))


def test_a_patch_sees_78_pixels() -> None:
    judge = critic()
    images = torch.rand(1, 1, 256, 256, requires_grad=True)
    judge(images, torch.rand(1, 3))[0, 0, 8, 8].backward()
    assert images.grad is not None
    rows = images.grad[0, 0].abs().sum(1).nonzero().squeeze(1)
    assert int(rows.max() - rows.min()) + 1 == 78


def test_styled_instance_norm_is_instance_norm_with_each_images_own_scale_and_shift() -> None:
    torch.manual_seed(0)
    norm = StyledNorm(3, 5, "instance")
    x, style = torch.rand(2, 3, 4, 4), torch.randn(2, 5)
    scale, shift = norm.by_style(style).chunk(2, dim=1)
    for i in range(2):
        expected = nn.functional.batch_norm(
            x[i : i + 1], None, None, weight=1 + scale[i], bias=shift[i], training=True, eps=1e-5
        )
        torch.testing.assert_close(norm(x, style)[i : i + 1], expected)


def test_wrong_choices_are_named() -> None:
    with pytest.raises(ConfigError, match="batch"):
        generator(norm="batch")
    for size in (16, 48):
        with pytest.raises(ConfigError, match="multiple of 32"):
            generator(size)
    with pytest.raises(ConfigError, match="layers"):
        critic(layers=0)
    with pytest.raises(ValueError, match="at least 64 pixels"):
        critic(layers=6)(torch.zeros(1, 1, 32, 32), torch.zeros(1, 3))
