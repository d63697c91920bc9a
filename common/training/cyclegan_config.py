"""What a CycleGAN may be told, and which choices cannot work together."""

from dataclasses import asdict, dataclass, field

from common.allowed import MOST_STEPS, RATE, WEIGHT, WIDTH, between, one_of, refused, require_allowed
from common.errors import ConfigError
from common.experiment import MOST_BATCH, ImageConfig
from common.imaging.names import CONTRASTS, ORGANS
from common.training.choices import ADVERSARIAL, BETAS, DECAY, LEAST_SLICES, POLICY, PRECISION
from common.training.sizes import require_halvings, require_patches, window_of
from common.training.trainer import Exchange, View


@dataclass
class DomainConfig:
    """One side of the translation."""

    organ: str = field(default="brain", metadata=one_of(*ORGANS))
    contrasts: list[str] = field(default_factory=lambda: ["t1"], metadata=one_of(*CONTRASTS, once=True))


@dataclass
class Config:
    """What ``configs/model/cyclegan.yaml`` may say; each key is explained there."""

    domains: list[DomainConfig] = field(
        default_factory=lambda: [DomainConfig(contrasts=["t1"]), DomainConfig(contrasts=["t2"])]
    )
    exchange: str = field(default="proxies", metadata=one_of(*Exchange))
    generator_steps: int = field(default=1, metadata=between(1, 10_000))
    proxy_model: str = "wgan_gp"
    proxy_slices: int = field(default=128, metadata=between(2, 1_000_000))
    width: int = field(default=16, metadata=WIDTH)
    blocks: int = field(default=4, metadata=between(0, 100))
    downsamplings: int = field(default=1, metadata=between(0, 10))
    discriminator_width: int = field(default=32, metadata=WIDTH)
    discriminator_layers: int = field(default=2, metadata=between(1, 8))
    crop: int = field(default=0, metadata=between(0, 2048))
    flip: float = field(default=0.5, metadata=between(0, 1))
    min_slices: int = field(default=4, metadata=LEAST_SLICES)
    batch_size: int = field(default=2, metadata=between(1, MOST_BATCH))
    learning_rate: float = field(default=1e-3, metadata=RATE)
    discriminator_learning_rate: float = field(default=1e-3, metadata=RATE)
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999], metadata=BETAS)
    decay_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    adversarial: str = field(default="lsgan", metadata=ADVERSARIAL)
    cycle_weight: float = field(default=2.0, metadata=WEIGHT)
    identity_weight: float = field(default=0.0, metadata=WEIGHT)
    identity_decay_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    proxy_weight: float = field(default=1.0, metadata=WEIGHT)
    pool: int = field(default=50, metadata=between(0, 100_000))
    ema: float = field(default=0.99, metadata=DECAY)
    spectral_norm: bool = False
    diffaugment: str = field(default="", metadata=POLICY)
    precision: str = field(default="fp32", metadata=PRECISION)


def domain_pair(config: Config, key: str = "model") -> tuple[View, View]:
    """The two sides, first and second.

    >>> [domain.name for domain in domain_pair(Config())]
    ['brain t1', 'brain t2']

    Raises:
        ConfigError: if they are not two, not different, or have unequal numbers of contrasts.
    """
    views = tuple(View(domain.organ, tuple(domain.contrasts)) for domain in config.domains)
    if len(views) != 2:
        raise refused(f"{key}.domains", [asdict(one) for one in config.domains], f"must be two, got {len(views)}")
    first, second = views
    if first == second:
        raise ConfigError(f"{key}.domains: must be two different ones, got {first.name} twice")
    if len(first.contrasts) != len(second.contrasts) or not first.contrasts:
        raise ConfigError(
            f"{key}.domains: both need equally many contrasts, got {len(first.contrasts)} ({first.name}) and "
            f"{len(second.contrasts)} ({second.name})"
        )
    return first, second


def check_config(config: Config, image: ImageConfig, key: str = "model") -> None:
    """Refuses values that cannot work together, or with slices of this size.

    Args:
        key: of the model in a study.

    Raises:
        ConfigError: naming the keys.
    """
    require_allowed(config, f"{key}.")
    domain_pair(config, key)
    window = window_of(config.crop, image)
    require_halvings(key, config, window, image)
    require_patches(key, config, window)
