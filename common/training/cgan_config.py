"""What a cGAN may be told, and which choices cannot work together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import ConfigError
from common.experiment import ImageConfig
from common.training.diffaugment import parse_policy


@dataclass
class Config:
    """What ``configs/model/cgan.yaml`` may say; each key is explained there."""

    width: int = 16
    depth: int = 3
    norm: str = "instance"
    discriminator_width: int = 32
    discriminator_layers: int = 2
    crop: int = 32
    batch_size: int = 8
    learning_rate: float = 2e-4
    discriminator_learning_rate: float = 5e-5
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])
    decay_steps: int = 0
    ema: float = 0.99
    spectral_norm: bool = False
    diffaugment: str = ""
    adversarial: str = "lsgan"
    adversarial_weight: float = 1.0
    l1_weight: float = 10.0
    perceptual: str = "efficientnet_lite0"
    perceptual_weight: float = 1.0
    gradient_penalty: float = 0.0
    noise: float = 1.0
    healthy_share: float = 0.5
    margins: list[int] = field(default_factory=lambda: [1, 3])
    jitter: int = 3
    brightness: float = 0.1
    lesion_scale: list[float] = field(default_factory=lambda: [0.7, 1.3])
    lesion_contrast: list[float] = field(default_factory=lambda: [1.0, 1.0])
    filled_beside: bool = False
    min_slices: int = 4
    from_surroundings: bool = False
    organs_alike: bool = False
    tuning_steps: int = 0
    precision: str = "fp32"


def check_config(config: Config, image: ImageConfig) -> None:
    """Raises ``ConfigError`` for values that cannot work together."""
    smallest = min(config.crop or image.size, image.size)
    problems = {
        f"depth {config.depth} needs a crop of at least {2**config.depth} pixels, got {smallest}": 2**config.depth
        > smallest,
        f"precision must be fp32 or bf16, got {config.precision!r}": config.precision not in ("fp32", "bf16"),
        f"healthy_share must be above 0 and below 1, got {config.healthy_share}": not 0 < config.healthy_share < 1,
        "margins must be two numbers, the smaller first": len(config.margins) != 2
        or not 0 <= config.margins[0] <= config.margins[1],
        "lesion_scale must be two numbers above 0, the smaller first": not _is_range(config.lesion_scale),
        "lesion_contrast must be two numbers above 0, the smaller first": not _is_range(config.lesion_contrast),
        "betas must be two numbers": len(config.betas) != 2,
        f"ema must be at least 0 and below 1, got {config.ema}": not 0 <= config.ema < 1,
        f"tuning_steps must be from 0 to 10,000,000, got {config.tuning_steps}": not 0
        <= config.tuning_steps
        <= 10_000_000,
        f"batch_size must be at least 2, got {config.batch_size}": config.batch_size < 2,
    }
    for text, wrong in problems.items():
        if wrong:
            raise ConfigError(f"model: {text}")
    parse_policy(config.diffaugment)


def _is_range(values: Sequence[float]) -> bool:
    return len(values) == 2 and 0 < values[0] <= values[1]
