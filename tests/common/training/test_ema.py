import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.training.ema import averaged_copy, update_average, warm_decay


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_copy_is_equal_at_first_but_never_trained_and_shares_nothing() -> None:
    trained = network(0)
    average = averaged_copy(trained)
    assert equal(trained, average)
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in trained.parameters())
    assert not average.training
    with torch.no_grad():
        trained[0].weight.add_(1)
    assert not equal(trained, average)


def test_equals_torchs_own_average_once_warm() -> None:
    trained = network(0)
    average = averaged_copy(trained)
    theirs = AveragedModel(trained, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    # Its first update is a plain copy.
    theirs.update_parameters(trained)
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter.add_(torch.randn_like(parameter))
        trained.train()(torch.randn(5, 3))
        update_average(average, trained, 0.9, steps_done=1000 + step)
        theirs.update_parameters(trained)
    for ours, expected in zip(average.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(ours, expected)


def test_buffers_move_and_counters_are_copied() -> None:
    trained = network(0)
    average = averaged_copy(trained)
    trained.train()(torch.randn(5, 3) + 7)
    update_average(average, trained, 0.5, steps_done=1000)
    torch.testing.assert_close(average[1].running_mean, trained[1].running_mean / 2)
    assert int(average[1].num_batches_tracked) == 1


def test_early_averages_are_not_the_initial_weights() -> None:
    trained, average = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        trained.weight.fill_(1)
        average.weight.fill_(0)
    for step in range(20):
        update_average(average, trained, 0.999, step)
    assert average.weight.item() > 0.99
    assert [warm_decay(0.999, step) for step in (0, 10**6)] == [0.1, 0.999]


def test_a_decay_of_zero_is_a_copy() -> None:
    trained, average = network(0), averaged_copy(network(1))
    update_average(average, trained, 0.0, 5)
    assert equal(trained, average)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        update_average(network(0), network(1), decay, 0)
