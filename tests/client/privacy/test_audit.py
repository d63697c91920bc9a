"""The audit finds what it is meant to find, and says nothing of a sound step."""

import numpy as np
import pytest
import torch
from private_trainers import build

from client.privacy.audit import Fault, audit_update, best_bound, lower_bound, p_value
from common.errors import PrivacyError
from common.results_privacy import AuditBound
from common.training.patients import PatientUpdate


def critic() -> PatientUpdate[object]:
    trainer, slices = build("wgan_gp")
    for network in trainer.networks.values():
        network.float()
    return trainer.patient_updates(slices.condition())[0]


def audited(fault: Fault, *, sigma: float = 4.0, q: float = 0.2, steps: int = 60) -> AuditBound:
    return audit_update(
        critic(), "critic", sigma=sigma, clip=1.0, q=q, steps=steps, delta=1e-5, public_seed=1, fault=fault
    )


def test_a_sound_step_stays_below_its_claim() -> None:
    for _ in range(2):
        bound = audited(Fault.NONE)
        assert bound.holds
        assert bound.claimed == pytest.approx(1.61, abs=0.05)


def test_a_strong_attack_comes_near_a_sound_claim() -> None:
    """One full step: an audit that could never find anything would prove nothing."""
    bounds = [audited(Fault.NONE, sigma=1.0, q=1.0, steps=1).bound for _ in range(3)]
    assert 0.7 < float(np.median(bounds)) < 4.4


@pytest.mark.parametrize("fault", [Fault.PUBLIC_SEED, Fault.SLICE_CLIPPING])
def test_planted_faults_are_found(fault: Fault) -> None:
    bound = audited(fault)
    assert not bound.holds
    assert bound.bound > 3.0
    assert bound.right > 0.9 * bound.guesses


def test_a_factor_of_two_lies_at_the_edge_of_what_can_be_found() -> None:
    """The documentation promises no more than this; if the audit grows sharper, the page should be changed."""
    bound = audited(Fault.HALF_CLIPPING)
    # Chance decides whether the bound comes out above the claim; far above it, it never is.
    assert bound.bound < 2 * bound.claimed


def test_the_audit_leaves_the_weights_as_they_were() -> None:
    update = critic()
    before = {name: parameter.detach().clone() for name, parameter in update.parameters().items()}
    audit_update(update, "critic", sigma=1.0, clip=1.0, q=0.5, steps=2, delta=1e-5, public_seed=1, canaries=50)
    assert all(torch.equal(before[name], parameter) for name, parameter in update.parameters().items())


def test_too_few_weights_for_the_canaries_are_refused() -> None:
    with pytest.raises(PrivacyError, match="needs its own"):
        audit_update(
            critic(), "critic", sigma=1.0, clip=1.0, q=0.5, steps=1, delta=1e-5, public_seed=1, canaries=10_000_000
        )


def test_guessing_by_chance_bounds_nothing_and_more_right_guesses_bound_more() -> None:
    assert lower_bound(1000, 400, 200, 1e-5) == 0.0
    bounds = [lower_bound(1000, 400, right, 1e-5) for right in (240, 280, 320, 360, 400)]
    assert bounds == sorted(bounds)
    assert bounds[0] > 0
    assert p_value(1000, 400, 320, 0.1, 0.0) < 0.001
    assert p_value(1000, 400, 200, 1.0, 1e-5) == pytest.approx(1.0, abs=1e-6)


def test_the_bound_is_wrong_no_oftener_than_stated() -> None:
    """Randomised response tells the truth with a known epsilon; the bound exceeds it in at most 5% of trials."""
    epsilon, random = 1.0, np.random.default_rng(0)
    truthful = 1 / (1 + np.exp(-epsilon))
    wrong = 0
    for _ in range(200):
        member = random.random(500) < 0.5
        told = np.where(random.random(500) < truthful, member, ~member)
        bound, _, _ = best_bound(told + 0.1 * random.random(500), member, 1e-5)
        wrong += bound > epsilon
    assert wrong <= 10
