"""Patients with lesions in plain discs of tissue, and fixtures of their slices."""

import numpy as np
import pytest

from common.imaging.slices import PatientSlices, Slices


def lesion_patient(index: int, size: int, tumour: bool, contrasts: int) -> PatientSlices:
    """A disc of tissue with a lesion (core, rim, oedema) in three of five slices."""
    random = np.random.default_rng(index)
    rows, columns = np.mgrid[:size, :size]
    foreground = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (0.42 * size) ** 2
    tissue = 0.4 + 0.05 * random.standard_normal((5, contrasts, size, size))
    labels = np.zeros((5, size, size), np.uint8)
    if tumour:
        distance = np.hypot(rows - size * random.uniform(0.4, 0.6), columns - size * random.uniform(0.4, 0.6))
        for z in range(1, 4):
            for radius, label in ((0.14, 2), (0.09, 4), (0.05, 1)):
                labels[z][distance < radius * size] = label
    for label, value in ((1, 0.2), (2, 0.6), (4, 0.9)):
        tissue = np.where((labels == label)[:, None], value + 0.02 * random.standard_normal(tissue.shape), tissue)
    images = (tissue.clip(0.02, 1) * foreground).astype(np.float16)
    return PatientSlices(f"p{index}", images, labels, np.repeat(foreground[None], 5, 0).astype(np.uint8))


@pytest.fixture(scope="session")
def slices() -> Slices:
    return Slices("brain", ("flair",), [lesion_patient(i, 64, i < 4, 1) for i in range(6)], 12)


@pytest.fixture(scope="session")
def healthy_slices() -> Slices:
    return Slices("brain", ("flair",), [lesion_patient(i, 64, False, 1) for i in range(3)], 12)
