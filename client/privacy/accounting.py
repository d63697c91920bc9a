"""What a sequence of noised, sampled steps costs: epsilon at a delta, for adding or removing one patient.

Two accountants of Opacus: RDP, cheap and never too low, gates every charge; PRV, tighter, is the figure of the reports.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis.rdp import compute_rdp

from common.errors import PrivacyError

ORDERS = tuple([1 + x / 10 for x in range(1, 100)] + list(range(11, 64)) + [80, 96, 128, 192, 256, 384, 512, 1024])
"""Rényi orders; the best of them decides."""

WHOLE_ORDERS = tuple(order for order in ORDERS if order == int(order))
"""Those whose cost is a short sum; for each of the others opacus sums a series, a hundred times as long."""

LEAST_NOISE = 0.3
"""Noise that is planned whatever less would do."""

MOST_NOISE = 1e3
"""Noise beyond which a plan counts as impossible."""

MOST_BY_PRV = 100.0
"""Epsilon, by RDP, up to which PRV is asked: its grid grows with epsilon, and at a few thousand fills the memory."""

MOST_STEPS_BY_PRV = 50_000
"""Steps in all up to which PRV is asked: its grid grows with their root. Passes over a hundred thousand declared
patients are millions of steps, and would take gigabytes; with a coarser grid it finds epsilons that are too small."""


@dataclass(frozen=True)
class Mechanism:
    """Steps of one kind.

    Attributes:
        name: ``<phase>/<optimiser>``.
        sigma: standard deviation of the noise, in units of the clipping bound.
        q: probability that a patient takes part in a step.
        steps: how many.

    Raises:
        PrivacyError: for figures that no training can have. A negative number of steps would give budget back, and
            noise that is no number would never be found too little.
    """

    name: str
    sigma: float
    q: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0 and 0 < self.q <= 1 and self.steps >= 0):
            raise PrivacyError(
                f"{self.name}: {self.steps} steps with noise {self.sigma:g} and sampling rate {self.q:g} cannot be "
                "accounted for; noise must be positive, the rate above 0 and at most 1, and steps not negative"
            )


def delta_of(patients: int) -> float:
    """The delta for a declared number of patients: at most one in a hundred thousand, and well below one over N.

    >>> delta_of(200), delta_of(50_000)
    (1e-05, 2e-06)
    """
    return min(1e-5, 1 / (10 * patients))


def rdp_epsilon(spent: Iterable[Mechanism], delta: float, orders: Sequence[float] = ORDERS) -> float:
    """Epsilon of all of ``spent`` composed, by Rényi differential privacy; 0 for nothing.

    The conversion is that of Canonne, Kamath & Steinke 2020 (proposition 12), as in Opacus. With fewer ``orders`` the
    figure holds too and is no smaller.
    """
    total = np.zeros(len(orders))
    for one in spent:
        if one.steps:
            total = total + one.steps * _rdp(one.sigma, one.q, tuple(orders))
    if not total.any():
        return 0.0
    order = np.array(orders)
    with np.errstate(over="ignore", invalid="ignore"):
        epsilon = total - (np.log(delta) + np.log(order)) / (order - 1) + np.log((order - 1) / order)
    return max(0.0, float(np.nanmin(epsilon)))


@lru_cache(maxsize=4096)
def _rdp(sigma: float, q: float, orders: tuple[float, ...]) -> npt.NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(compute_rdp(q=q, noise_multiplier=sigma, steps=1, orders=orders), dtype=np.float64)


def prv_epsilon(spent: Iterable[Mechanism], delta: float) -> float:
    """Epsilon of all of ``spent`` composed, by numerical composition (Gopi, Lee & Wutschitz 2021); 0 for nothing.

    Beyond an epsilon of :data:`MOST_BY_PRV`, or :data:`MOST_STEPS_BY_PRV` steps, it is that of :func:`rdp_epsilon`,
    which holds too and is a little larger.
    """
    spent = list(spent)
    by_rdp = rdp_epsilon(spent, delta)
    if not by_rdp <= MOST_BY_PRV:
        return by_rdp
    steps: dict[tuple[float, float], int] = {}
    for one in spent:
        if one.steps:
            steps[one.sigma, one.q] = steps.get((one.sigma, one.q), 0) + one.steps
    if not steps:
        return 0.0
    if sum(steps.values()) > MOST_STEPS_BY_PRV:
        return by_rdp
    return _prv(tuple(sorted((sigma, q, count) for (sigma, q), count in steps.items())), delta)


@lru_cache(maxsize=256)
def _prv(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    accountant = PRVAccountant()
    accountant.history = list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def plan_sigma(
    spent: Sequence[Mechanism], planned: Sequence[tuple[str, float, int]], epsilon: float, delta: float
) -> float:
    """The least noise, alike for all that is planned, with which all of it composed stays within ``epsilon``.

    Args:
        spent: what is paid for already and counts.
        planned: (name, q, steps) of each mechanism.
        epsilon: for ``spent`` and ``planned`` together, by RDP.
        delta: of that epsilon.

    Returns:
        Sigma, to a thousandth, rounded up.

    Raises:
        PrivacyError: if no noise suffices.
    """

    def fits(sigma: float, orders: Sequence[float] = ORDERS) -> bool:
        made = [Mechanism(name, sigma, q, steps) for name, q, steps in planned]
        return rdp_epsilon([*spent, *made], delta, orders) <= epsilon

    def narrowed(low: float, high: float, orders: Sequence[float]) -> tuple[float, float]:
        while high / low > 1.001:
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if fits(middle, orders) else (middle, high)
        return low, high

    high = MOST_NOISE
    if fits(high, WHOLE_ORDERS):
        # Enough by whole orders is enough by all, and seldom much more than that.
        high = LEAST_NOISE if fits(LEAST_NOISE, WHOLE_ORDERS) else narrowed(LEAST_NOISE, high, WHOLE_ORDERS)[1]
    elif not fits(high):
        raise PrivacyError(f"no noise keeps what is planned within an epsilon of {epsilon:.3g}")
    step = 1.02
    while high > LEAST_NOISE and fits(low := max(LEAST_NOISE, high / step)):
        high, step = low, step**2
    if high > LEAST_NOISE:
        _, high = narrowed(low, high, ORDERS)
        high = float(np.ceil(high * 1000) / 1000)
    return high
