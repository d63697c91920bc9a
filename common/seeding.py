"""Seeds that depend on nothing but their names, so that a resumed run draws what an uninterrupted one would."""

import hashlib
from enum import StrEnum

import numpy as np
import torch


class Label(StrEnum):
    """What random numbers are drawn for. The values are part of every seed: a name may change, its value never does, or
    a study would draw other numbers than it did."""

    ARMS = "arms"
    ATTENTION = "attention"
    BATCH = "batch"
    BLOB = "blob"
    BOOTSTRAP = "bootstrap"
    BOOTSTRAP_OVER_PATIENTS = "bootstrap over patients"
    BRAIN = "brain"
    CGAN = "cgan"
    CHECK = "check"
    CLASSIFIER = "classifier"
    COPY_AND_PASTE = "copy_and_paste"
    CYCLEGAN = "cyclegan"
    DEMO_COHORT = "demo-cohort"
    DISJOINT_HALVES = "disjoint halves"
    DOCTOR = "doctor"
    DROPOUT = "dropout"
    EMBEDDING = "embedding"
    EXPLANATIONS = "explanations"
    EXPORT = "export"
    FILLED = "filled"
    FINAL_SCORE = "final score"
    GALLERY = "gallery"
    GENERATED_IMAGES = "generated images"
    HCC_TACE_FOLDER = "hcc-tace folder"
    KERNEL_DISTANCE = "kernel distance"
    LIDC_FOLDER = "lidc folder"
    LIVER = "liver"
    LUNG = "lung"
    MADE = "made"
    PAIRS = "pairs"
    PAIRS_OF_IMAGES = "pairs of images"
    PARTITION = "partition"
    PATCHES = "patches"
    PATIENT = "patient"
    PLACES = "places"
    PLACES_AND_DIRECTIONS = "places and directions"
    PRETRAINING = "pretraining"
    PROXIES = "proxies"
    RECONSTRUCT = "reconstruct"
    REFERENCE_SET = "reference set"
    REFILLED = "refilled"
    RUN = "run"
    SAMPLE = "sample"
    SCORE = "score"
    SHARE = "share"
    SLICES = "slices"
    STEP = "step"
    STEPS = "steps"
    SYNTHESISE = "synthesise"
    SYNTHESIS = "synthesis"
    TOLD_APART = "told apart"
    TRANSLATION = "translation"
    TUNING = "tuning"
    WEIGHTS = "weights"
    WGAN_GP = "wgan_gp"


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed from a tuple of names, equal on every machine.

    >>> derive_seed(1, "hospital1", "cgan", 3) == derive_seed(1, "hospital1", "cgan", 3)
    True
    >>> derive_seed(1, "a") != derive_seed(1, "b")
    True
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(*parts: str | int) -> torch.Generator:
    """A CPU generator seeded by :func:`derive_seed`; experiments draw on the CPU so that devices agree."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """A numpy generator seeded by :func:`derive_seed`."""
    return np.random.default_rng(derive_seed(*parts))
