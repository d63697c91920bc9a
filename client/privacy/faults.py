"""Mistakes that an audit is shown on purpose, to see whether it finds them."""

from enum import StrEnum


class Fault(StrEnum):
    """What is done wrongly in the step that is audited."""

    NONE = "none"
    PUBLIC_SEED = "public_seed"
    """Noise from the experiment's seed, which the attacker knows and subtracts."""
    SLICE_CLIPPING = "slice_clipping"
    """Each slice of a patient clipped by itself, so that a patient adds several times the bound."""
    HALF_CLIPPING = "half_clipping"
    """Real and generated halves clipped apart: a patient adds twice the bound."""
    HALF_NOISE = "half_noise"
    """Noise of half the stated standard deviation."""
    SAME_NOISE = "same_noise"
    """The same noise at every step, so that the difference of two steps has none."""
