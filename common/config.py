"""The typed schema of an experiment, and the one place where Hydra is read.

Config enters at the edge: :func:`compose` turns a list of overrides into an :class:`Experiment`, :func:`from_yaml`
does the same with what the coordinator sent. Inside, functions take typed values.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.errors import ConfigError

ARMS = ("real", "real_synthetic", "synthetic", "copy_paste", "blob")


@dataclass
class ImageConfig:
    """What one slice is, everywhere in the study."""

    size: int = 64
    min_foreground: float = 0.15
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

    contrasts: list[str] = field(default_factory=lambda: ["flair"])
    """Its channels; every organ of a study has the same number of them, because the networks are shared."""
    min_tumour_pixels: int = 12
    """From how many tumour pixels on a slice counts as one with a tumour; also the smallest mask to learn from."""
    steps: PreprocessingConfig = field(default_factory=PreprocessingConfig)


@dataclass
class SplitConfig:
    """Patients by part: fractions that sum to 1, or exact counts."""

    train: float = 0.7
    validation: float = 0.2
    test: float = 0.1


@dataclass
class FederationConfig:
    """The round loop of one federated training (``local_steps`` 0: one pass over the site's slices)."""

    rounds: int = 6
    local_steps: int = 100
    share: str = "all"
    """``all`` networks cross the wire, or only the ``generator``."""


@dataclass
class StrategyConfig:
    name: str = "fedavg"
    proximal_mu: float = 0.0
    quorum: int = 2
    """Fewest valid replies for which a round counts."""
    deadline: float = 3600.0
    """Seconds to wait for a round's replies."""
    norm_bound: float = 5.0
    """An update is refused if its norm exceeds this many times the median of the previous round's updates."""


@dataclass
class ClassifierConfig:
    network: str = "small_resnet"
    width: int = 16
    pretrained: bool = False
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 1.0e-2
    federation: FederationConfig = field(default_factory=lambda: FederationConfig(rounds=4, local_steps=50))


@dataclass
class StudyConfig:
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    synthetic_ratio: float = 1.0
    """Synthetic slices for each real training slice."""
    bootstrap: int = 1000
    min_cell: int = 5
    """Fewest patients behind a figure that leaves a site; smaller cells are sent as null."""


@dataclass
class EvaluationConfig:
    features: str = "efficientnet_lite0"
    frechet_images: int = 96
    paired_images: int = 96
    gallery: int = 12
    device: str = "cpu"
    """Where the coordinator scores."""


@dataclass
class WeightsConfig:
    """Each a path, the word ``download``, or null (not needed by this study)."""

    imagenet_resnet50: str | None = None
    vgg19: str | None = None
    fid_inception: str | None = None


@dataclass
class ReferenceConfig:
    """The coordinator's public reference set of one organ: a folder with three parts of different patients."""

    reader: str = "brats"
    path: str | None = None
    """Null in simulation means: the demo cohort's."""
    options: dict[str, Any] = field(default_factory=dict)
    """Reader options."""


@dataclass
class SiteConfig:
    """One simulated site; it becomes that site's own ``site.yaml`` and is never sent."""

    reader: str = "brats"
    organ: str = "brain"
    path: str | None = None
    """Null means: this site's share of the demo cohort."""
    scanner: str = "a"
    roles: list[str] = field(default_factory=lambda: ["train", "evaluate"])
    share_site_model: bool = True
    declare_counts: bool = True
    device: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)
    """Reader options, e.g. ``tumour_classes`` for image_folder."""
    steps: dict[str, Any] = field(default_factory=dict)
    """Preprocessing that this site's data need and others' do not: of ``LOCAL_STEPS``, e.g. ``{skull_strip: true}``."""
    identifying_data: str = "refuse"
    """Studies whose headers may identify the person: ``refuse`` to take part, or ``quarantine`` them."""
    partition: str | None = None
    """The entry of ``partition`` that this site has a share of; set where the partition is made."""


@dataclass
class PartitionConfig:
    """One data set shared out over several simulated sites, patient by patient; they are called ``<name>-<number>``."""

    reader: str = "brats"
    organ: str = "brain"
    path: str | None = None
    """Null means: demo patients, as many as the sites need."""
    options: dict[str, Any] = field(default_factory=dict)
    scanner: str = "a"
    sites: int = 3
    scheme: str = "even"
    """``even``: equal numbers and equal shares of tumours. ``dirichlet``: the patients of each class (tumour, none) are
    shared out in proportions drawn from a Dirichlet distribution."""
    alpha: float = 0.5
    """Concentration of the Dirichlet distribution: the smaller, the more skewed."""
    least: int = 3
    """Fewest patients of a site."""


