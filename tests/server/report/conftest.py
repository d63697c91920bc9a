"""The folder of a fabricated study, and what its pages measure in a browser."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated_generators import GALLERIES, gallery
from fabricated_study import fabricated_results
from fabricated_trials import fabricated_study
from PIL import Image

from common.results import Results


@pytest.fixture(scope="session")
def results() -> Results:
    return fabricated_results()


@pytest.fixture(scope="session")
def study(results: Results) -> Results:
    """The same with repetitions of the classifier study and all that comes of them."""
    return fabricated_study(results)


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run's folder: ``write_study(results, pictures=True)``."""

    def write(results: Results, *, pictures: bool = False) -> Path:
        run = tmp_path / "run"
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

    return write


@pytest.fixture
def measure(tmp_path: Path) -> Callable[[Path, int], Any]:
    """``measure(page, width)``: what a real Chromium says of the page."""
    path = Path(__file__).parents[2] / "common" / "report" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", path)
    assert spec is not None
    assert spec.loader is not None
    browser = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(browser)

    def measured(page: Path, width: int) -> Any:
        folder = tmp_path / f"browser{width}"
        folder.mkdir()
        return browser.measure(page, width, folder)

    return measured
