import pytest
import torch
from torch import nn

from common.training.steps import proximal_step


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_equals_the_proximal_term_added_to_the_loss(mu: float) -> None:
    x, y = torch.rand(8, 3), torch.rand(8, 1)
    ours, reference = _network(), _network()
    start = [p.detach().clone() for p in reference.parameters()]
    optimiser, explicit = (torch.optim.SGD(n.parameters(), lr=0.3) for n in (ours, reference))
    step = proximal_step(mu, {"network": ours})
    for _ in range(4):
        optimiser.zero_grad()
        (ours(x) - y).square().mean().backward()
        step(optimiser)
        explicit.zero_grad()
        distance = sum((p - s).square().sum() for p, s in zip(reference.parameters(), start, strict=True))
        ((reference(x) - y).square().mean() + mu / 2 * distance).backward()
        explicit.step()
    for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_keeps_weights_closer_to_the_start() -> None:
    def distance(mu: float) -> float:
        network = _network()
        start = [p.detach().clone() for p in network.parameters()]
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        step = proximal_step(mu, [network])
        for _ in range(20):
            optimiser.zero_grad()
            (network(torch.ones(1, 3)) - 5).square().mean().backward()
            step(optimiser)
        return sum((p - s).square().sum().item() for p, s in zip(network.parameters(), start, strict=True))

    assert distance(4.0) < 0.5 * distance(0.0)


def test_weights_without_a_gradient_and_foreign_weights_are_left_alone() -> None:
    network, foreign = _network(), nn.Linear(3, 1)
    step = proximal_step(10.0, [network])
    optimiser = torch.optim.SGD([*network.parameters(), *foreign.parameters()], lr=0.1)
    before = foreign.weight.detach().clone()
    foreign(torch.ones(1, 3)).sum().backward()
    step(optimiser)
    torch.testing.assert_close(foreign.weight, before - 0.1)
    assert all(p.grad is None for p in network.parameters())


def test_a_negative_pull_is_refused() -> None:
    with pytest.raises(ValueError, match="mu"):
        proximal_step(-1.0, [_network()])
