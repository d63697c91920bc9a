"""The typed schema of an experiment: one dataclass a section, every key with its default and its meaning."""

from dataclasses import dataclass, field
from typing import Any

from common.imaging.names import CONTRASTS
from common.study.allowed import ALLOWED, DEVICE, MOST_STEPS, RATE, SEED, WIDTH, YEAR, Allowed, between, one_of
from common.study.simulated import EPSILON, READER, CohortConfig, PartitionConfig, SimulationConfig, SiteConfig
from common.system.paths import PLACE, Use

ARMS = ("real", "real_synthetic", "synthetic", "copy_paste", "blob", "local_generator")

PLAIN_ARMS = ("copy_paste", "blob")
"""Arms whose images need no generator: what it must beat."""

MIXING_ARMS = (*PLAIN_ARMS, "local_generator")
"""Arms whose images hold more of a patient than can be paid for by patient: a lesion or a mask in a slice of another,
or what a generator learnt of all of them without noise."""

FEATURES = ("efficientnet_lite0", "inception_v3")
"""Networks whose features sets of images are compared by."""

MOST_RUNS = 100
"""Trainings of one model with different seeds; a site plans for each of them before the first."""

MOST_BATCH = 4096
"""Slices in one step."""

LEAST_COMPARED = 4
"""Images in a comparison of sets: two in each half of the reference patients, where these are evenly many."""

LEAST_CLIP, MOST_CLIP = 1e-6, 1e6
"""Bounds of the clipping norm. Noise is at least 0.3 of it: far from where single precision loses digits (1e-38), also
squared in an optimiser's moments, and after a division by any number of patients."""


@dataclass
class ImageConfig:
    """What one slice is, everywhere in the study."""

    size: int = field(default=64, metadata=between(32, 2048))
    min_foreground: float = field(default=0.15, metadata=between(0, 1, below=True))
    """Slices with a smaller share of foreground pixels (after cropping to the patient) are left out."""


@dataclass
class PreprocessingConfig:
    """The steps from a patient as stored to slices, in the order in which they run. A step that is off costs nothing.

    Each is a function of its own below ``common/imaging/steps``.
    """

    skull_strip: bool = False
    """MRI: take off the skull (deepbet, on T1 or the first contrast); for studies that are not stripped already."""
    bias_field: bool = False
    """MRI: N4."""
    spacing: list[float] | None = None
    """Resample to these millimetres along (z, y, x); 0 keeps an axis, null keeps all."""
    crop: str = "foreground"
    """What the slices show: ``foreground`` (the head or body), ``organ`` (a box around it), or ``each_lung``."""
    margin: float = 10.0
    """Millimetres kept around the organ's box."""
    median: int = 0
    """Radius in pixels of an in-plane median filter."""
    window: list[float] = field(default_factory=lambda: [-2.5, 4.5])
    """Fixed window mapped to [0, 1]: z-scores for MRI, HU for CT."""
    stretch: list[float] | None = None
    """Percentiles of what is inside that become 0 and 1 (per patient), e.g. [1, 99]."""
    equalise: bool = False
    """Histogram equalisation of what is inside."""


@dataclass
class OrganConfig:
    """What a slice of one organ shows and how it is made: the same at every site and in the reference set."""

    contrasts: list[str] = field(default_factory=lambda: ["flair"], metadata=one_of(*CONTRASTS, once=True))
    """Its channels; every organ of a study has the same number of them, because the networks are shared. A GAN that
    translates between contrasts looks at those that its own configuration names."""
    min_tumour_pixels: int = field(default=12, metadata=between(1, 1_000_000))
    """From how many tumour pixels on a slice counts as one with a tumour; also the smallest mask to learn from."""
    steps: PreprocessingConfig = field(default_factory=PreprocessingConfig)


@dataclass
class SplitConfig:
    """Patients by part: fractions that sum to 1, or exact counts."""

    train: float = field(default=0.7, metadata=between(0, 1_000_000))
    validation: float = field(default=0.2, metadata=between(0, 1_000_000))
    test: float = field(default=0.1, metadata=between(0, 1_000_000))


@dataclass
class FederationConfig:
    """The round loop of one federated training (``local_steps`` 0: one pass over the site's slices).

    ``federation`` holds for every GAN of the study; ``models.<name>.federation`` changes keys of it for one of them.
    """

    rounds: int = field(default=6, metadata=between(1, 100_000))
    local_steps: int = field(default=100, metadata=between(0, MOST_STEPS))
    share: str = field(default="all", metadata=one_of("all", "generator"))
    """``all`` networks cross the wire, or only the ``generator``."""


