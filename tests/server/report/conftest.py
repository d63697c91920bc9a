"""The folder of a fabricated study, and what its pages measure in a browser."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Measured
from fabricated_generators import GALLERIES, gallery
from fabricated_study import fabricated_results
from fabricated_trials import fabricated_study
from PIL import Image

from common.results.study import Results


@pytest.fixture(scope="session")
def results() -> Results:
    return fabricated_results()


@pytest.fixture(scope="session")
def study(results: Results) -> Results:
    """The same with repetitions of the classifier study and all that comes of them."""
    return fabricated_study(results)


def _write(run: Path, results: Results, *, pictures: bool = False) -> Path:
    run.mkdir(exist_ok=True)
    (run / "results.json").write_text(results.model_dump_json(by_alias=True))
    for name, kinds in GALLERIES.items() if pictures else ():
        folder = run / "reference" / name
        folder.mkdir(parents=True)
        for kind, subject in kinds:
            file = folder / f"{subject.replace(' ', '-')}.npz"
            np.savez_compressed(file, allow_pickle=False, **gallery(kind, subject))
    Image.fromarray(np.tile(np.arange(0, 250, dtype=np.uint8), (40, 8))).save(run / "cohort_sheet.png")
    return run


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Writes a run's folder: ``write_run(folder, results, pictures=True)``."""
    return _write


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """The same in a folder of this test's own: ``write_study(results, pictures=True)``."""
    return partial(_write, tmp_path / "run")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser.started(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def measure(browser: Browser) -> Callable[[Path, int], Measured]:
    """``measure(page, width)``: what a real Chromium says of the page."""
    return lambda page, width: browser.page(page, width=width).measured()
