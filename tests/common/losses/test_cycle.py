import pytest
import torch
import torch.nn.functional as F

from common.losses.cycle import cycle_loss, identity_loss, identity_weight


def test_both_losses_are_the_mean_absolute_difference() -> None:
    random = torch.Generator().manual_seed(0)
    one, other = torch.rand(3, 2, 5, 7, generator=random), torch.rand(3, 2, 5, 7, generator=random)
    torch.testing.assert_close(cycle_loss(one, other), F.l1_loss(one, other))
    torch.testing.assert_close(identity_loss(one, other), F.l1_loss(one, other))
    assert cycle_loss(one, one) == 0


def test_a_brighter_image_is_pulled_down() -> None:
    brighter = torch.full((1, 1, 2, 2), 0.7, requires_grad=True)
    cycle_loss(brighter, torch.full((1, 1, 2, 2), 0.5)).backward()
    assert brighter.grad is not None
    torch.testing.assert_close(brighter.grad, torch.full((1, 1, 2, 2), 0.25))


@pytest.mark.parametrize(("step", "expected"), [(0, 4.0), (25, 3.0), (99, 0.04), (100, 0.0), (1000, 0.0)])
def test_the_identity_weight_falls_linearly_and_stays_at_zero(step: int, expected: float) -> None:
    assert identity_weight(4.0, step, 100) == pytest.approx(expected)


def test_the_identity_weight_stays_without_a_decay() -> None:
    assert identity_weight(4.0, 10**6, 0) == 4.0