@dataclass
class StrategyConfig:
    name: str = field(default="fedavg", metadata=one_of("fedavg", "fedprox"))
    proximal_mu: float = field(default=0.0, metadata=between(0, 1e6))
    quorum: int = field(default=2, metadata=between(1, 100_000))
    """Fewest valid replies for which a round counts."""
    deadline: float = field(default=3600.0, metadata=between(0, YEAR, above=True))
    """Seconds to wait for a round's replies."""
    gathering: float = field(default=600.0, metadata=between(0, YEAR))
    """Seconds that sites have at the beginning of a study to connect."""
    returning: float = field(default=900.0, metadata=between(0, YEAR))
    """Seconds that a site whose connection broke is waited for; within the deadline it is given its work again."""
    norm_bound: float = field(default=5.0, metadata=between(1, 1e9))
    """An update is refused if its norm exceeds this many times the median of the previous round's updates."""


@dataclass
class ClassifierConfig:
    network: str = field(default="small_resnet", metadata=one_of("small_resnet", "resnet50"))
    width: int = field(default=16, metadata=WIDTH)
    """Channels after the first convolution of a small_resnet."""
    pretrained: bool = False
    """Whether resnet50 starts from ImageNet weights; there are none for small_resnet."""
    batch_size: int = field(default=16, metadata=between(1, MOST_BATCH))
    learning_rate: float = field(default=1.5e-3, metadata=RATE)
    weight_decay: float = field(default=1.0e-2, metadata=between(0, 1000))
    logit_adjustment: bool = True
    """Whether probabilities are those at the site's own share of tumour slices; its batches are half tumours either
    way. With privacy they are not told how many a site has."""
    federation: FederationConfig = field(default_factory=lambda: FederationConfig(rounds=4, local_steps=50))


@dataclass
class StudyConfig:
    arms: list[str] = field(default_factory=lambda: [*ARMS[:5]], metadata=one_of(*ARMS))
    """``local_generator`` is left out unless asked for: it trains a GAN at every site alone, beside the federated one.
    """
    generator: str | None = None
    """The GAN, of ``models``, whose images the arms are trained on; null means the first that can label what it makes.
    """
    synthetic_ratio: float = field(default=1.0, metadata=between(0, 100, above=True))
    """Synthetic slices for each real training slice; also how often one is drawn for a real one."""
    folds: int = field(
        default=0,
        metadata={ALLOWED: Allowed("0 (none), or from 2 to 100", lambda folds: folds == 0 or 2 <= folds <= 100)},
    )
    """Folds of a cross-validation by patient among those that do not test; the GAN is trained for each. 0: none."""
    runs: int = field(default=1, metadata=between(1, MOST_RUNS))
    """How often the study is repeated with other seeds and other folds."""
    each_generator: bool = False
    """Whether the arms are also trained on the images of the study's other GANs that can label what they make."""
    curve: list[int] = field(default_factory=list, metadata=between(2, 1_000_000))
    """Numbers of training patients at which the study is repeated, GAN included: where do synthetic images help?"""
    ratios: list[float] = field(default_factory=list, metadata=between(0, 100, above=True))
    """Further ratios of synthetic to real slices at which the study is repeated."""
    most_patients: int = field(default=0, metadata=between(0, 1_000_000))
    """Scarcity: most training patients of a site, in every trial; 0: all."""
    most_tumour_patients: int = field(default=0, metadata=between(0, 1_000_000))
    """Imbalance: most training patients with a tumour among them; 0: all."""
    federated_arms: list[str] = field(default_factory=list)
    """Which of the arms are also trained in federation, ``real`` among them; empty: all."""
    centralised: bool = False
    """Simulation only: also train the classifiers on the slices of all sites in one place."""
    bootstrap: int = field(default=1000, metadata=between(1, 100_000))
    min_cell: int = field(default=5, metadata=between(1, 1_000_000))
    """Fewest patients behind a figure that leaves a site; smaller cells are sent as null. A site may ask for more."""


@dataclass
class EvaluationConfig:
    features: str = field(default="efficientnet_lite0", metadata=one_of(*FEATURES))
    frechet_images: int = field(default=96, metadata=between(LEAST_COMPARED, 1_000_000))
    paired_images: int = field(default=96, metadata=between(1, 1_000_000))
    gallery: int = field(default=12, metadata=between(1, 1000))
    device: str = field(default="cpu", metadata=DEVICE)
    """Where the coordinator scores."""
    compile: bool = False
    """Whether the coordinator compiles the generators that it scores; a site decides for itself."""


