"""Patients of whom two show the same slice: a second name for one person, or a copy that was saved anew.

A slice is a copy if it is equal in every pixel, or alike beyond what two persons ever are (:mod:`.likeness`), also
mirrored. Slices of one patient are not compared: neighbours are alike.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.data.likeness import blurred, coarse_codes, detail, likeness, thumbnails
from common.imaging.slices import PatientSlices

ALIKE = 0.97
"""Least likeness of a copy. Slices of 65 persons reach 0.95 at most in FLAIR, and after contrast; of a copy as JPEG,
cropped, mirrored, darker or resized some slice is above (three hospitals' heads with skulls)."""

MOST_SLICES = 6000
"""Slices that are looked at for likeness; of more, evenly taken ones of each patient. Equal ones are always found."""

_MOST_PAIRS = 1500
_WORTH_A_LOOK = 0.7
_NEAREST = 2
_LEAST_INSIDE = 0.08
_LEAST_DETAIL = 0.01
_LEAST_EXTENT = 0.25
"""Below which a slice shows too little to tell persons apart: share that is foreground, strength of its details, and
over how much of the slice they lie. The top of every head is one ring."""
_BLOCK = 1024


@dataclass(frozen=True)
class Pair:
    """Two patients with a slice in common.

    Attributes:
        one, other: their names, in order.
        exact: whether some slices are equal in every pixel.
    """

    one: str
    other: str
    exact: bool


def slice_digests(patient: PatientSlices) -> Iterator[bytes]:
    """What tells each slice of a patient from every other; those that show nothing at all are left out."""
    for image in patient.images:
        if image.min() < image.max():
            yield hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def twins(some: Sequence[PatientSlices], others: Sequence[PatientSlices]) -> frozenset[str]:
    """Names, on both sides, of patients who share a slice with one of the other side, equal in every pixel."""
    known: dict[bytes, str] = {}
    for patient in some:
        for digest in slice_digests(patient):
            known.setdefault(digest, patient.patient)
    found = ((patient.patient, digest) for patient in others for digest in slice_digests(patient))
    return frozenset(name for whose, digest in found if digest in known for name in (whose, known[digest]))


def copies(patients: Iterable[PatientSlices], slices: int) -> tuple[Pair, ...]:
    """Every two patients that share a slice, sorted.

    Args:
        patients: opened one after the other, and let go.
        slices: how many they have together.
    """
    exact: set[tuple[str, str]] = set()
    known: dict[bytes, str] = {}
    step = max(1, -(-slices // MOST_SLICES))
    shown: list[tuple[str, Tensor, Tensor]] = []
    for patient in patients:
        for digest in slice_digests(patient):
            first = known.setdefault(digest, patient.patient)
            if first != patient.patient:
                exact.add(_ordered(first, patient.patient))
        taken = slice(0, None, step)
        images = torch.from_numpy(np.asarray(patient.images[taken], dtype=np.float32))
        inside = torch.from_numpy(np.asarray(patient.foreground[taken] > 0, dtype=np.float32))[:, None]
        shown.append((patient.patient, thumbnails(images), thumbnails(inside)))
    alike = {pair for pair in _alike(shown) if pair not in exact} if len(shown) > 1 else set()
    return tuple(sorted([Pair(*one, True) for one in exact] + [Pair(*one, False) for one in alike], key=_name))


def joined(pairs: Iterable[Pair]) -> tuple[tuple[str, ...], ...]:
    """The patients that hang together by such pairs: groups of two and more, names sorted.

    >>> joined([Pair("a", "b", True), Pair("b", "c", False), Pair("x", "y", True)])
    (('a', 'b', 'c'), ('x', 'y'))
    """
    group: dict[str, set[str]] = {}
    for pair in pairs:
        both = group.get(pair.one, {pair.one}) | group.get(pair.other, {pair.other})
        group |= dict.fromkeys(both, both)
    return tuple(sorted({tuple(sorted(names)) for names in group.values()}))


def _name(pair: Pair) -> tuple[str, str]:
    return pair.one, pair.other


def _ordered(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def _alike(shown: Sequence[tuple[str, Tensor, Tensor]]) -> set[tuple[str, str]]:
    names = [name for name, _, _ in shown]
    owner = np.repeat(np.arange(len(shown)), [len(images) for _, images, _ in shown])
    images, inside = torch.cat([one for _, one, _ in shown]), torch.cat([one for _, _, one in shown])
    telling = torch.nonzero(_tells_persons_apart(images, inside))[:, 0]
    images, inside, owner = images[telling], inside[telling], owner[telling.numpy()]
    found: set[tuple[str, str]] = set()
    for mirrored in (False, True):
        others, others_inside = (one.flip(-1) if mirrored else one for one in (images, inside))
        first, second = _candidates(coarse_codes(images), coarse_codes(others), owner)
        values = likeness(images[first], others[second], inside[first], others_inside[second])
        alike = (values > ALIKE).numpy()
        for one, other in zip(owner[first[alike]], owner[second[alike]], strict=True):
            found.add(_ordered(names[one], names[other]))
    return found


def _tells_persons_apart(images: Tensor, inside: Tensor) -> Tensor:
    """(N,) bool: whether a slice shows enough."""
    area, energy = inside.mean((1, 2, 3)), detail(images, inside).square()
    strength = (energy.mean((1, 2, 3)) / area.clamp_min(1e-6)).sqrt()
    near = blurred(energy, 2.0)
    extent = near.mean((1, 2, 3)).square() / near.square().mean((1, 2, 3)).clamp_min(1e-12)
    return (area > _LEAST_INSIDE) & (strength > _LEAST_DETAIL) & (extent > _LEAST_EXTENT)


def _candidates(
    codes: Tensor, others: Tensor, owner: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of slices of two patients that are worth a closer look: each one's nearest, the nearest pairs first."""
    whose = torch.from_numpy(owner)
    pairs: dict[tuple[int, int], float] = {}
    for start in range(0, len(codes), _BLOCK):
        near = codes[start : start + _BLOCK] @ others.T
        near[whose[start : start + _BLOCK, None] == whose[None]] = -1.0
        values, places = near.topk(min(_NEAREST, near.shape[1]), dim=1)
        for row, (some, where) in enumerate(zip(values.tolist(), places.tolist(), strict=True), start):
            for value, place in zip(some, where, strict=True):
                if value > _WORTH_A_LOOK:
                    pairs[min(row, place), max(row, place)] = value
    best = sorted(pairs, key=lambda pair: -pairs[pair])[:_MOST_PAIRS]
    index = np.array(best, dtype=np.int64).reshape(-1, 2)
    return index[:, 0], index[:, 1]
