"""What the demo promises, at its full size. Minutes: left out of the quick tests."""

from pathlib import Path

import numpy as np
import pytest

from common.results.study import Results
from common.system.array_files import read_arrays
from simulation.run import run

REAL_BRATS = Path(__file__).parents[3] / "shared" / "data" / "brats"

pytestmark = pytest.mark.slow


def test_the_generator_beats_inpainting_on_held_out_patients_and_improves_over_rounds(tmp_path: Path) -> None:
    folder = run(["preset=demo", f"simulation.runs_dir={tmp_path / 'runs'}", f"simulation.cache_dir={tmp_path / 'c'}"])
    gan = Results.model_validate_json((folder / "results.json").read_text()).gans["cgan"]
    assert set(gan.final) == {"brain", "lung", "liver"}
    for final in gan.final.values():
        assert final.protocol == "paired"
        for gain in (final["ssim", "lesion", "biharmonic"], final["psnr", "lesion", "biharmonic"]):
            assert gain.low is not None
            assert gain.low > 0
    first, last = gan.rounds[0].scores, gan.rounds[-1].scores
    for organ in gan.final:
        before, after = first[organ], last[organ]
        assert after["ssim", "lesion"].value > before["ssim", "lesion"].value
        assert after["frechet"].value >= 0.9 * after["frechet"].references["real"]


@pytest.mark.skipif(not REAL_BRATS.is_dir(), reason="the real BraTS patients are not on this machine")
def test_real_patients_can_be_one_of_the_sites(tmp_path: Path) -> None:
    folder = run(
        [
            "preset=demo",
            f"site.hospital1.path={REAL_BRATS}",
            f"simulation.runs_dir={tmp_path / 'runs'}",
            f"simulation.cache_dir={tmp_path / 'cache'}",
            "federation.rounds=1",
            "federation.local_steps=20",
            "models.cgan.decay_steps=20",
            "classifier.federation.rounds=1",
            "classifier.federation.local_steps=20",
            "cohort.test=5",
            "split.test=5",
            "cohort.external=5",
            "cohort.reference=4",
        ]
    )
    results = Results.model_validate_json((folder / "results.json").read_text())
    assert results.sites["hospital1"].patients == 2
    assert results.arms["hospital1"]["real"]["accuracy"].value is None  # one test patient: no figure leaves
    site = folder / "sites" / "hospital1"
    gallery = read_arrays(site / "results" / "gallery.npz")
    assert np.ptp(gallery["real_tumour"]) > 0.5
    assert "TCGA" in (site / "report" / "results.json").read_text() + (site / "report" / "index.html").read_text()
