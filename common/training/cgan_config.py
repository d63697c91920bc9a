"""What a cGAN may be told, and which choices cannot work together."""

from dataclasses import dataclass, field

from common.allowed import MOST_STEPS, RATE, WEIGHT, WIDTH, between, one_of, require_allowed
from common.experiment import MOST_BATCH, ImageConfig
from common.networks.unet import NORMS
from common.training.choices import ADVERSARIAL, BETAS, DECAY, FACTORS, LEAST_SLICES, PERCEPTUAL, POLICY, PRECISION
from common.training.sizes import require_patches, require_perceptual, require_unet, window_of


@dataclass
class Config:
    """What ``configs/model/cgan.yaml`` may say; each key is explained there."""

    width: int = field(default=16, metadata=WIDTH)
    depth: int = field(default=3, metadata=between(1, 11))
    norm: str = field(default="instance", metadata=one_of(*NORMS))
    discriminator_width: int = field(default=32, metadata=WIDTH)
    discriminator_layers: int = field(default=2, metadata=between(1, 8))
    crop: int = field(default=32, metadata=between(0, 2048))
    batch_size: int = field(default=8, metadata=between(2, MOST_BATCH))
    learning_rate: float = field(default=2e-4, metadata=RATE)
    discriminator_learning_rate: float = field(default=5e-5, metadata=RATE)
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999], metadata=BETAS)
    decay_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    ema: float = field(default=0.99, metadata=DECAY)
    spectral_norm: bool = False
    diffaugment: str = field(default="", metadata=POLICY)
    adversarial: str = field(default="lsgan", metadata=ADVERSARIAL)
    adversarial_weight: float = field(default=1.0, metadata=WEIGHT)
    l1_weight: float = field(default=10.0, metadata=WEIGHT)
    perceptual: str = field(default="efficientnet_lite0", metadata=PERCEPTUAL)
    perceptual_weight: float = field(default=1.0, metadata=WEIGHT)
    gradient_penalty: float = field(default=0.0, metadata=WEIGHT)
    noise: float = field(default=1.0, metadata=between(0, 1000))
    healthy_share: float = field(default=0.5, metadata=between(0, 1, above=True, below=True))
    margins: list[int] = field(default_factory=lambda: [1, 3], metadata=between(0, 1000, length=2, up=True))
    jitter: int = field(default=3, metadata=between(0, 1000))
    brightness: float = field(default=0.1, metadata=between(0, 1))
    lesion_scale: list[float] = field(default_factory=lambda: [0.7, 1.3], metadata=FACTORS)
    lesion_contrast: list[float] = field(default_factory=lambda: [1.0, 1.0], metadata=FACTORS)
    filled_beside: bool = False
    min_slices: int = field(default=4, metadata=LEAST_SLICES)
    from_surroundings: bool = False
    organs_alike: bool = False
    tuning_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    precision: str = field(default="fp32", metadata=PRECISION)


def check_config(config: Config, image: ImageConfig, key: str = "model") -> None:
    """Refuses values that cannot work together.

    Args:
        key: of the model in a study.

    Raises:
        ConfigError: naming the keys.
    """
    require_allowed(config, f"{key}.")
    window = window_of(config.crop, image)
    require_unet(key, config, window)
    require_patches(key, config, window)
    require_perceptual(key, config.perceptual_weight, window)
