"""The numbers of studies, whatever they are called and wherever they stand: a rebuilding changes none of them.

A golden file holds every number of a study, sorted, with nine digits. It says nothing of names, so that these may be
mended; a number that has gone or moved is seen. ``ONCOFED_WRITE_GOLDEN=1`` writes the files anew: for a change
that is meant to change numbers, and says so.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricated_study import fabricated_results
from fabricated_trials import fabricated_study
from tiny import TinyStudy

from simulation.run import run

GOLDEN = Path(__file__).parent
WRITE = "ONCOFED_WRITE_GOLDEN"

TIMES = frozenset({"timings", "seconds", "run"})
"""Keys below which numbers differ from run to run."""


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in TIMES:
                yield from numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, float):
        yield value


def require_same(name: str, value: Any, tolerance: float) -> None:
    """Compares the numbers of ``value`` with the golden file ``name``, each within a share of its size."""
    now = np.array(sorted(numbers(value)))
    file = GOLDEN / f"{name}.txt"
    if os.environ.get(WRITE):
        file.write_text("".join(f"{number:.9g}\n" for number in now))
    then = np.unique(np.loadtxt(file))
    # How often a number stands there is a matter of form; that none is lost or moved is not.
    nearest = now[np.abs(now[None] - then[:, None]).argmin(axis=1)]
    apart = np.flatnonzero(np.abs(nearest - then) > tolerance * np.maximum(np.abs(then), 1e-6))
    assert apart.size == 0, [(float(then[at]), float(nearest[at])) for at in apart[:10]]


def test_what_a_fabricated_study_says_together_has_the_same_numbers() -> None:
    results = json.loads(fabricated_study(fabricated_results()).model_dump_json(by_alias=True))
    together = {key: results[key] for key in ("repeated", "gains", "comparisons")}
    assert len(list(numbers(together))) > 3000
    require_same("fabricated", together, 1e-8)


@pytest.mark.slow
def test_a_study_that_is_run_has_the_same_numbers(tiny_study: TinyStudy, tmp_path: Path) -> None:
    """On the machine that the file is of: another rounds otherwise, and small networks take that far."""
    study = ("model=[cgan,wgan_gp]", "models.wgan_gp.width=4", "study.runs=2", "study.min_cell=2")
    folder = run(tiny_study.with_output(tmp_path, *study, "study.arms=[real,real_synthetic]"))
    require_same("tiny", json.loads((folder / "results.json").read_text()), 1e-4)
