"""A one-run audit of the private step: what an attacker who sees every noised gradient learns about planted patients.

A thousand canaries, each in the data or not by the toss of a coin, are trained on by the very step that patients are
trained with. A canary's gradient points along one weight of its own, so the weights' sum of updates tells the attacker
what can be told. From how often guesses are right follows a lower bound on epsilon (Steinke, Nasr & Jagielski 2023,
theorem 5.2). A bound above what is claimed proves a fault; one below proves nothing. The same updates are therefore
also held against the stated mechanism (:mod:`client.privacy.mechanism`), which finds a wrong factor of two. Neither is
a proof: an audit is the second net, not the first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binom
from torch import Tensor

from client.privacy.accounting import Mechanism, prv_epsilon
from client.privacy.faults import Fault
from client.privacy.gradients import GradSampleMode, PrivateStep
from client.privacy.mechanism import mechanism_tests
from client.privacy.patients import Drawn
from client.privacy.randomness import KEY_BYTES, PrivateRandom
from common.errors import PrivacyError
from common.results.privacy import AuditBound
from common.training.patients import PatientUpdate

FALSE_ALARM = 0.01
"""Largest probability that any test of a whole audit, of all networks together, calls a fault where there is none."""

SHARES = (0.025, 0.05, 0.1, 0.2, 0.5)
"""Shares of the canaries about which the attacker guesses on either side, the surest first; the best bound counts."""

ATTACKS = 2
"""On what was seen, and on what is left of it after the noise of a public seed is subtracted."""

MECHANISM_TESTS = 7
"""Those of :func:`client.privacy.mechanism.mechanism_tests`."""

TESTS = len(SHARES) * ATTACKS + MECHANISM_TESTS
"""Of one network."""

STRENGTH = 10.0
"""Norm of a canary's gradient in units of the clipping bound: every canary is clipped."""

SLICES = 8
"""Slices of a canary where each is clipped by itself."""


@dataclass(frozen=True)
class Canary:
    """A made-up patient whose gradient points along one weight.

    Attributes:
        place: (1,) int64, the weight, counted over all of them.
    """

    place: Tensor


