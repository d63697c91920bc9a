"""The keys of a WGAN-GP."""

from dataclasses import dataclass, field

from common.imaging.names import CONTRASTS, ORGANS
from common.networks.wgan import NORMS
from common.study.allowed import RATE, WEIGHT, WIDTH, between, one_of
from common.study.experiment import MOST_BATCH
from common.training.choices import BETAS, POLICY
from common.training.gan_config import GanConfig


@dataclass
class Domain:
    """One organ in some contrasts, as ``domains`` names it."""

    organ: str = field(metadata=one_of(*ORGANS))
    contrasts: list[str] = field(metadata=one_of(*CONTRASTS, once=True))


@dataclass
class Config(GanConfig):
    """Keys of ``models.wgan_gp``."""

    width: int = field(default=24, metadata=WIDTH)
    """Channels before the last of the generator's five layers, 8 times as many at the first."""
    norm: str = field(default="instance", metadata=one_of(*NORMS))
    """The generator's: ``instance``, ``pixel`` or ``none``."""
    noise_size: int = field(default=64, metadata=between(1, 65_536))
    critic_width: int = field(default=16, metadata=WIDTH)
    """Channels after the critic's first convolution."""
    critic_layers: int = field(default=4, metadata=between(1, 11))
    """Convolutions that halve the resolution; 4 look at patches of 78x78 pixels, 5 at 158x158."""
    domains: list[Domain] | None = None
    """What is shown to the model: null is the study's own contrasts at every site. A list such as
    ``[{organ: brain, contrasts: [t1]}, {organ: brain, contrasts: [t2]}]`` makes each site show the first that it can
    serve."""
    batch_size: int = field(default=16, metadata=between(2, MOST_BATCH))
    n_critic: int = field(default=2, metadata=between(1, 1000))
    """Steps of the critic for one of the generator (5 in the paper)."""
    critic_lead: float = field(default=0.0, metadata=between(0, 1))
    """With patients as the unit of privacy: the generator waits, for at most ``critic_wait`` rounds of critic steps,
    while fewer than this share of generated slices score below 0, where the drift term keeps the real ones; 0 never
    waits."""
    critic_wait: int = field(default=5, metadata=between(0, 100_000))
    optimiser: str = field(default="adam", metadata=one_of("adam", "rmsprop"))
    learning_rate: float = field(default=1e-3, metadata=RATE)
    critic_learning_rate: float = field(default=1e-3, metadata=RATE)
    betas: list[float] = field(default_factory=lambda: [0.0, 0.9], metadata=BETAS)
    gradient_penalty: float = field(default=10.0, metadata=WEIGHT)
    drift: float = field(default=1e-3, metadata=WEIGHT)
    """Weight of the squared scores of real slices, which keeps them near 0."""
    diffaugment: str = field(default="", metadata=POLICY)
    """Changes of real and generated slices alike before the critic sees them: any of brightness, contrast, translation
    and cutout, separated by commas."""
    tumour_share: float = field(default=0.5, metadata=between(0, 1))
    """Share of tumour slices in a batch."""
    augmented_share: float = field(default=0.25, metadata=between(0, 1))
    """Share of the real slices that are turned by up to ``rotation`` radians, and half of these mirrored left to
    right."""
    rotation: float = field(default=0.1, metadata=between(0, 3.2))
