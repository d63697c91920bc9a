import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from client.training.prefetch import batches_ahead, map_tensors, prefetched

CPU = torch.device("cpu")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
def test_the_same_batches_come_in_the_same_order(ahead: int) -> None:
    drawn = [torch.full((2,), float(index)) for index in range(20)]
    given = list(prefetched(iter(drawn), ahead, CPU))
    assert [one is other for one, other in zip(given, drawn, strict=True)] == [True] * 20
    assert not threads()


def test_without_prefetching_the_batches_are_handed_through() -> None:
    batches = iter([1, 2])
    assert prefetched(batches, 0, CPU) is batches


def test_no_more_batches_are_drawn_than_asked_for() -> None:
    drawn: list[int] = []

    def draw() -> Iterator[int]:
        for index in range(100):
            drawn.append(index)
            yield index

    given = iter(prefetched(draw(), 3, CPU))
    assert next(given) == 0
    deadline = time.monotonic() + 10
    while len(drawn) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # time enough to draw too many
    assert len(drawn) == 4
    given.close()  # type: ignore[attr-defined]


def test_they_are_drawn_by_another_thread_while_the_caller_works() -> None:
    def draw() -> Iterator[str]:
        for _ in range(3):
            yield threading.current_thread().name

    assert list(prefetched(draw(), 1, CPU)) == ["prefetch"] * 3
    assert list(prefetched(draw(), 0, CPU)) == [threading.current_thread().name] * 3


def test_an_error_while_drawing_comes_after_the_batches_before_it() -> None:
    def draw() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("disk")

    given = iter(prefetched(draw(), 4, CPU))
    assert [next(given), next(given)] == [1, 2]
    with pytest.raises(OSError, match="disk"):
        next(given)
    assert not threads()


def test_the_thread_ends_where_the_training_stops_early() -> None:
    def draw() -> Iterator[int]:
        index = 0
        while True:
            yield index
            index += 1

    given = iter(prefetched(draw(), 2, CPU))
    assert [next(given) for _ in range(3)] == [0, 1, 2]
    assert len(threads()) == 1
    del given
    assert not threads()

    def stops() -> None:
        for one in prefetched(draw(), 2, CPU):
            if one == 4:
                raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory") as caught:
        stops()
    del caught
    assert not threads()


@dataclass(frozen=True)
class Inner:
    noise: Tensor


class Pair(NamedTuple):
    first: Tensor
    second: int


@dataclass(frozen=True)
class Outer:
    images: Tensor
    critic: tuple[Inner, ...]
    pair: Pair
    table: dict[str, list[Tensor]]
    seed: int
    proxies: Tensor | None = None


def test_every_tensor_of_a_batch_is_reached_and_the_rest_stays() -> None:
    zero = torch.zeros(2)
    batch = Outer(zero, (Inner(zero), Inner(zero)), Pair(zero, 5), {"a": [zero]}, 7)
    changed = map_tensors(batch, lambda tensor: tensor + 1)
    assert type(changed) is Outer
    assert type(changed.pair) is Pair
    found = [
        changed.images,
        changed.critic[0].noise,
        changed.critic[1].noise,
        changed.pair.first,
        changed.table["a"][0],
    ]
    assert all(one.tolist() == [1, 1] for one in found)
    assert (changed.seed, changed.pair.second, changed.proxies) == (7, 5, None)
    assert batch.images.tolist() == [0, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_batches_arrive_on_the_gpu() -> None:
    batches = [Inner(torch.full((3,), float(index))) for index in range(5)]
    given = list(prefetched(batches, 2, torch.device("cuda")))
    assert [(one.noise.device.type, one.noise[0].item()) for one in given] == [("cuda", float(i)) for i in range(5)]


def test_how_many_are_drawn_ahead_follows_the_device_unless_it_is_said() -> None:
    assert [batches_ahead(None, torch.device(name)) for name in ("cpu", "cuda:1")] == [0, 2]
    assert [batches_ahead(3, torch.device(name)) for name in ("cpu", "cuda")] == [3, 3]
    assert batches_ahead(0, torch.device("cuda")) == 0
