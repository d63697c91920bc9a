"""Some slices of a set that stand for all its patients."""

import numpy as np
import numpy.typing as npt


def spread_over_patients(
    positions: npt.NDArray[np.int64], owner: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """At most ``count`` of ``positions``, as evenly over patients, and over each one's slices, as they allow.

    Args:
        positions: slices to choose from.
        owner: the patient of every slice, indexed by position.

    Returns:
        Chosen positions, ascending.

    >>> spread_over_patients(np.arange(8), np.array([0, 0, 0, 0, 0, 0, 0, 1]), 3).tolist()
    [1, 5, 7]
    """
    by_patient = [positions[owner[positions] == patient] for patient in np.unique(owner[positions])]
    taken = np.zeros(len(by_patient), dtype=np.int64)
    available = np.array([len(own) for own in by_patient], dtype=np.int64)
    while taken.sum() < min(count, available.sum()):
        open_patients = np.flatnonzero(taken < available)
        taken[open_patients[: count - taken.sum()]] += 1
    # The middles of equal stretches: the first and the last tumour slices are the least telling ones.
    chosen = [
        own[((np.arange(n) + 0.5) * len(own) / n).astype(np.int64)] for own, n in zip(by_patient, taken, strict=True)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else positions
