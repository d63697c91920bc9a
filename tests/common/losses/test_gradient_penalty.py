import pytest
import torch
from torch import nn

from common.losses.gradient_penalty import gradient_penalty


def test_a_linear_critic_has_the_norm_of_its_weights() -> None:
    weight = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    real, generated = torch.rand(5, 1, 1, 2), torch.rand(5, 1, 1, 2)
    penalty = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), real, generated, torch.rand(5))
    assert penalty.item() == pytest.approx((5 - 1) ** 2, rel=1e-5)
    assert gradient_penalty(
        lambda x: (x * weight).sum((1, 2, 3)), real, generated, torch.rand(5), target=5.0
    ).item() == pytest.approx(0, abs=1e-6)


def test_equals_finite_differences_of_the_critic() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 1, 3)).double()
    real, generated = torch.rand(2, 1, 5, 5), torch.rand(2, 1, 5, 5)
    mixing = torch.tensor([0.2, 0.9])
    # The penalty computes in float32, so the critic has a float32 copy and the differences are taken in float64.
    single = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 1, 3))
    single.load_state_dict(critic.state_dict())
    share = mixing.view(-1, 1, 1, 1)
    mixed = (share * real + (1 - share) * generated).double()
    step = 1e-4
    norms = []
    for image in mixed:
        slopes = []
        for i in range(image.numel()):
            move = torch.zeros(image.numel(), dtype=torch.float64)
            move[i] = step
            move = move.view_as(image)
            with torch.no_grad():
                slopes.append((critic((image + move)[None]).mean() - critic((image - move)[None]).mean()) / (2 * step))
        norms.append(torch.stack(slopes).norm())
    expected = (torch.stack(norms) - 1).square().mean()
    assert gradient_penalty(single, real, generated, mixing).item() == pytest.approx(expected.item(), rel=1e-4)


def test_its_gradient_reaches_the_critic_but_not_the_images() -> None:
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Conv2d(4, 1, 3))
    generated = torch.rand(2, 1, 8, 8, requires_grad=True)
    gradient_penalty(critic, torch.rand(2, 1, 8, 8), generated, torch.rand(2)).backward()
    assert generated.grad is None
    assert all(p.grad is not None for p in (critic[0].weight, critic[2].weight))


def test_is_computed_in_float32_inside_autocast() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Conv2d(4, 1, 3))
    arguments = (torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), torch.rand(2))
    plain = gradient_penalty(critic, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradient_penalty(critic, *arguments)
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


def test_a_flat_critic_has_a_finite_gradient() -> None:
    scale = torch.zeros(1, requires_grad=True)
    gradient_penalty(
        lambda x: (x * scale).sum((1, 2, 3)), torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), torch.rand(2)
    ).backward()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad).all()
