from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.export.card import GeneratorCard, Port
from common.export.manifest import Content, Manifest
from common.export.provenance import Provenance
from common.export.synthetic import SyntheticSet, write_synthetic_set
from common.figures.figure import Figure

DAY = date(2026, 1, 2)
PROVENANCE = Provenance(model="slices", family="wgan_gp", run="demo", round=3, seed=1, preset="demo")


def _make_set(
    count: int = 3, organ: str = "brain", contrasts: tuple[str, ...] = ("flair", "t1"), **changes: Any
) -> SyntheticSet:
    """Odd numbers hold a tumour with every label of the organ; the first pixels are exactly 0 and 1."""
    images = np.random.default_rng(0).random((count, len(contrasts), 20, 24)).astype(np.float32)
    images[:, :, 0, 0], images[:, :, 0, 1] = 0, 1
    tumour = np.arange(count) % 2 == 0
    labels = np.zeros((count, 20, 24), np.uint8)
    labels[tumour, 5:15, 5:15] = 1
    if organ == "brain":
        labels[tumour, 6:14, 6:12] = 2
        labels[tumour, 8:10, 7:11] = 4
    made = SyntheticSet(images, labels, tumour, organ, contrasts, Content.GENERATED, PROVENANCE)
    return replace(made, **changes)


@pytest.fixture(scope="session")
def make_set() -> Callable[..., SyntheticSet]:
    return _make_set


@pytest.fixture
def synthetic() -> SyntheticSet:
    return _make_set()


@pytest.fixture
def provenance() -> Provenance:
    return PROVENANCE


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticSet, Manifest]:
    """A set on disk, which no test may change."""
    folder = tmp_path_factory.mktemp("export") / "set"
    made = _make_set()
    return folder, made, write_synthetic_set(folder, made, created=DAY)


@pytest.fixture
def card() -> GeneratorCard:
    return GeneratorCard(
        provenance=PROVENANCE,
        organs={"brain": ("flair",), "lung": ("ct",)},
        sites=3,
        rounds=5,
        size=64,
        task="Makes a slice.",
        inputs=(Port(name="x", shape="(B, 1, H, W)", meaning="anything"),),
        output=Port(name="output", shape="(B, 1, H, W)", meaning="a slice"),
        scores={"brain": (Figure(metric="frechet", value=12.34, n=96, references={"real": 5.6}),)},
        licence="CC-BY-4.0",
    )