@dataclass
class CohortConfig:
    """Sizes of the demo cohort (see ``simulation/cohort``)."""

    seed: int = 7
    train: int = 8
    validation: int = 2
    test: int = 20
    external: int = 20
    reference: int = 16
    slices: int = 24
    tumour_share: float = 0.8
    workers: int = 0
    """Processes; 0 takes one a core."""


@dataclass
class SimulationConfig:
    engine: str = "in_process"
    threads: int = 0
    """Torch threads a site; 0 leaves torch's choice."""
    cache_dir: str = "cache"
    runs_dir: str = "runs"
    ray_address: str | None = None
    client_cpus: float = 1.0
    client_gpus: float = 0.0


@dataclass
class PrivacyConfig:
    mode: str = "none"


@dataclass
class Experiment:
    """One study, resolved. ``model`` is checked against the ``Config`` of ``common/training/<model.name>.py``."""

    name: str = "study"
    seed: int = 1
    image: ImageConfig = field(default_factory=ImageConfig)
    organs: dict[str, OrganConfig] = field(default_factory=dict)
    split: SplitConfig = field(default_factory=SplitConfig)
    model: dict[str, Any] = field(default_factory=dict)
    federation: FederationConfig = field(default_factory=FederationConfig)
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
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


# The schema stands first in the defaults list, so that every key exists (and is typed) before a YAML or an override
# touches it.
ConfigStore.instance().store(name="schema", node=Experiment)