def level_of_each(networks: int) -> float:
    """The level of each single test where so many networks are audited: equal parts of the whole (Bonferroni).

    >>> round(level_of_each(3), 6)
    0.000196
    """
    return FALSE_ALARM / (networks * TESTS)


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Probability of at least ``right`` right among ``guesses`` guesses, under (epsilon, delta) at the worst."""
    chance = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, chance))
    steps = np.arange(1, right + 1)
    sums = np.cumsum(binom.pmf(right - steps, guesses, chance))
    slack = float(np.max(sums / steps, initial=0.0))
    return min(1.0, tail + slack * delta * 2 * canaries)


def lower_bound(canaries: int, guesses: int, right: int, delta: float, level: float) -> float:
    """The largest epsilon that these guesses rule out at ``level``; 0 if none.

    >>> lower_bound(1000, 200, 100, 1e-5, 0.001)
    0.0
    >>> lower_bound(1000, 200, 190, 1e-5, 0.001) > 1.5
    True
    """
    if p_value(canaries, guesses, right, 0.0, delta) > level:
        return 0.0
    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(canaries, guesses, right, middle, delta) < level else (low, middle)
    return low


def best_bound(
    scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_], delta: float, level: float
) -> tuple[float, int, int]:
    """The best lower bound from guesses about the surest canaries: (epsilon, guesses, right ones).

    Args:
        scores: (M,) one a canary; the higher, the surer the attacker is that it was in the data.
        member: (M,) whether it was.
        delta: of the bound.
        level: of each of the :data:`SHARES`, so that the bound is wrong with that probability times their number.
    """
    order = np.argsort(scores)
    found = []
    for share in SHARES:
        count = max(1, round(share * len(scores)))
        right = int(member[order[-count:]].sum() + (~member[order[:count]]).sum())
        found.append((lower_bound(len(scores), 2 * count, right, delta, level), 2 * count, right))
    return max(found)


def audit_update(
    update: PatientUpdate[Any],
    mechanism: str,
    *,
    sigma: float,
    max_grad_norm: float,
    q: float,
    steps: int,
    delta: float,
    public_seed: int,
    canaries: int = 1000,
    networks: int = 1,
    fault: Fault = Fault.NONE,
    mode: GradSampleMode = GradSampleMode.VMAP,
) -> AuditBound:
    """Trains ``canaries`` canaries with the private step of ``update``, attacks what it gives out, and tests it.

    The step is taken with plain descent in place of the training's optimiser: what that makes of the noised gradient
    tells no more than the gradient itself.

    Args:
        update: of a trainer; its weights are put back afterwards.
        mechanism: its name in the accounts.
        sigma, max_grad_norm, q, steps, delta: of the training that is audited.
        public_seed: a seed that an attacker knows and tries.
        canaries: how many.
        networks: how many are audited together: they share :data:`FALSE_ALARM`.
        fault: a mistake made on purpose.
        mode: how gradients are computed.

    Raises:
        PrivacyError: if there are fewer weights than canaries.
    """
    parameters = list(update.parameters().values())
    sizes = [parameter.numel() for parameter in parameters]
    if sum(sizes) < canaries:
        raise PrivacyError(f"{mechanism}: has {sum(sizes)} weights, and each of {canaries} canaries needs its own")
    kept = [parameter.detach().clone() for parameter in parameters]
    random = np.random.default_rng()
    places = torch.from_numpy(random.permutation(sum(sizes))[:canaries].astype(np.int64))
    member = random.random(canaries) < 0.5
    device = parameters[0].device
    planted = PatientUpdate(update.optimiser, update.networks, _canary_loss(update, STRENGTH * max_grad_norm))
    public_key = public_seed.to_bytes(KEY_BYTES, "big", signed=True)
    chance = PrivateRandom(public_key if fault is Fault.PUBLIC_SEED else None)
    step = PrivateStep(
        torch.optim.SGD(parameters, lr=1.0),
        planted,
        sigma=sigma / 2 if fault is Fault.HALF_NOISE else sigma,
        max_grad_norm=max_grad_norm,
        expected=1.0,
        noise=chance.stream("noise", update.optimiser),
        mode=mode,
    )
    copies = {Fault.SLICE_CLIPPING: SLICES, Fault.HALF_CLIPPING: 2}.get(fault, 1)
    replayed = PrivateRandom(public_key).stream("noise", update.optimiser)
    seen, known = np.zeros((steps, canaries)), np.zeros((steps, canaries))
    drawn = member & (random.random((steps, canaries)) < q)
    for t in range(steps):
        before = _at(parameters, places)
        taking = np.repeat(np.flatnonzero(drawn[t]), copies)
        step.take([Drawn(Canary(places[i : i + 1].to(device)), 0) for i in taking])
        seen[t] = (before - _at(parameters, places)).double().numpy() / max_grad_norm
        known[t] = _at([replayed.normal((sum(sizes),), device)], places).double().numpy() * sigma
        if fault is Fault.SAME_NOISE:
            step.optimiser.noise = chance.stream("noise", update.optimiser)
        with torch.no_grad():
            # Back to the start: large sums of noise would cost digits.
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)
    level = level_of_each(networks)
    attacks = [best_bound(scores.sum(0), member, delta, level) for scores in (seen, seen - known)]
    bound, guesses, right = max(attacks)
    return AuditBound(
        mechanism=mechanism,
        claimed=prv_epsilon([Mechanism(mechanism, sigma, q, steps)], delta),
        bound=bound,
        canaries=canaries,
        guesses=guesses,
        right=right,
        steps=steps,
        sigma=sigma,
        q=q,
        delta=delta,
        false_alarm=FALSE_ALARM,
        level=level,
        stated=mechanism_tests(seen, drawn, member, sigma),
    )


def _canary_loss(update: PatientUpdate[Any], strength: float) -> Any:
    def loss(canary: Canary) -> Tensor:
        # Read anew each time: where gradients are taken all at once, other values stand in for the weights.
        flat = torch.cat([p.flatten() for n in update.networks.values() for _, p in n.named_parameters()])
        return strength * flat.gather(0, canary.place).sum()

    return loss


def _at(tensors: Sequence[Tensor], places: Tensor) -> Tensor:
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    return flat[places.to(flat.device)].cpu()
