"""The tests of the stated mechanism: right by another library, wrong no oftener than stated, each finds its fault."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from client.privacy.mechanism import mechanism_tests
from common.results.privacy import AuditBound, MechanismTests

SIGMA = 4.0
LEVEL = 2e-4
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Change = Callable[[Floats, Flags], Floats]


def simulated(seed: int, change: Change | None = None, *, steps: int = 20, canaries: int = 300) -> MechanismTests:
    """The stated mechanism with ``change`` made to what is seen of it."""
    random = np.random.default_rng(seed)
    member = random.random(canaries) < 0.5
    drawn = member & (random.random((steps, canaries)) < 0.2)
    seen = drawn + SIGMA * random.standard_normal((steps, canaries))
    return mechanism_tests(seen if change is None else change(seen, drawn), drawn, member, SIGMA)


def test_the_probabilities_are_those_of_scipys_own_tests() -> None:
    random = np.random.default_rng(1)
    member = np.arange(200) < 100
    drawn = member & (random.random((10, 200)) < 0.5)
    seen = drawn + 1.1 * SIGMA * random.standard_normal((10, 200))
    found = mechanism_tests(seen, drawn, member, SIGMA)
    bare = seen[~drawn] / SIGMA
    z = (seen[drawn].mean() - 1) / (SIGMA / np.sqrt(drawn.sum()))
    below = stats.chi2.cdf(np.square(bare).sum(), bare.size)
    assert found.p["sensitivity"] == pytest.approx(2 * min(stats.norm.cdf(z), 1 - stats.norm.cdf(z)), rel=1e-9)
    assert found.p["noise"] == pytest.approx(2 * min(below, 1 - below), rel=1e-6)
    assert found.p["shape"] == pytest.approx(stats.kstest(bare, "norm").pvalue)
    assert found.sensitivity == pytest.approx(seen[drawn].mean())
    assert found.noise == pytest.approx(np.sqrt(np.square(bare).mean()))
    assert found.draws == drawn.sum()


def test_the_surest_pair_of_steps_is_that_of_a_correlation_about_a_known_mean() -> None:
    """A regression through the origin has the same t."""
    import statsmodels.api as sm

    random = np.random.default_rng(2)
    rows = random.standard_normal((2, 50))
    found = mechanism_tests(rows, np.zeros((2, 50), bool), np.zeros(50, bool), 1.0)
    of_the_pair = float(sm.OLS(rows[1], rows[0]).fit().pvalues[0])
    share = np.square(rows.sum(0)).sum() / 2 / np.square(rows).sum()
    of_the_sum = 2 * min(stats.beta(25, 25).cdf(share), stats.beta(25, 25).sf(share))
    assert found.p["independence"] == pytest.approx(min(1.0, 2 * min(of_the_pair, of_the_sum)))


def test_probabilities_are_uniform_under_the_stated_mechanism() -> None:
    runs = [simulated(seed).p for seed in range(600)]
    for test in ("sensitivity", "noise", "offset", "shape"):
        assert stats.kstest([p[test] for p in runs], "uniform").pvalue > 0.001, test
    # The surest of several tests is multiplied by their number: never too small, seldom too large.
    for test in ("largest", "weakest", "independence"):
        assert stats.kstest([p[test] for p in runs], "uniform", alternative="greater").pvalue > 0.001, test


def test_all_tests_of_a_step_together_raise_no_more_false_alarms_than_stated() -> None:
    runs = [simulated(seed).p for seed in range(2000, 2600)]
    alarms = sum(min(p.values()) < 0.05 / len(p) for p in runs)
    assert alarms <= stats.binom.ppf(0.999, 600, 0.05)


def one_weight_without_noise(seen: Floats, drawn: Flags) -> Floats:
    changed = seen.copy()
    changed[:, 7] = drawn[:, 7]
    return changed


def one_step_without_noise(seen: Floats, drawn: Flags) -> Floats:
    changed = seen.copy()
    changed[3] = drawn[3]
    return changed


def one_step_twice(seen: Floats, drawn: Flags) -> Floats:
    changed = seen.copy()
    changed[9] = seen[2] - drawn[2] + drawn[9]
    return changed


def one_patient_unclipped(seen: Floats, drawn: Flags) -> Floats:
    changed = seen.copy()
    one = int(drawn.sum(0).argmax())
    changed[:, one] += 12 * drawn[:, one]
    return changed


def noise_that_cancels(seen: Floats, drawn: Flags) -> Floats:
    """Half of each step's noise is taken back by the next, and its size is as stated."""
    noise = seen - drawn
    before = np.vstack([np.zeros(noise.shape[1]), noise[:-1]])
    return np.asarray(drawn + (noise - 0.5 * before) / np.sqrt(1.25))


