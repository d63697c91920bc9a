"""Batches drawn ahead of the training: a GPU that waits for the next slices to be read and cut stands still.

Which batches are drawn, and in what order, is decided by their seeds, so that nothing changes but the time.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")

GPU_AHEAD = 2
"""Batches ahead where nothing is said and the device is a GPU: one is copied while the next is drawn."""


def batches_ahead(chosen: int | None, device: torch.device) -> int:
    """How many batches to draw ahead: as chosen, or by the device."""
    if chosen is not None:
        return chosen
    return GPU_AHEAD if device.type == "cuda" else 0


def prefetched(batches: Iterable[Batch], ahead: int, device: torch.device) -> Iterable[Batch]:
    """The same batches in the same order; at most ``ahead`` of them wait, drawn by a thread of its own.

    For a CUDA device their tensors lie in pinned memory and are copied there without making the processor wait. The
    thread ends with the iteration, also with one that is given up early: close the iterator, or let go of it.

    Args:
        batches: tensors, or dataclasses, tuples, lists and dictionaries of them; drawn by that thread alone.
        ahead: 0 gives ``batches`` itself.
        device: where they will be used.

    Raises:
        Exception: whatever drawing raises, at the batch that it was raised for.
    """
    return _drawn_ahead(batches, ahead, device) if ahead > 0 else batches


@dataclass(frozen=True)
class _Failure:
    """What drawing raised, on its way to the thread that trains."""

    error: BaseException


_END = object()


def _drawn_ahead(batches: Iterable[Batch], ahead: int, device: torch.device) -> Iterator[Batch]:
    on_gpu = device.type == "cuda"
    # One that was drawn waits at the queue's door, so the queue is one shorter than what is drawn ahead.
    waiting: queue.Queue[Any] = queue.Queue(max(1, ahead - 1))
    given_up = threading.Event()
    thread = threading.Thread(target=_draw, args=(batches, waiting, given_up, on_gpu), name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            # Copied by the thread that trains, on its own stream: what it starts next waits for the copy.
            yield map_tensors(item, lambda tensor: tensor.to(device, non_blocking=True)) if on_gpu else item
    finally:
        given_up.set()
        thread.join()


def _draw(batches: Iterable[Any], waiting: "queue.Queue[Any]", given_up: threading.Event, pin: bool) -> None:
    """The thread: every batch, then the end or the error, each as soon as there is room for it."""

    def hand_over(item: object) -> None:
        while not given_up.is_set():
            try:
                waiting.put(item, timeout=0.05)
                return
            except queue.Full:
                continue

    try:
        for batch in batches:
            hand_over(map_tensors(batch, lambda tensor: tensor.pin_memory()) if pin else batch)
            if given_up.is_set():
                return
        hand_over(_END)
    except BaseException as error:  # it is raised again where the batches are used
        hand_over(_Failure(error))


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with ``change`` applied to every tensor in it; dataclasses, tuples, lists and dictionaries are walked.

    >>> map_tensors({"a": (torch.zeros(1), 5)}, lambda tensor: tensor + 1)
    {'a': (tensor([1.]), 5)}
    """
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: map_tensors(getattr(value, one.name), change) for one in fields(value)})
    if isinstance(value, tuple | list):
        items = [map_tensors(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    return value
