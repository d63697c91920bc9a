"""Which way to gradients of single patients is the faster one on this machine."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from client.privacy.gradients import Way, patient_gradients
from client.privacy.patients import Drawn
from common.training.patients import PatientUpdate


def faster_way(update: PatientUpdate[Any], probe: Sequence[Drawn], device: torch.device) -> Way:
    """The way that takes less time for ``probe`` on this machine, measured; the loop where both fail to differ.

    Args:
        update: of the training.
        probe: made-up patients of the size of real ones: what is measured says nothing about anyone.
        device: where the networks live.
    """
    spent: dict[Way, float] = {}
    for way in (Way.LOOP, Way.VMAP):
        groups = [[one] for one in probe] if way is Way.LOOP else [probe]
        try:
            spent[way] = min(_seconds(update, groups, way, device) for _ in range(2))
        except (RuntimeError, ValueError):
            # Some operation has no rule for it, or memory does not suffice; the loop always works.
            spent[way] = float("inf")
    return min(spent, key=lambda way: spent[way])


def _seconds(update: PatientUpdate[Any], groups: Sequence[Sequence[Drawn]], way: Way, device: torch.device) -> float:
    _settle(device)
    begun = time.perf_counter()
    for group in groups:
        patient_gradients(update, group, way)
    _settle(device)
    return time.perf_counter() - begun


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
