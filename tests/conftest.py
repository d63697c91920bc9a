"""Fixtures that every room of the tests may use."""

from collections.abc import Iterator

import pytest
import torch
from tiny import TINY, TinyStudy, write_site

from client.privacy import roster


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Sums in a fixed order: results are compared bit by bit."""
    torch.set_num_threads(1)


ROSTER_KEY = (255041).to_bytes(roster.KEY_BYTES, "big")
"""With it, four of each tiny site's ten patients train and six test where shares are 0.4 and 0.6, of both classes."""


@pytest.fixture(scope="session", autouse=True)
def _rosters_are_alike() -> Iterator[None]:
    """A handful of patients is split alike every time; hospitals draw a key of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roster, "new_key", lambda: ROSTER_KEY)
        patch.setattr("simulation.sites.roster_key", lambda seed, site: ROSTER_KEY)
        yield


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """The data of a tiny study; tests must not change them."""
    root = tmp_path_factory.mktemp("tiny-study")
    overrides = list(TINY)
    for number, site in enumerate(("hospital1", "hospital2", "hospital3", "external"), start=1):
        folder = write_site(root / site, 10 if site != "external" else 5, seed=number)
        overrides.append(f"site.{site}.path={folder}")
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(root / "reference" / part, 4, seed=number)
    overrides.append(f"reference.brain.path={root / 'reference'}")
    return TinyStudy(root, tuple(overrides))
