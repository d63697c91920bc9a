"""The patients of ``augmentation.py``: a pool to draw training sets from, fixed test patients, an external centre."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common.imaging.cohort import PreparedCohort
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.registry import build_reader
from common.imaging.slices import Slices
from common.imaging.split import everything_is_test, split_patients
from common.seeding import numpy_generator
from common.study.config import compose
from common.study.experiment import Experiment, SplitConfig
from common.study.experiment_paths import with_absolute_paths
from common.study.simulated import CohortConfig, SiteConfig
from simulation.cohort.build import build_cohort

POOL, TEST = 48, 40


@dataclass(frozen=True)
class Hospitals:
    """Who takes part.

    Attributes:
        sites: those that train, and what each is.
        external: centres that no training sees.
        names: under which the demo cohort makes their patients, where it is not the site's own name.
    """

    sites: Mapping[str, SiteConfig]
    external: Mapping[str, SiteConfig]
    names: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> dict[str, SiteConfig]:
        """Both."""
        return {**self.sites, **self.external}


def _alike(organ: str, reader: str) -> Hospitals:
    """Three hospitals with the same organ, each with its own scanner, and an external centre with another."""
    sites = {f"{organ}-{scanner}": SiteConfig(reader=reader, organ=organ, scanner=scanner) for scanner in "abc"}
    outside = SiteConfig(reader=reader, organ=organ, scanner="external", roles=["evaluate"])
    return Hospitals(sites, {f"{organ}-external": outside})


_BRAIN = SiteConfig(reader="brats", organ="brain", scanner="a")
_OUTSIDE = {"external": SiteConfig(reader="brats", organ="brain", scanner="b", roles=["evaluate"])}
_NAMES = {"brain": "hospital1", "lung": "hospital3", "liver": "hospital4", "external": "external-brain"}

HOSPITALS = {
    "organs": Hospitals(
        {
            "brain": _BRAIN,
            "lung": SiteConfig(reader="lidc", organ="lung", scanner="a"),
            "liver": SiteConfig(reader="hcc_tace", organ="liver", scanner="a"),
        },
        _OUTSIDE,
        _NAMES,
    ),
    "brain": Hospitals({"brain": _BRAIN}, _OUTSIDE, _NAMES),
    "brains": _alike("brain", "brats"),
    "lungs": _alike("lung", "lidc"),
    "livers": _alike("liver", "hcc_tace"),
}
"""One hospital an organ, the brain's alone, or three of one organ."""


@dataclass(frozen=True)
class Site:
    """One site's patients.

    Attributes:
        cohort: all of them.
        pool: names of those that training sets are drawn from; empty for an external centre.
        test: the slices of the others, always the same.
    """

    cohort: PreparedCohort
    pool: tuple[str, ...]
    test: Slices

    def draw(self, name: str, patients: int, number: int) -> Slices:
        """The slices of training set ``number``: so many patients of the pool, with its share of tumours."""
        random = numpy_generator("augmentation", name, number)
        tumour = dict(self.cohort.tumour_by_patient)
        with_tumour = [one for one in self.pool if tumour[one]]
        without = [one for one in self.pool if not tumour[one]]
        held = round(patients * len(with_tumour) / len(self.pool))
        chosen = [*random.permutation(with_tumour)[:held], *random.permutation(without)[: patients - held]]
        return self.cohort.slices([str(one) for one in chosen])


@dataclass(frozen=True)
class Data:
    """What every arm is trained and tested on.

    Attributes:
        experiment: the demo's configuration with the further overrides.
        sites: those that train.
        external: those that only test.
    """

    experiment: Experiment
    sites: Mapping[str, Site]
    external: Mapping[str, Site]

    @staticmethod
    def load(overrides: Sequence[str], hospitals: Hospitals) -> "Data":
        """From the demo cohort, made where it is missing."""
        experiment = with_absolute_paths(compose(["preset=demo", "model=[cgan]", *overrides]))
        cache = Path(experiment.simulation.cache_dir)
        sizes = CohortConfig(train=POOL, validation=0, test=TEST, external=TEST, reference=0, workers=1)
        made = {
            name: _site(experiment, sizes, cache, hospitals.names.get(name, name), site)
            for name, site in hospitals.all().items()
        }
        external = {name: made.pop(name) for name in hospitals.external}
        return Data(experiment, made, external)

    def training_set(self, patients: Sequence[int], number: int) -> dict[str, Slices]:
        """Set ``number``: of so many patients at each site, or at all of them."""
        counts = patients if len(patients) > 1 else list(patients) * len(self.sites)
        both = zip(self.sites.items(), counts, strict=True)
        return {name: site.draw(name, count, number) for (name, site), count in both}

    def tests(self, site: str) -> dict[str, Slices]:
        """Where a classifier of ``site`` is tested: at home, and at the external centre of its organ."""
        organ = self.sites[site].cohort.organ
        found = {site: self.sites[site].test}
        return found | {name: one.test for name, one in self.external.items() if one.cohort.organ == organ}


def _site(experiment: Experiment, sizes: CohortConfig, cache: Path, name: str, site: SiteConfig) -> Site:
    folder = build_cohort(sizes, {name: site}, cache, organs=()).sites[name]
    organ = experiment.organs[site.organ]
    cohort = prepare_cohort(
        build_reader(site.reader, organ=site.organ, contrasts=organ.contrasts, options={}),
        folder,
        cache_dir=cache,
        organ=site.organ,
        contrasts=organ.contrasts,
        image=experiment.image,
        preprocessing=organ.steps,
        min_tumour_pixels=organ.min_tumour_pixels,
    )
    patients = cohort.tumour_by_patient
    if site.roles == ["evaluate"]:
        split = everything_is_test(patients)
    else:
        split = split_patients(patients, SplitConfig(train=POOL, validation=0, test=TEST))
    test = cohort.slices(split.test)
    # In memory: every classifier looks at all of them.
    held = [replace(one, images=np.array(one.images), labels=np.array(one.labels)) for one in test.patients]
    return Site(cohort, split.train, replace(test, patients=held))
