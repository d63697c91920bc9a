"""What a CycleGAN may be told, and which choices cannot work together."""

from dataclasses import dataclass, field

from common.errors import ConfigError
from common.experiment import ImageConfig
from common.training.diffaugment import parse_policy
from common.training.trainer import Exchange, View


@dataclass
class DomainConfig:
    """One side of the translation."""

    organ: str = "brain"
    contrasts: list[str] = field(default_factory=lambda: ["t1"])


@dataclass
class Config:
    """What ``configs/model/cyclegan.yaml`` may say; each key is explained there."""

    domains: list[DomainConfig] = field(
        default_factory=lambda: [DomainConfig(contrasts=["t1"]), DomainConfig(contrasts=["t2"])]
    )
    exchange: str = "proxies"
    generator_steps: int = 1
    proxy_model: str = "wgan_gp"
    proxy_slices: int = 128
    width: int = 16
    blocks: int = 4
    downsamplings: int = 1
    discriminator_width: int = 32
    discriminator_layers: int = 2
    crop: int = 0
    flip: float = 0.5
    min_slices: int = 4
    batch_size: int = 2
    learning_rate: float = 1e-3
    discriminator_learning_rate: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])
    decay_steps: int = 0
    adversarial: str = "lsgan"
    cycle_weight: float = 2.0
    identity_weight: float = 0.0
    identity_decay_steps: int = 0
    proxy_weight: float = 1.0
    pool: int = 50
    ema: float = 0.99
    spectral_norm: bool = False
    diffaugment: str = ""
    precision: str = "fp32"


def domain_pair(config: Config) -> tuple[View, View]:
    """The two sides, first and second.

    >>> [domain.name for domain in domain_pair(Config())]
    ['brain t1', 'brain t2']

    Raises:
        ConfigError: if they are not two, not different, or have unequal numbers of contrasts.
    """
    views = tuple(View(domain.organ, tuple(domain.contrasts)) for domain in config.domains)
    if len(views) != 2:
        raise ConfigError(f"model: domains must be two, got {len(views)}")
    first, second = views
    if first == second:
        raise ConfigError(f"model: domains must be two different ones, got {first.name} twice")
    if len(first.contrasts) != len(second.contrasts) or not first.contrasts:
        raise ConfigError(
            f"model: both domains need equally many contrasts, got {len(first.contrasts)} ({first.name}) and "
            f"{len(second.contrasts)} ({second.name})"
        )
    return first, second


def check_config(config: Config, image: ImageConfig) -> None:
    """Raises ``ConfigError`` for values that cannot work together, or with slices of this size."""
    domain_pair(config)
    parse_policy(config.diffaugment)
    window, multiple = min(config.crop or image.size, image.size), 2**config.downsamplings
    known = ", ".join(Exchange)
    problems = {
        f"exchange must be one of {known}, got {config.exchange!r}": config.exchange not in list(Exchange),
        f"generator_steps must be at least 1, got {config.generator_steps}": config.generator_steps < 1,
        f"the crop must be a multiple of {multiple} pixels, got {window}": window % multiple != 0 or config.crop < 0,
        f"the slice must be a multiple of {multiple} pixels, got {image.size}": image.size % multiple != 0,
        f"precision must be fp32 or bf16, got {config.precision!r}": config.precision not in ("fp32", "bf16"),
        f"flip is a probability, got {config.flip}": not 0 <= config.flip <= 1,
        f"ema must be at least 0 and below 1, got {config.ema}": not 0 <= config.ema < 1,
        f"pool must be at least 0, got {config.pool}": config.pool < 0,
        "betas must be two numbers": len(config.betas) != 2,
        f"batch_size must be at least 1, got {config.batch_size}": config.batch_size < 1,
        f"proxy_slices must be at least 2, one of each class, got {config.proxy_slices}": config.proxy_slices < 2,
    }
    for text, wrong in problems.items():
        if wrong:
            raise ConfigError(f"model: {text}")
