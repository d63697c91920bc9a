"""The audit finds what it is meant to find, and says nothing of a sound step."""

import numpy as np
import pytest
import torch
from private_trainers import build

from client.privacy.audit import (
    FALSE_ALARM,
    MECHANISM_TESTS,
    SHARES,
    audit_update,
    best_bound,
    level_of_each,
    lower_bound,
    p_value,
)
from client.privacy.faults import Fault
from common.errors import PrivacyError
from common.results.privacy import AuditBound
from common.training.patients import PatientUpdate


def critic() -> PatientUpdate[object]:
    trainer, slices = build("wgan_gp")
    for network in trainer.networks.values():
        network.float()
    return trainer.patient_updates(slices.condition())[0]


def audited(fault: Fault, *, sigma: float = 4.0, q: float = 0.2, steps: int = 60, networks: int = 1) -> AuditBound:
    return audit_update(
        critic(),
        "critic",
        sigma=sigma,
        max_grad_norm=0.5,
        q=q,
        steps=steps,
        delta=1e-5,
        public_seed=1,
        fault=fault,
        networks=networks,
    )


def test_a_sound_step_stays_below_its_claim_and_is_the_stated_mechanism() -> None:
    bound = audited(Fault.NONE)
    assert bound.findings == []
    assert bound.claimed == pytest.approx(1.61, abs=0.05)
    assert bound.stated is not None
    assert bound.stated.sensitivity == pytest.approx(1.0, abs=0.3)
    assert bound.stated.noise == pytest.approx(1.0, abs=0.02)
    assert len(bound.stated.p) == MECHANISM_TESTS


def test_twenty_audits_of_a_sound_step_raise_no_alarm() -> None:
    """At most one in five hundred of such twenties does: each is one of a hundred networks here."""
    assert all(audited(Fault.NONE, steps=8, networks=100).holds for _ in range(20))


def test_a_strong_attack_comes_near_a_sound_claim() -> None:
    """One full step: an audit that could never find anything would prove nothing."""
    bounds = [audited(Fault.NONE, sigma=1.0, q=1.0, steps=1).bound for _ in range(3)]
    assert 0.7 < float(np.median(bounds)) < 4.4


@pytest.mark.parametrize("fault", [Fault.PUBLIC_SEED, Fault.SLICE_CLIPPING])
def test_gross_faults_are_proven_by_the_bound_alone(fault: Fault) -> None:
    bound = audited(fault, q=1.0, steps=4)
    assert not bound.holds
    assert bound.bound > 1.2 * bound.claimed
    assert bound.right > 0.85 * bound.guesses


FOUND = {
    Fault.HALF_CLIPPING: "a patient adds",
    Fault.HALF_NOISE: "noise has",
    Fault.SAME_NOISE: "the noise of one step tells of another's",
}


@pytest.mark.parametrize("fault", FOUND)
def test_finer_faults_are_found_as_another_mechanism_five_times_of_five(fault: Fault) -> None:
    for _ in range(5):
        bound = audited(fault, steps=20, networks=3)
        assert not bound.holds
        assert [finding for finding in bound.findings if FOUND[fault] in finding]
        assert bound.stated is not None
        if fault is not Fault.SAME_NOISE:
            assert bound.stated.sensitivity == pytest.approx(2.0 if fault is Fault.HALF_CLIPPING else 1.0, abs=0.7)
            assert bound.stated.noise == pytest.approx(0.5 if fault is Fault.HALF_NOISE else 1.0, abs=0.05)


def test_a_factor_of_two_is_not_for_the_bound_to_find() -> None:
    """The documentation says so; if the bound grows sharper, the page should be changed."""
    bound = audited(Fault.HALF_CLIPPING, steps=20)
    assert bound.bound < 2 * bound.claimed


def test_all_tests_of_all_networks_share_one_chance_of_a_false_alarm() -> None:
    assert level_of_each(3) * 3 * (2 * len(SHARES) + MECHANISM_TESTS) == pytest.approx(FALSE_ALARM)
    bound = audited(Fault.NONE, steps=1, networks=4)
    assert bound.level == level_of_each(4)
    assert bound.false_alarm == FALSE_ALARM


def test_the_audit_leaves_the_weights_as_they_were() -> None:
    update = critic()
    before = {name: parameter.detach().clone() for name, parameter in update.parameters().items()}
    audit_update(update, "critic", sigma=1.0, max_grad_norm=1.0, q=0.5, steps=2, delta=1e-5, public_seed=1, canaries=50)
    assert all(torch.equal(before[name], parameter) for name, parameter in update.parameters().items())


def test_too_few_weights_for_the_canaries_are_refused() -> None:
    with pytest.raises(PrivacyError, match="needs its own"):
        audit_update(
            critic(),
            "critic",
            sigma=1.0,
            max_grad_norm=1.0,
            q=0.5,
            steps=1,
            delta=1e-5,
            public_seed=1,
            canaries=10_000_000,
        )


def test_guessing_by_chance_bounds_nothing_and_more_right_guesses_bound_more() -> None:
    assert lower_bound(1000, 400, 200, 1e-5, 0.05) == 0.0
    bounds = [lower_bound(1000, 400, right, 1e-5, 0.05) for right in (240, 280, 320, 360, 400)]
    assert bounds == sorted(bounds)
    assert bounds[0] > 0
    assert p_value(1000, 400, 320, 0.1, 0.0) < 0.001
    assert p_value(1000, 400, 200, 1.0, 1e-5) == pytest.approx(1.0, abs=1e-6)


def test_the_bound_is_wrong_no_oftener_than_stated() -> None:
    """Randomised response tells the truth with a known epsilon; at 5% over the shares, the bound exceeds it no more."""
    epsilon, random = 1.0, np.random.default_rng(0)
    truthful = 1 / (1 + np.exp(-epsilon))
    wrong = 0
    for _ in range(200):
        member = random.random(500) < 0.5
        told = np.where(random.random(500) < truthful, member, ~member)
        bound, _, _ = best_bound(told + 0.1 * random.random(500), member, 1e-5, 0.05 / len(SHARES))
        wrong += bound > epsilon
    assert wrong <= 10
