"""Epsilon against Google's independent accountant, over models, rounds and restarts."""

import math
from math import inf
from pathlib import Path

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant

from client.privacy.accounting import LEAST_NOISE, Mechanism, delta_of, plan_sigma, prv_epsilon, rdp_epsilon
from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.ledger import Ledger, LedgerError
from client.site import SiteSettings
from common.errors import PrivacyError

DELTA = 1e-5
FOUR = [
    Mechanism("gan/cgan/discriminator", 4.0, 0.08, 600),
    Mechanism("gan/cgan/generator", 4.0, 0.08, 600),
    Mechanism("gan/wgan_gp/critic", 5.0, 0.08, 1500),
    Mechanism("classifier/real/classifier", 3.0, 0.08, 200),
]


def pld_epsilon(spent: list[Mechanism], delta: float) -> float:
    """The same by Google's accountant of privacy loss distributions, fine enough to be exact to a hundredth."""
    accountant = PLDAccountant(value_discretization_interval=2e-4)
    for one in spent:
        event = dp_event.PoissonSampledDpEvent(one.q, dp_event.GaussianDpEvent(one.sigma))
        accountant.compose(event, one.steps)
    return float(accountant.get_epsilon(delta))


def site(tmp_path: Path, *, epsilon: float = 8.0, patients: int = 200) -> SiteSettings:
    return SiteSettings.model_validate(
        {
            "name": "hospital1",
            "reader": "brats",
            "organ": "brain",
            "path": tmp_path,
            "folder": tmp_path / "site",
            "cache_dir": tmp_path / "cache",
            "privacy": {"epsilon": epsilon, "patients": patients},
        }
    )