@dataclass
class WeightsConfig:
    """Each a path, the word ``download``, or null (not needed by this study)."""

    imagenet_resnet50: str | None = field(default=None, metadata={PLACE: Use.FILE})
    vgg19: str | None = field(default=None, metadata={PLACE: Use.FILE})
    fid_inception: str | None = field(default=None, metadata={PLACE: Use.FILE})


@dataclass
class ReferenceConfig:
    """The coordinator's public reference set of one organ: a folder with three parts of different patients."""

    reader: str = field(default="brats", metadata=READER)
    path: str | None = field(default=None, metadata={PLACE: Use.DATA})
    """Null in simulation means: the demo cohort's."""
    options: dict[str, Any] = field(default_factory=dict)
    """Reader options."""


@dataclass
class PrivacyConfig:
    """Differential privacy with the patient as its unit; how much a site may spend in all stands in its site.yaml."""

    mode: str = field(default="none", metadata=one_of("none", "patient_dp"))
    """``none``, or ``patient_dp``."""
    epsilon: float = field(default=8.0, metadata=EPSILON)
    """What the whole study may spend of a site's budget: all its models, runs and arms together."""
    expected_batch_size: int = field(default=16, metadata=between(1, 10_000))
    """Expected number of patients in a step."""
    slices_per_patient: int = field(default=4, metadata=between(1, 10_000))
    """Slices that a patient brings to a step; the patient's gradient is their mean."""
    dp_step_fraction: float = field(default=1.0, metadata=between(0, 1, above=True))
    """Share of the configured local steps that is taken, because each of them is paid for."""
    max_grad_norm: float = field(default=1.0, metadata=between(LEAST_CLIP, MOST_CLIP))
    """Largest norm of one patient's gradient."""
    grad_sample_mode: str = field(default="auto", metadata=one_of("auto", "loop", "vmap"))
    """How gradients of single patients are computed: ``loop``, ``vmap``, or ``auto``, whichever the first round finds
    to be faster on its machine."""
    rates: dict[str, float] = field(default_factory=dict, metadata=RATE)
    """Factors on learning rates where steps are private, by ``<model>/<optimiser>``: what suits public pre-training and
    plain training may be too fast for gradients that are mostly noise."""
    scores: str = field(default="exact", metadata=one_of("exact", "noised"))
    """Figures on test patients: ``exact``, or ``noised`` and paid for; a site may insist on noise."""
    reserve: float = field(default=0.05, metadata=between(0, 1, below=True))
    """Share of ``epsilon`` that is not planned for, so that a round which is repeated after a crash can be paid."""


@dataclass
class PretrainingConfig:
    """Steps on the coordinator's own public part of the reference set before the first round; they cost no privacy."""

    gan_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    classifier_steps: int = field(default=0, metadata=between(0, MOST_STEPS))


@dataclass
class Experiment:
    """One study, resolved.

    ``models`` holds the GANs by name. Each entry names its ``family``, a module of ``common/training`` whose ``Config``
    its other keys are checked against, beside ``federation`` (:class:`FederationConfig`) and ``runs`` (how many
    trainings with different seeds; as many as the study has runs, if it is not said).
    """

    name: str = "study"
    seed: int = field(default=1, metadata=SEED)
    image: ImageConfig = field(default_factory=ImageConfig)
    organs: dict[str, OrganConfig] = field(default_factory=dict)
    split: SplitConfig = field(default_factory=SplitConfig)
    models: dict[str, Any] = field(default_factory=dict)
    federation: FederationConfig = field(default_factory=FederationConfig)
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    reference: dict[str, ReferenceConfig] = field(default_factory=dict)
    site: dict[str, SiteConfig] = field(default_factory=dict)
    partition: dict[str, PartitionConfig] = field(default_factory=dict)
    cohort: CohortConfig = field(default_factory=CohortConfig)
    simulation: SimulationConfig = field(default_factory=SimulationConfig)


LOCAL_SECTIONS = ("site", "partition", "cohort", "simulation", "reference", "weights")
"""Sections that hold paths of one machine; they stay on it."""

LOCAL_STEPS = ("skull_strip", "bias_field", "spacing", "median")
"""Preprocessing that a site may choose for itself, because it depends on how its images were made."""
