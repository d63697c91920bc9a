"""What the keys may be that several families of GANs have in common."""

from common.losses.adversarial import ADVERSARIAL_LOSSES
from common.losses.perceptual import LAYERS
from common.study.allowed import ALLOWED, Allowed, between, one_of, private
from common.training.diffaugment import OPERATIONS

ADVERSARIAL = one_of(*ADVERSARIAL_LOSSES)
PERCEPTUAL = one_of(*LAYERS)
PRECISION = one_of("fp32", "bf16")
BETAS = between(0, 1, below=True, length=2)
DECAY = between(0, 1, below=True)
"""Of a moving average."""
FACTORS = between(0.01, 100, length=2, up=True)
LEAST_SLICES = between(0, 1_000_000)

POLICY = {
    ALLOWED: Allowed(
        f"empty, or of {', '.join(OPERATIONS)}, separated by commas",
        lambda policy: {word.strip() for word in policy.split(",") if word.strip()} <= set(OPERATIONS),
    )
} | private("", because="it is drawn by batch, not by patient")
"""Of DiffAugment."""