_OPEN = ("site.", "partition.", "organs.", "reference.")
"""Mappings to which a command line may add an entry."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(overrides: list[str]) -> Experiment:
    """The experiment that ``overrides`` describe, e.g. ``["preset=demo", "seed=2"]``.

    Raises:
        ConfigError: for an unknown key, a value of the wrong type or a group that does not exist.
    """
    # Hydra cannot add an entry to a typed mapping, so a new site is merged in afterwards.
    new_sites = [item for item in overrides if item.startswith("+") and item.lstrip("+").startswith(_OPEN)]
    try:
        with initialize_config_module("configs", version_base="1.3"):
            composed = hydra_compose("config", overrides=[item for item in overrides if item not in new_sites])
        # A plain copy: "+key=value" opens the typed config that Hydra returns, and would slip through.
        tree = OmegaConf.create(OmegaConf.to_container(composed))
        for override in OverridesParser.create().parse_overrides(new_sites):
            OmegaConf.update(tree, override.key_or_group, override.value(), merge=True, force_add=True)
        return _typed(tree)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_plain(error)) from error


def from_yaml(text: str) -> Experiment:
    """The experiment in a resolved YAML text; the same checks as :func:`compose`."""
    try:
        tree = yaml.load(text, Loader=_Loader)  # the C build of the safe loader, ten times as fast
        return _typed(OmegaConf.create(tree))
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {str(error).splitlines()[0]}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_plain(error)) from error


def to_yaml(experiment: Experiment, *, leaving: bool = False) -> str:
    """YAML that :func:`from_yaml` reads back; with ``leaving`` without the sections that name local paths."""
    tree = OmegaConf.to_container(OmegaConf.structured(experiment))
    assert isinstance(tree, dict)
    if leaving:
        for section in LOCAL_SECTIONS:
            tree.pop(section)
    return str(OmegaConf.to_yaml(OmegaConf.create(tree)))


def model_config(experiment: Experiment) -> Any:
    """The model's own typed ``Config``, checked.

    Raises:
        ConfigError: if the model is unknown or a key is not one of its.
    """
    from common.training.trainer import trainer_module

    values = {key: value for key, value in experiment.model.items() if key != "name"}
    schema = OmegaConf.structured(trainer_module(str(experiment.model.get("name", ""))).Config)
    try:
        return OmegaConf.to_object(OmegaConf.merge(schema, values))
    except OmegaConfBaseException as error:
        raise ConfigError(f"model: {_plain(error)}") from error


def _typed(tree: Any) -> Experiment:
    experiment = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Experiment), tree))
    assert isinstance(experiment, Experiment)
    _share_out(experiment)
    _keep_used_organs(experiment)
    check(experiment)
    return experiment


def _share_out(experiment: Experiment) -> None:
    """Each partition becomes its sites; done once, so that a resolved configuration can be read back."""
    for name, partition in experiment.partition.items():
        for number in range(1, partition.sites + 1):
            site = f"{name}-{number:0{len(str(partition.sites))}d}"
            experiment.site.setdefault(
                site,
                SiteConfig(
                    reader=partition.reader,
                    organ=partition.organ,
                    path=partition.path,
                    options=dict(partition.options),
                    scanner=partition.scanner,
                    partition=name,
                ),
            )


def _keep_used_organs(experiment: Experiment) -> None:
    """Organs that no site of the study has are left out, and their reference sets with them."""
    if experiment.site:
        used = {site.organ for site in experiment.site.values()}
        experiment.organs = {organ: config for organ, config in experiment.organs.items() if organ in used}
    experiment.reference = {organ: ref for organ, ref in experiment.reference.items() if organ in experiment.organs}


def channels(experiment: Experiment) -> int:
    """Contrasts of a slice: the same number for every organ of the study."""
    return len(next(iter(experiment.organs.values())).contrasts)


def site_steps(organ: OrganConfig, own: dict[str, Any]) -> PreprocessingConfig:
    """The study's steps for an organ, with what one site does differently.

    Raises:
        ConfigError: for a step that all sites must share, or a value that does not fit.
    """
    for step in own:
        if step not in LOCAL_STEPS:
            raise ConfigError(f"steps.{step}: a site may choose {', '.join(LOCAL_STEPS)}; the study fixes the others")
    try:
        merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(organ.steps), own))
    except OmegaConfBaseException as error:
        raise ConfigError(f"steps: {_plain(error)}") from error
    assert isinstance(merged, PreprocessingConfig)
    return merged


def check(experiment: Experiment) -> None:
    """Refuses values that would fail only after hours.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """

    def require(holds: bool, key: str, value: object, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{key}={value}: {allowed}")

    size = experiment.image.size
    require(size >= 32 and size % 32 == 0, "image.size", size, "must be a multiple of 32")
    require(bool(experiment.organs), "organs", "{}", "a study needs at least one, e.g. organ=[brain]")
    counts = {organ: len(config.contrasts) for organ, config in experiment.organs.items()}
    require(
        len(set(counts.values())) == 1 and 0 not in counts.values(),
        "organs.*.contrasts",
        counts,
        "the networks are shared, so every organ needs the same number of contrasts",
    )
    for name, site in experiment.site.items():
        require(
            site.organ in experiment.organs, f"site.{name}.organ", site.organ, f"there is no organs.{site.organ} for it"
        )
        policy = site.identifying_data
        require(policy in ("refuse", "quarantine"), f"site.{name}.identifying_data", policy, "refuse or quarantine")
        site_steps(experiment.organs[site.organ], site.steps)
    for name, part in experiment.partition.items():
        require(part.sites >= 1, f"partition.{name}.sites", part.sites, "must be at least 1")
        require(part.scheme in ("even", "dirichlet"), f"partition.{name}.scheme", part.scheme, "even or dirichlet")
        require(part.alpha > 0, f"partition.{name}.alpha", part.alpha, "must be positive")
        require(part.least >= 1, f"partition.{name}.least", part.least, "must be at least 1")
    for arm in experiment.study.arms:
        require(arm in ARMS, "study.arms", arm, f"known arms are {', '.join(ARMS)}")
    for section, federation in (
        ("federation", experiment.federation),
        ("classifier.federation", experiment.classifier.federation),
    ):
        require(federation.rounds >= 1, f"{section}.rounds", federation.rounds, "must be at least 1")
        require(federation.share in ("all", "generator"), f"{section}.share", federation.share, "all or generator")
    strategy = experiment.strategy
    require(strategy.name in ("fedavg", "fedprox"), "strategy.name", strategy.name, "fedavg or fedprox")
    require(strategy.quorum >= 1, "strategy.quorum", strategy.quorum, "must be at least 1")
    require(strategy.deadline > 0, "strategy.deadline", strategy.deadline, "must be positive (seconds)")
    engine = experiment.simulation.engine
    require(engine in ("in_process", "ray"), "simulation.engine", engine, "in_process or ray")
    require(experiment.privacy.mode == "none", "privacy.mode", experiment.privacy.mode, "only none is available")
    parts = (experiment.split.train, experiment.split.validation, experiment.split.test)
    require(
        min(parts) >= 0 and (abs(sum(parts) - 1) < 1e-6 or all(p == int(p) for p in parts)),
        "split",
        parts,
        "three fractions that sum to 1, or three whole numbers of patients",
    )


def _plain(error: Exception) -> str:
    """The first useful line of a Hydra or OmegaConf error."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    lines = [line.rstrip(".") for line in lines if not line.startswith("To append")]
    return "; ".join(dict.fromkeys(lines[:3]))
