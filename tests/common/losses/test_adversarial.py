import math

import pytest
import torch
import torch.nn.functional as F

from common.errors import ConfigError
from common.losses.adversarial import ADVERSARIAL_LOSSES, adversarial_loss, weighted_mean

REAL = torch.tensor([[[[2.0, -1.0]]]])
GENERATED = torch.tensor([[[[0.5, -3.0]]]])

# By hand: (discriminator, generator) on the logits above.
BY_HAND = {
    "lsgan": (0.5 * (1 + 4) / 2 + 0.5 * (0.25 + 9) / 2, (0.25 + 16) / 2),
    "hinge": ((0 + 2) / 2 + (1.5 + 0) / 2, -(0.5 - 3) / 2),
    "wasserstein": ((0.5 - 3) / 2 - (2 - 1) / 2, -(0.5 - 3) / 2),
    "vanilla": (
        0.25 * (math.log1p(math.exp(-2)) + math.log1p(math.e) + math.log1p(math.exp(0.5)) + math.log1p(math.exp(-3))),
        0.5 * (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(3))),
    ),
}


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_values_are_those_computed_by_hand(name: str) -> None:
    loss = adversarial_loss(name)
    discriminator, generator = BY_HAND[name]
    assert loss.discriminator(REAL, GENERATED).item() == pytest.approx(discriminator, rel=1e-5)
    assert loss.generator(GENERATED).item() == pytest.approx(generator, rel=1e-5)


def test_vanilla_is_the_cross_entropy_of_torch() -> None:
    real, generated = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    bce = F.binary_cross_entropy_with_logits
    expected = 0.5 * (bce(real, torch.ones_like(real)) + bce(generated, torch.zeros_like(generated)))
    torch.testing.assert_close(adversarial_loss("vanilla").discriminator(real, generated), expected)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_logits_outside_the_weight_map_do_not_count(name: str) -> None:
    loss = adversarial_loss(name)
    weight = torch.zeros(1, 1, 4, 8)
    weight[..., :4] = 1
    inside = [x[..., :1] for x in (REAL, GENERATED)]
    torch.testing.assert_close(loss.discriminator(REAL, GENERATED, weight), loss.discriminator(*inside))
    torch.testing.assert_close(loss.generator(GENERATED, weight), loss.generator(inside[1]))


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_generator_is_driven_towards_higher_logits(name: str) -> None:
    logits = GENERATED.clone().requires_grad_(True)
    adversarial_loss(name).generator(logits).backward()
    assert logits.grad is not None
    assert (logits.grad < 0).all()


def test_an_empty_weight_map_gives_zero() -> None:
    assert weighted_mean(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 8, 8)).item() == 0


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(ConfigError, match="relativistic"):
        adversarial_loss("relativistic")