def laplace(seen: Floats, drawn: Flags) -> Floats:
    random = np.random.default_rng(0)
    return np.asarray(drawn + SIGMA * random.laplace(scale=np.sqrt(0.5), size=seen.shape))


FAULTS: dict[str, tuple[Change, str]] = {
    "half the noise": (lambda seen, drawn: drawn + (seen - drawn) / 2, "noise"),
    "a tenth more noise": (lambda seen, drawn: drawn + 1.1 * (seen - drawn), "noise"),
    "no noise on one weight": (one_weight_without_noise, "weakest"),
    "no noise in one step": (one_step_without_noise, "weakest"),
    "three times the bound": (lambda seen, drawn: seen + 2.0 * drawn, "sensitivity"),
    "one patient unclipped": (one_patient_unclipped, "largest"),
    "the noise of one step twice": (one_step_twice, "independence"),
    "noise that the next step takes back": (noise_that_cancels, "independence"),
    "everyone adds a little, drawn or not": (lambda seen, drawn: seen + 0.5, "offset"),
    "Laplace's noise": (laplace, "shape"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_the_test_for_it(name: str) -> None:
    change, test = FAULTS[name]
    assert all(simulated(seed, change).p[test] < LEVEL for seed in range(5))


def test_nothing_is_told_from_nothing() -> None:
    found = mechanism_tests(np.ones((1, 3)), np.ones((1, 3), bool), np.ones(3, bool), 1.0)
    assert found.noise is None
    assert found.p.keys() == {"sensitivity", "largest"}
    found = mechanism_tests(np.zeros((1, 3)), np.zeros((1, 3), bool), np.zeros(3, bool), 1.0)
    assert found.sensitivity is None
    assert "sensitivity" not in found.p
    assert found.p["noise"] == 0.0


def test_noise_that_never_came_is_found_and_not_stumbled_over() -> None:
    found = mechanism_tests(np.zeros((4, 30)), np.zeros((4, 30), bool), np.zeros(30, bool), 1.0)
    assert found.noise == 0.0
    assert found.p["noise"] == found.p["independence"] == 0.0


def test_figures_that_no_audit_has_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        mechanism_tests(np.zeros((2, 3)), np.zeros((2, 4), bool), np.zeros(3, bool), 1.0)
    with pytest.raises(ValueError, match="only members"):
        mechanism_tests(np.zeros((1, 3)), np.ones((1, 3), bool), np.zeros(3, bool), 1.0)
    with pytest.raises(ValueError, match="sigma"):
        mechanism_tests(np.zeros((1, 3)), np.zeros((1, 3), bool), np.zeros(3, bool), 0.0)


def bound_of(stated: MechanismTests | None, level: float | None = LEVEL) -> AuditBound:
    return AuditBound(
        mechanism="m",
        claimed=2.0,
        bound=1.0,
        canaries=300,
        guesses=20,
        right=12,
        steps=20,
        sigma=SIGMA,
        q=0.2,
        delta=1e-5,
        false_alarm=0.01 if level is not None else None,
        level=level,
        stated=stated,
    )


def test_findings_say_in_words_what_was_rejected() -> None:
    assert bound_of(simulated(1)).holds
    assert bound_of(None, None).holds
    assert bound_of(simulated(1, FAULTS["half the noise"][0])).findings == ["noise has 0.50 of the stated size"]
    assert bound_of(simulated(1, FAULTS["noise that the next step takes back"][0])).findings == [
        "the noise of one step tells of another's"
    ]
    (told,) = bound_of(simulated(1, lambda seen, drawn: seen - 1.0 * drawn)).findings
    assert "does not see the whole step" in told
    assert bound_of(simulated(1)).model_copy(update={"bound": 3.0}).findings == ["more leaks than is claimed"]


def test_the_stated_multiple_is_found_nine_times_of_ten() -> None:
    least = bound_of(simulated(0)).found_from
    assert least is not None
    found = sum(
        simulated(seed, lambda seen, drawn: seen + (least - 1) * drawn).p["sensitivity"] < LEVEL for seed in range(300)
    )
    assert 250 < found < 290
