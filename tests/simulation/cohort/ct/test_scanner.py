import numpy as np
import pytest

from common.errors import ConfigError
from simulation.cohort.ct.scanner import LIVER_SCANNERS, LUNG_SCANNERS, CtScanner, acquire, round_field, scanner_named


@pytest.mark.parametrize("scanners", [LUNG_SCANNERS, LIVER_SCANNERS])
def test_scanners_differ_in_noise_and_calibration_and_the_external_one_most(scanners: dict[str, CtScanner]) -> None:
    """On flat tissue, averaged over days, which differ too."""
    noise, level = {}, {}
    for name, scanner in scanners.items():
        days = [
            acquire(np.full((3, 64, 64), 100, np.float32), 1.8, scanner, np.random.default_rng(d)) for d in range(5)
        ]
        values = np.stack(days)
        noise[name], level[name] = values.std(), values.mean()
        assert noise[name] == pytest.approx(scanner.noise, rel=0.3)
    assert max(noise, key=noise.__getitem__) == "external"
    assert max(level, key=level.__getitem__) == "external"
    assert len({round(value) for value in level.values()}) > 2


def test_air_stays_air_and_values_fit_twelve_bits() -> None:
    hu = np.full((2, 32, 32), -1000, np.float32)
    hu[:, 10:20, 10:20] = 4000
    image = acquire(hu, 1.8, LUNG_SCANNERS["a"], np.random.default_rng(0))
    assert -1024 <= image.min() < image.max() <= 3071
    assert image[:, :5].mean() == pytest.approx(-1000, abs=15)


def test_round_field_reaches_the_middle_of_each_side_and_no_corner() -> None:
    field = round_field((9, 9))
    assert field[4].all()
    assert not field[0, 0]
    assert np.array_equal(field, field[::-1, ::-1])


def test_unknown_scanner_is_named() -> None:
    with pytest.raises(ConfigError, match="mystery"):
        scanner_named("mystery", LIVER_SCANNERS)
