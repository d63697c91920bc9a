"""The keys of a CycleGAN."""

from dataclasses import asdict, dataclass, field

from common.errors import ConfigError
from common.imaging.names import CONTRASTS, ORGANS
from common.study.allowed import MOST_STEPS, RATE, WEIGHT, between, one_of, private, refused
from common.study.experiment import MOST_BATCH
from common.training.choices import POLICY
from common.training.gan_config import PatchGanConfig
from common.training.trainer import Exchange, View


@dataclass
class DomainConfig:
    """One side of the translation."""

    organ: str = field(default="brain", metadata=one_of(*ORGANS))
    contrasts: list[str] = field(default_factory=lambda: ["t1"], metadata=one_of(*CONTRASTS, once=True))


@dataclass
class Config(PatchGanConfig):
    """Keys of ``models.cyclegan``."""

    domains: list[DomainConfig] = field(
        default_factory=lambda: [DomainConfig(contrasts=["t1"]), DomainConfig(contrasts=["t2"])]
    )
    """The two sides, each an organ and the contrasts that become the channels (equally many on both sides). A site
    shows the first whose organ it has and whose contrasts it holds."""
    exchange: str = field(
        default="proxies",
        metadata=one_of(*Exchange)
        | private("proxies", "average", because="it sends what one step found before it is noised"),
    )
    """How sites work together.

    ``proxies`` averages weights every round; each side trains its discriminator against translations of synthetic
    slices that the other side released once, which a hospital has to allow (``may_release_synthetic``). The only one
    that learns the translation between institutions.

    ``gradients`` sums gradients at the coordinator: with ``generator_steps`` 1 this is centralised CycleGAN, at one
    exchange a step. Gradients of single batches can be inverted into images: for simulation, as in the presets demo,
    modern and protocol. Hospitals do not allow it unless their ``site.yaml`` says so (``allowed_exchanges``).

    ``average`` is plain averaging. It does not learn the translation and is kept as the baseline."""
    generator_steps: int = field(default=1, metadata=between(1, 10_000))
    """With gradients: steps that the generators take at a site before their weights are averaged. More means fewer
    exchanges, and fewer steps of the discriminators (one an exchange)."""
    proxy_model: str = "wgan_gp"
    """With proxies: the GAN of the study whose slices are released. It must be listed before this model
    (``model=[wgan_gp,cyclegan]``); unless its ``domains`` say otherwise it learns both sides. Without
    ``privacy=patient_dp`` a synthetic slice may resemble a patient's; a site releases nothing unless its ``site.yaml``
    says ``may_release_synthetic``."""
    proxy_slices: int = field(default=128, metadata=between(2, 1_000_000))
    """How many each site releases, half of them tumours."""
    blocks: int = field(default=4, metadata=between(0, 100))
    """Residual blocks of a generator. The paper's have width 64, 2 downsamplings and 9 blocks at 256 pixels."""
    downsamplings: int = field(default=1, metadata=between(0, 10))
    """How many times a generator halves the resolution. At 64 pixels one keeps the anatomy in place; with two, 500
    steps did not teach the generators to return a slice."""
    flip: float = field(default=0.5, metadata=between(0, 1))
    """Probability of mirroring a training slice left to right."""
    batch_size: int = field(default=2, metadata=between(1, MOST_BATCH))
    learning_rate: float = field(default=1e-3, metadata=RATE)
    """The paper's is 2e-4, for 180 epochs."""
    discriminator_learning_rate: float = field(default=1e-3, metadata=RATE)
    cycle_weight: float = field(default=2.0, metadata=WEIGHT)
    """Of the mean absolute difference after translation there and back. The paper's is 10. In a few hundred steps that
    much teaches the way back before the way there: what was bright stays bright, and the other domain's edges are drawn
    beside it."""
    identity_weight: float = field(default=0.0, metadata=WEIGHT)
    """Of the mean absolute change that a generator makes to an image of its own target domain; half the cycle's is
    usual, 0 leaves it out. It steadies colours; where the contrast is to change, it is in the way."""
    identity_decay_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    """Steps over which that weight falls to 0; 0 keeps it."""
    proxy_weight: float = field(default=1.0, metadata=WEIGHT)
    """With proxies: of the adversarial loss on their translations, judged by the discriminator that trains at the same
    site. With 0 a generator learns from discriminators only that are up to a round old."""
    pool: int = field(
        default=50,
        metadata=between(0, 100_000) | private(0, because="a pooled image carries a patient into later steps"),
    )
    """Generated images that a site keeps to show its discriminators again (they never leave it); 0 shows the newest
    only."""
    diffaugment: str = field(default="", metadata=POLICY)
    """DiffAugment for the discriminators, e.g. ``translation,brightness``; empty is off."""


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
