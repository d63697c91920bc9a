"""Which slices are shown: chosen by a rule that is told beside them, never picked by eye."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.metrics.distances import squared_distances
from common.metrics.similarity import ssim

Ints = npt.NDArray[np.int64]
Values = npt.NDArray[np.floating]


def best_median_worst(score: Values, each: int = 1) -> dict[str, Ints]:
    """Positions of the ``each`` highest, middle and lowest scores, in descending order.

    Nothing is shown twice: of few slices the highest are taken first, then the lowest, then the middle.

    Args:
        score: (N,); positions whose score is NaN are passed over.
        each: how many of a kind.

    Returns:
        ``best``, ``median`` and ``worst`` -> at most ``each`` positions.

    >>> {rule: chosen.tolist() for rule, chosen in best_median_worst(np.array([0.1, 0.9, 0.5, 0.4, 0.6])).items()}
    {'best': [1], 'median': [2], 'worst': [0]}
    """
    order = np.argsort(-score, kind="stable")
    order = order[~np.isnan(score[order])]
    best = order[:each]
    worst = order[each:][-each:]
    between = order[len(best) : len(order) - len(worst)]
    start = max(0, (len(between) - each) // 2)
    return {"best": best, "median": between[start : start + each], "worst": worst}


def most_confident(
    probability: Values, truth: npt.NDArray[np.bool_], patient: npt.NDArray[np.generic], each: int = 2
) -> dict[str, Ints]:
    """Positions of the calls that a classifier was surest of, right and wrong, at most one slice a patient and kind.

    Neighbouring slices of one patient look alike; without that limit one patient could fill a whole row.

    Args:
        probability: (N,) of a tumour, 0 to 1; a call is made at 0.5.
        truth: (N,) whether the slice holds one.
        patient: (N,) whose slice it is.
        each: how many of a kind.

    Returns:
        ``found``, ``cleared``, ``missed`` and ``false_alarm`` -> at most ``each`` positions, the surest first.
    """
    called = probability >= 0.5
    kinds = {
        "found": (truth & called, -probability),
        "cleared": (~truth & ~called, probability),
        "missed": (truth & ~called, probability),
        "false_alarm": (~truth & called, -probability),
    }
    chosen: dict[str, Ints] = {}
    for kind, (those, doubt) in kinds.items():
        positions = np.flatnonzero(those)
        order = positions[np.argsort(doubt[positions], kind="stable")]
        _, first = np.unique(patient[order], return_index=True)
        chosen[kind] = order[np.sort(first)[:each]].astype(np.int64)
    return chosen


def crops_around(images: Tensor, mask: Tensor, size: int) -> Tensor:
    """(N, C, size, size): a window of each slice (N, C, H, W), centred on its mask's bounding box, kept inside.

    Raises:
        ValueError: if a mask (N, H, W) is empty, or a slice is smaller than the window.
    """
    height, width = mask.shape[1:]
    if size > min(height, width):
        raise ValueError(f"a window of {size} pixels does not fit into slices of {height}x{width}")
    if not bool(mask.flatten(1).any(1).all()):
        raise ValueError("a slice without a mask has nothing to cut around")
    rows, columns = (_middle(mask.any(axis)) for axis in (2, 1))
    top, left = (rows - size // 2).clamp(0, height - size), (columns - size // 2).clamp(0, width - size)
    cut = [
        image[:, a : a + size, b : b + size] for image, a, b in zip(images, top.tolist(), left.tolist(), strict=True)
    ]
    return torch.stack(cut) if cut else images[:, :, :size, :size]


def _middle(present: Tensor) -> Tensor:
    """(N,) int64: half-way between the first and the last True of each row."""
    first = present.int().argmax(1)
    last = present.shape[1] - 1 - present.int().flip(1).argmax(1)
    return (first + last) // 2


@dataclass(frozen=True)
class Neighbours:
    """For each of N images its nearest allowed reference.

    Attributes:
        index: (N,) int64, -1 where none is allowed.
        ssim: (N,) float64, to that reference; NaN where there is none.
    """

    index: Ints
    ssim: npt.NDArray[np.float64]


def nearest_to(
    images: Tensor,
    references: Tensor,
    owner: npt.NDArray[np.generic],
    reference_owner: npt.NDArray[np.generic],
    shortlist: int = 8,
) -> Neighbours:
    """The reference most like each image by structural similarity, among those of another owner.

    The owner is whatever must not be found: a synthetic slice and the real one that it was built on have the same, or a
    patient's own slices. Similarity is computed for the ``shortlist`` references with the smallest squared difference
    of pixels; a copy is always among these, a reference that is alike in structure but not in brightness may be missed.

    Args:
        images: (N, C, H, W) in [0, 1], sides at least 11.
        references: (M, C, H, W) in [0, 1].
        owner, reference_owner: (N,) and (M,).
        shortlist: references whose similarity is computed.

    Raises:
        ValueError: if shapes or lengths differ.
    """
    if (len(owner), len(reference_owner)) != (len(images), len(references)):
        raise ValueError(
            f"{len(owner)} and {len(reference_owner)} owners for {len(images)} images and {len(references)} references"
        )
    index = np.full(len(images), -1, dtype=np.int64)
    found = np.full(len(images), np.nan)
    if not len(images) or not len(references):
        return Neighbours(index, found)
    squared = squared_distances(images.flatten(1), references.flatten(1)).cpu()
    own = torch.from_numpy(np.asarray(owner)[:, None] == np.asarray(reference_owner))
    squared = squared.masked_fill(own, torch.inf)
    nearest, positions = squared.topk(min(shortlist, len(references)), dim=1, largest=False)
    for i, (distances, candidates) in enumerate(zip(nearest, positions, strict=True)):
        candidates = candidates[distances.isfinite()]
        if len(candidates):
            alike = ssim(images[i : i + 1].expand(len(candidates), -1, -1, -1), references[candidates])
            best = int(alike.argmax())
            index[i], found[i] = int(candidates[best]), float(alike[best])
    return Neighbours(index, found)


def rules_in_order(chosen: dict[str, Ints]) -> tuple[Ints, Sequence[str]]:
    """All chosen positions in one array, and the rule by which each was.

    >>> rules_in_order({"best": np.array([4]), "worst": np.array([1, 2])})
    (array([4, 1, 2]), ['best', 'worst', 'worst'])
    """
    rules = [rule for rule, positions in chosen.items() for _ in positions]
    return np.concatenate([np.asarray(p, dtype=np.int64) for p in chosen.values()] or [np.zeros(0, np.int64)]), rules
