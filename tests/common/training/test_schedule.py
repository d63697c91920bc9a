import pytest
import torch

from common.training.schedule import RateSchedule


def optimisers() -> dict[str, torch.optim.Optimizer]:
    weight = torch.nn.Parameter(torch.zeros(1))
    return {name: torch.optim.SGD([weight], lr=1.0) for name in ("generator", "critic")}


def rates(schedule: RateSchedule, steps: list[int], name: str) -> list[float]:
    some, seen = optimisers(), []
    for step in steps:
        schedule.apply(some, step)
        seen.append(some[name].param_groups[0]["lr"])
    return seen


def test_each_optimiser_keeps_its_own_rate_over_the_first_half_and_loses_it_over_the_second() -> None:
    schedule = RateSchedule({"generator": 2e-4, "critic": 1e-3}, decay_steps=10)
    factors = [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert rates(schedule, list(range(10)), "generator") == pytest.approx([2e-4 * f for f in factors])
    assert rates(schedule, list(range(10)), "critic") == pytest.approx([1e-3 * f for f in factors])


def test_two_percent_are_left_after_the_end() -> None:
    schedule = RateSchedule({"generator": 1.0, "critic": 1.0}, decay_steps=10)
    assert rates(schedule, [10, 11, 500], "generator") == pytest.approx([0.02] * 3)


def test_without_decay_steps_rates_are_constant() -> None:
    assert rates(RateSchedule({"generator": 0.5, "critic": 1.0}), [0, 5, 10**6], "generator") == [0.5] * 3


def test_equals_torchs_own_scheduler() -> None:
    schedule = RateSchedule({"generator": 0.3, "critic": 0.3}, decay_steps=20)
    theirs = optimisers()["generator"]
    theirs.param_groups[0]["lr"] = 0.3
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        theirs,
        [
            torch.optim.lr_scheduler.ConstantLR(theirs, 1.0, total_iters=10),
            torch.optim.lr_scheduler.LinearLR(theirs, 1.0, 0.0, total_iters=10),
        ],
        milestones=[10],
    )
    expected = []
    for _ in range(20):
        expected.append(theirs.param_groups[0]["lr"])
        theirs.step()
        scheduler.step()
    assert rates(schedule, list(range(20)), "generator") == pytest.approx(expected)