def test_four_models_over_ten_rounds_agree_with_an_independent_accountant() -> None:
    rounds = [Mechanism(one.name, one.sigma, one.q, one.steps // 10) for _ in range(10) for one in FOUR]
    independent = pld_epsilon(FOUR, DELTA)
    assert prv_epsilon(rounds, DELTA) == pytest.approx(independent, abs=0.05)
    assert rdp_epsilon(rounds, DELTA) >= independent
    assert rdp_epsilon(rounds, DELTA) == pytest.approx(rdp_epsilon(FOUR, DELTA))


@pytest.mark.parametrize(
    "one",
    [
        Mechanism("a", 1.0, 1.0, 1),
        Mechanism("a", 4.0, 0.2, 200),
        Mechanism("a", 0.8, 0.01, 500),
        Mechanism("a", 12.0, 0.33, 2000),
        Mechanism("a", 2.0, 1 / 5000, 20),
    ],
)
@pytest.mark.parametrize("delta", [1e-5, 1e-7])
def test_neither_accountant_promises_too_much(one: Mechanism, delta: float) -> None:
    independent = pld_epsilon([one], delta)
    assert prv_epsilon([one], delta) == pytest.approx(independent, abs=0.05)
    assert rdp_epsilon([one], delta) >= independent - 0.005


def test_nothing_costs_nothing_and_parts_cost_less_than_their_sum() -> None:
    assert rdp_epsilon([], DELTA) == prv_epsilon([], DELTA) == 0.0
    assert rdp_epsilon([Mechanism("a", 1.0, 0.1, 0)], DELTA) == 0.0
    alone = sum(prv_epsilon([one], DELTA) for one in FOUR)
    assert max(prv_epsilon([one], DELTA) for one in FOUR) < prv_epsilon(FOUR, DELTA) < 0.8 * alone


def test_delta_is_well_below_one_patient() -> None:
    assert delta_of(12) == 1e-5
    assert delta_of(100_000) == 1e-6


@pytest.mark.parametrize(
    ("patients", "batch", "sigmas"),
    [(50, 8, (4.64, 10.74)), (200, 16, (2.41, 5.43)), (1000, 64, (1.98, 4.38)), (5000, 256, (1.64, 3.54))],
)
def test_planned_noise_is_what_the_tables_say(patients: int, batch: int, sigmas: tuple[float, float]) -> None:
    planned = [("a", batch / patients, 2000)]
    for epsilon, expected in zip((8.0, 3.0), sigmas, strict=True):
        sigma = plan_sigma([], planned, epsilon, delta_of(patients))
        assert sigma == pytest.approx(expected, abs=0.03)
        within = rdp_epsilon([Mechanism("a", sigma, batch / patients, 2000)], delta_of(patients))
        assert within <= epsilon < within * 1.01


@pytest.mark.parametrize(("epsilon", "steps"), [(0.5, 300), (20.0, 20), (60.0, 40), (60.0, 1)])
def test_planned_noise_is_the_least_also_where_the_best_order_is_no_whole_one(epsilon: float, steps: int) -> None:
    sigma = plan_sigma([], [("a", 0.4, steps)], epsilon, DELTA)
    assert rdp_epsilon([Mechanism("a", sigma, 0.4, steps)], DELTA) <= epsilon
    if sigma > LEAST_NOISE:
        assert rdp_epsilon([Mechanism("a", 0.995 * sigma, 0.4, steps)], DELTA) > epsilon
    else:
        assert (epsilon, steps) == (60.0, 1)


def test_what_was_spent_before_leaves_less_and_needs_more_noise() -> None:
    planned = [("a", 0.08, 500), ("b", 0.08, 500)]
    fresh = plan_sigma([], planned, 8.0, DELTA)
    after = plan_sigma(FOUR[:2], planned, 8.0, DELTA)
    assert after > fresh
    made = [Mechanism(name, after, q, steps) for name, q, steps in planned]
    assert rdp_epsilon([*FOUR[:2], *made], DELTA) <= 8.0
    with pytest.raises(PrivacyError, match="no noise"):
        plan_sigma([Mechanism("a", 0.5, 1.0, 50)], planned, 8.0, DELTA)


def test_ten_restarts_cost_what_one_run_costs(tmp_path: Path) -> None:
    for _ in range(10):
        for one in FOUR:
            Budget(site(tmp_path)).charge(
                run="r", mechanism=one.name, sigma=one.sigma, q=one.q, steps=one.steps // 10, run_cap=inf
            )
    budget = Budget(site(tmp_path))
    assert sorted(budget.spent("r"), key=lambda one: one.name) == sorted(FOUR, key=lambda one: one.name)
    assert budget.epsilon() == pytest.approx(rdp_epsilon(FOUR, budget.delta))
    fresh_each_round = max(rdp_epsilon([Mechanism(o.name, o.sigma, o.q, o.steps // 10) for o in FOUR], DELTA), 0)
    assert fresh_each_round < 0.5 * budget.epsilon()


@pytest.mark.parametrize(
    ("sigma", "q", "steps"),
    [
        (1.0, 0.1, -5),
        (math.nan, 0.1, 5),
        (math.inf, 0.1, 5),
        (0.0, 0.1, 5),
        (-1.0, 0.1, 5),
        (1.0, 0.0, 5),
        (1.0, 1.5, 5),
        (1.0, math.nan, 5),
    ],
)
def test_figures_that_no_training_has_are_not_charged(tmp_path: Path, sigma: float, q: float, steps: int) -> None:
    """A negative number of steps would give budget back."""
    budget = Budget(site(tmp_path))
    budget.charge(run="r", mechanism="m", sigma=4.0, q=0.08, steps=500, run_cap=inf)
    before = budget.ledger.files.ledger.read_bytes()
    with pytest.raises(PrivacyError, match=r"bad: .* cannot be accounted for"):
        budget.charge(run="r", mechanism="bad", sigma=sigma, q=q, steps=steps, run_cap=inf)
    assert budget.ledger.files.ledger.read_bytes() == before


def test_an_epsilon_that_is_no_number_is_no_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(site(tmp_path))
    monkeypatch.setattr("client.privacy.budget.rdp_epsilon", lambda *_: math.nan)
    with pytest.raises(BudgetSpentError):
        budget.charge(run="r", mechanism="m", sigma=4.0, q=0.08, steps=1, run_cap=inf)
    assert budget.spent() == []


def test_an_epsilon_beyond_all_sense_is_told_without_filling_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> float:
        raise AssertionError("the grid of this epsilon would take tens of gigabytes")

    monkeypatch.setattr("client.privacy.accounting._prv", forbidden)
    huge = [Mechanism("a", 0.5, 1.0, 2000)]
    assert prv_epsilon(huge, DELTA) == rdp_epsilon(huge, DELTA) > 4000


def test_passes_over_a_declared_number_of_patients_are_told_without_filling_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> float:
        raise AssertionError("the grid of so many steps would take gigabytes")

    few = [Mechanism("a", 0.5, 1e-4, 20_000), Mechanism("b", 0.5, 1e-4, 20_000)]
    assert prv_epsilon(few, DELTA) < rdp_epsilon(few, DELTA)
    monkeypatch.setattr("client.privacy.accounting._prv", forbidden)
    many = [Mechanism(name, 0.387, 1e-5, 2_000_000) for name in "abc"]
    assert 0 < prv_epsilon(many, DELTA) == rdp_epsilon(many, DELTA) < 20


def test_studies_share_one_budget_and_its_end_is_an_end(tmp_path: Path) -> None:
    budget = Budget(site(tmp_path, epsilon=2.0))
    taken = {"a": 0, "b": 0}
    refusal = ""
    while not refusal:
        run = "ab"[taken["a"] > taken["b"]]
        try:
            budget.charge(run=run, mechanism="m", sigma=4.0, q=0.2, steps=10, run_cap=inf)
            taken[run] += 10
        except BudgetSpentError as error:
            refusal = str(error)
    assert refusal == "its privacy budget is spent"
    spent = Budget(site(tmp_path, epsilon=2.0))
    assert {run: sum(one.steps for one in spent.spent(run)) for run in "ab"} == taken
    assert 1.8 < spent.epsilon() <= 2.0
    for _ in range(2):
        with pytest.raises(BudgetSpentError):
            spent.charge(run="c", mechanism="m", sigma=4.0, q=0.2, steps=50, run_cap=inf)
    assert spent.spent("c") == []
    with pytest.raises(BudgetSpentError):
        spent.plan([("m", 1.0, 1_000_000)], epsilon=8.0)
    # The hospital, and nobody else, may raise the cap.
    Budget(site(tmp_path, epsilon=3.0)).charge(run="c", mechanism="m", sigma=4.0, q=0.2, steps=10, run_cap=inf)


def test_a_plan_fits_both_the_study_and_what_is_left(tmp_path: Path) -> None:
    budget = Budget(site(tmp_path, epsilon=8.0))
    planned = [("m", 0.08, 1000)]
    alone = budget.plan(planned, epsilon=3.0)
    assert alone == pytest.approx(plan_sigma([], planned, 3.0, budget.delta))
    for _ in range(5):
        budget.charge(run="earlier", mechanism="m", sigma=2.0, q=0.08, steps=100, run_cap=inf)
    less = budget.plan(planned, epsilon=8.0)
    after = [*budget.spent(), Mechanism("m", less, 0.08, 1000)]
    assert rdp_epsilon(after, budget.delta) <= 8.0
    assert less > plan_sigma([], planned, 8.0, budget.delta)


def test_a_reopened_ledger_has_no_budget_left_until_the_hospital_grants_one(tmp_path: Path) -> None:
    budget = Budget(site(tmp_path, epsilon=8.0))
    budget.charge(run="r", mechanism="m", sigma=4.0, q=0.1, steps=10, run_cap=inf)
    site(tmp_path).ledger_files().ledger.unlink()
    with pytest.raises(LedgerError):
        budget.charge(run="r", mechanism="m", sigma=4.0, q=0.1, steps=10, run_cap=inf)
    Ledger.reopen(budget.ledger.files, "hospital1", "lost", assumed_epsilon=8.0)
    assert math.isclose(Budget(site(tmp_path)).epsilon(), 8.0)
    with pytest.raises(BudgetSpentError):
        Budget(site(tmp_path)).charge(run="r", mechanism="m", sigma=400.0, q=0.1, steps=1, run_cap=inf)
    Budget(site(tmp_path, epsilon=12.0)).charge(run="r", mechanism="m", sigma=4.0, q=0.1, steps=10, run_cap=inf)


def test_a_site_without_a_budget_cannot_be_charged(tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match=r"hospital1 sets no privacy budget; add `privacy:"):
        Budget(site(tmp_path).model_copy(update={"privacy": None}))
