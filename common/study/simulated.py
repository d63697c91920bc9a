"""The part of an experiment's schema that only a simulation reads: its sites, how data are shared out over them, the
demo cohort, and how it runs. None of it is ever sent."""

from dataclasses import dataclass, field
from typing import Any

from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.readers.registry import READERS
from common.study.allowed import DEVICE, SEED, between, one_of
from common.system.paths import PLACE, Use

EPSILON = between(0, 1e15, above=True)
READER = one_of(*READERS)


@dataclass
class SiteConfig:
    """One simulated site; it becomes that site's own ``site.yaml`` and is never sent."""

    reader: str = field(default="brats", metadata=READER)
    organ: str = field(default="brain", metadata=one_of(*ORGANS))
    path: str | None = field(default=None, metadata={PLACE: Use.DATA})
    """Null means: this site's share of the demo cohort."""
    scanner: str = "a"
    roles: list[str] = field(
        default_factory=lambda: ["train", "evaluate"], metadata=one_of("train", "evaluate", once=True)
    )
    share_site_model: bool = True
    declare_counts: bool = True
    device: str = field(default="cpu", metadata=DEVICE)
    compile: bool = False
    """Whether its networks are compiled before they train (``torch.compile``)."""
    prefetch: int | None = field(default=None, metadata=between(0, 1000))
    """Batches drawn ahead of the training; null means 2 on a GPU and 0 on a CPU."""
    options: dict[str, Any] = field(default_factory=dict)
    """Reader options, e.g. ``tumour_classes`` for image_folder."""
    contrasts: list[str] | None = field(default=None, metadata=one_of(*CONTRASTS, once=True))
    """The contrasts that this site holds; null means: those of its organ in this study, and no others."""
    steps: dict[str, Any] = field(default_factory=dict)
    """Preprocessing that this site's data need and others' do not: of ``LOCAL_STEPS``, e.g. ``{skull_strip: true}``."""
    identifying_data: str = field(default="refuse", metadata=one_of("refuse", "quarantine"))
    """Studies whose headers may identify the person: ``refuse`` to take part, or ``quarantine`` them."""
    duplicates: str = field(default="refuse", metadata=one_of("refuse", "join"))
    """Patients that show the same slices: ``refuse`` where equal ones would train and test, or ``join`` them into one.
    """
    epsilon: float | None = field(default=None, metadata=EPSILON)
    """Its privacy budget; null means: what the study may spend, if it is private at all."""
    patients: int | None = field(default=None, metadata=between(1, 10_000_000))
    """The number of training patients that it declares public; null means: the true one."""
    partition: str | None = None
    """The entry of ``partition`` that this site has a share of; set where the partition is made."""


@dataclass
class PartitionConfig:
    """One data set shared out over several simulated sites, patient by patient; they are called ``<name>-<number>``."""

    reader: str = field(default="brats", metadata=READER)
    organ: str = field(default="brain", metadata=one_of(*ORGANS))
    path: str | None = field(default=None, metadata={PLACE: Use.DATA})
    """Null means: demo patients, as many as the sites need."""
    options: dict[str, Any] = field(default_factory=dict)
    scanner: str = "a"
    sites: int = field(default=3, metadata=between(1, 1000))
    duplicates: str = field(default="refuse", metadata=one_of("refuse", "join"))
    """As of a site; with ``join`` such patients go to one site together, and count as one there."""
    scheme: str = field(default="even", metadata=one_of("even", "dirichlet"))
    """``even``: equal numbers and equal shares of tumours. ``dirichlet``: the patients of each class (tumour, none) are
    shared out in proportions drawn from a Dirichlet distribution."""
    alpha: float = field(default=0.5, metadata=between(1e-3, 1e6))
    """Concentration of the Dirichlet distribution: the smaller, the more skewed."""
    least: int = field(default=3, metadata=between(1, 1_000_000))
    """Fewest patients of a site."""


@dataclass
class CohortConfig:
    """Sizes of the demo cohort (see ``simulation/cohort``)."""

    seed: int = field(default=7, metadata=SEED)
    train: int = field(default=8, metadata=between(0, 10_000))
    validation: int = field(default=2, metadata=between(0, 10_000))
    test: int = field(default=20, metadata=between(0, 10_000))
    external: int = field(default=20, metadata=between(0, 10_000))
    reference: int = field(default=16, metadata=between(0, 10_000))
    slices: int = field(default=24, metadata=between(8, 1000))
    tumour_share: float = field(default=0.8, metadata=between(0, 1))
    workers: int = field(default=0, metadata=between(0, 1000))
    """Processes; 0 takes one a core."""


@dataclass
class SimulationConfig:
    engine: str = field(default="in_process", metadata=one_of("in_process", "ray"))
    threads: int = field(default=0, metadata=between(0, 1024))
    """Torch threads a site; 0 leaves torch's choice."""
    cache_dir: str = field(default="cache", metadata={PLACE: Use.WORK})
    runs_dir: str = field(default="runs", metadata={PLACE: Use.WORK})
    ray_address: str | None = None
    client_cpus: float = field(default=1.0, metadata=between(0, 1024, above=True))
    client_gpus: float = field(default=0.0, metadata=between(0, 64))
