"""The keys that GANs share: each with its default and what it may be.

A family derives its ``Config`` from one of these and adds its own keys. What a study does not set is the default
here: ``configs/model/<name>.yaml`` names the family and nothing else.
"""

from dataclasses import dataclass, field

from common.study.allowed import MOST_STEPS, RATE, WEIGHT, WIDTH, between, private
from common.study.experiment import MOST_BATCH
from common.training.choices import ADVERSARIAL, BETAS, DECAY, LEAST_SLICES, PERCEPTUAL, PRECISION


@dataclass
class GanConfig:
    """Keys of every GAN."""

    width: int = field(default=16, metadata=WIDTH)
    """Channels of the generator at full resolution."""
    batch_size: int = field(default=8, metadata=between(1, MOST_BATCH))
    learning_rate: float = field(default=2e-4, metadata=RATE)
    """Of the generator."""
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999], metadata=BETAS)
    """Adam's."""
    decay_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    """Local steps of the generator after which the rates end, falling linearly over the second half; 0 keeps them
    constant."""
    ema: float = field(default=0.99, metadata=DECAY)
    """Decay of the moving average of the generator's weights, which makes the images; 0 takes the last weights."""
    min_slices: int = field(default=4, metadata=LEAST_SLICES)
    """A site with fewer slices (of each class, where the model needs both) does not take part."""
    precision: str = field(default="fp32", metadata=PRECISION)
    """``fp32``, or ``bf16`` for the networks (losses and gradient penalties stay fp32): faster on a GPU, and on a CPU
    with bf16 instructions alone."""


@dataclass
class PatchGanConfig(GanConfig):
    """Keys of a GAN whose discriminator is a PatchGAN."""

    discriminator_width: int = field(default=32, metadata=WIDTH)
    discriminator_layers: int = field(default=2, metadata=between(1, 8))
    """2 see patches of 34x34 pixels, 3 of 70x70."""
    discriminator_learning_rate: float = field(default=1e-4, metadata=RATE)
    crop: int = field(default=0, metadata=between(0, 2048))
    """Side in pixels of the square that the networks train on; 0 is the whole slice."""
    adversarial: str = field(default="lsgan", metadata=ADVERSARIAL)
    """``vanilla``, ``lsgan``, ``hinge`` or ``wasserstein``."""
    spectral_norm: bool = field(
        default=False, metadata=private(False, because="it remembers earlier patients of a step")
    )
    """Divides the discriminator's weights by their largest singular value."""


@dataclass
class Pix2PixConfig(PatchGanConfig):
    """Keys of a GAN whose output has a real counterpart (pix2pix, Isola et al. 2017)."""

    depth: int = field(default=4, metadata=between(1, 11))
    """How many times the U-Net halves the resolution."""
    adversarial_weight: float = field(default=1.0, metadata=WEIGHT)
    l1_weight: float = field(default=100.0, metadata=WEIGHT)
    """Of the mean absolute difference."""
    perceptual: str = field(default="efficientnet_lite0", metadata=PERCEPTUAL)
    """Network of the perceptual loss: ``efficientnet_lite0`` (weights come with its package) or ``vgg19``
    (``weights.vgg19``)."""
    perceptual_weight: float = field(default=0.0, metadata=WEIGHT)
    """0 leaves the perceptual loss out."""
