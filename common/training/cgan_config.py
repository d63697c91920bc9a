"""The keys of a conditional GAN that inserts tumours."""

from dataclasses import dataclass, field

from common.networks.unet import NORMS
from common.study.allowed import MOST_STEPS, RATE, WEIGHT, between, one_of
from common.study.experiment import MOST_BATCH
from common.training.choices import FACTORS, POLICY
from common.training.gan_config import Pix2PixConfig


@dataclass
class Config(Pix2PixConfig):
    """Keys of ``models.cgan``."""

    depth: int = field(default=3, metadata=between(1, 11))
    norm: str = field(default="instance", metadata=one_of(*NORMS))
    """The generator's: ``instance`` or ``none``."""
    crop: int = field(default=32, metadata=between(0, 2048))
    """Pixels along each side of the window around the region that both networks train on; 0 is the whole slice."""
    jitter: int = field(default=3, metadata=between(0, 1000))
    """Training windows are moved off the region's centre by up to this many pixels."""
    brightness: float = field(default=0.1, metadata=between(0, 1))
    """Training windows are turned by quarter turns and mirrored, and brightened or darkened by up to this share."""
    margins: list[int] = field(default_factory=lambda: [1, 3], metadata=between(0, 1000, length=2, up=True))
    """The blanked region is the tumour mask grown by a margin between these two numbers of pixels."""
    healthy_share: float = field(default=0.5, metadata=between(0, 1, above=True, below=True))
    """Share of the training examples that blank a healthy region without a tumour. It cannot be 0: without it the
    traces of inpainting would tell a classifier which slices hold a tumour."""
    lesion_scale: list[float] = field(default_factory=lambda: [0.7, 1.3], metadata=FACTORS)
    """Synthesis: size of the masks relative to the site's own, between these two factors."""
    lesion_contrast: list[float] = field(default_factory=lambda: [1.0, 1.0], metadata=FACTORS)
    """Synthesis: factor of the difference that a tumour makes to the slice, beside the same region filled without one:
    below 1 gives faint lesions, above 1 conspicuous ones; [1, 1] leaves it as generated."""
    decoy_inpainting: bool = False
    """Synthesis: whether a tumour's slice gets a second place that is filled without a tumour, as its negative has one.
    Without it a filled place that holds no lesion tells a classifier that the slice is healthy."""
    init_from_context: bool = False
    """Whether a region's values start from the mean of what surrounds them, so that the generator learns the difference
    only: one generator then serves organs of different brightness."""
    balance_organs: bool = False
    """Whether every organ counts the same in the average of the sites' weights, and sites of one organ by their slices;
    otherwise all sites by their slices, and an organ with few of them is hardly heard."""
    finetune_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    """Steps that each site goes on alone, with its own slices, before it makes images; the result stays there. 0 in a
    private study, whatever is set here: they would have to be paid for."""
    noise: float = field(default=1.0, metadata=between(0, 1000))
    """Standard deviation of the noise inside the region."""
    batch_size: int = field(default=8, metadata=between(2, MOST_BATCH))
    discriminator_learning_rate: float = field(default=5e-5, metadata=RATE)
    """Slower than the generator: with the few patients of one site the discriminator soon knows each lesion by heart,
    and then drives contrasts away from the real ones (lesion PSNR fell over the last rounds at equal rates)."""
    diffaugment: str = field(default="", metadata=POLICY)
    """Changes of real and generated windows alike before the discriminator sees them: any of brightness, contrast,
    translation and cutout, separated by commas. Label map and region move along."""
    l1_weight: float = field(default=10.0, metadata=WEIGHT)
    """Of the mean absolute difference inside the region. A region covers about a fifth of a crop, so that 10 here
    weighs like 50 over the whole crop."""
    perceptual_weight: float = field(default=1.0, metadata=WEIGHT)
    gradient_penalty: float = field(default=0.0, metadata=WEIGHT)
    """On the discriminator; 0 leaves it out, 10 is usual with ``wasserstein``."""
