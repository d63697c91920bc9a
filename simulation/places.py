"""Where each site's data and each organ's reference set lie; the demo cohort is made where nothing is named."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import ConfigError
from common.study.config import check
from common.study.experiment import Experiment
from common.study.progress import Event, Listener, StudyProgress
from common.study.simulated import CohortConfig, SiteConfig
from simulation.cohort.build import REFERENCE_PARTS, CohortFolders, build_cohort, check_demo, patients_of
from simulation.cohort.ct.anatomy import fetch_ct_anatomies
from simulation.cohort.ct.download import AnatomyUnavailableError

DEMO_MRI = "brain"
"""The organ whose demo patients need no download."""

LEAST_REFERENCE = 2
"""Patients of each part of a reference set: fewer cannot be divided to be compared with each other."""

DEMO = "demo cohort"
"""What its making is called on the terminal."""


@dataclass(frozen=True)
class Places:
    """Folders of data.

    Attributes:
        sites: site -> folder of its patients; sites that share a data set have one folder.
        reference: organ -> folder of the coordinator's reference set.
        demo: whether any of it is the demo cohort's.
    """

    sites: dict[str, Path]
    reference: dict[str, Path]
    demo: bool


def without_unavailable_demo(experiment: Experiment, progress: StudyProgress) -> Experiment:
    """The experiment without the demo sites whose anatomy cannot be fetched; each is named on the terminal.

    Raises:
        AnatomyUnavailableError: if no site would be left, or sites with data of their own lack a reference set that
            only the demo could give.
    """
    lacking = {name: site for name, site in experiment.site.items() if site.path is None and site.organ != DEMO_MRI}
    others = {site.organ for name, site in experiment.site.items() if name not in lacking}
    reference = {organ for organ, one in experiment.reference.items() if one.path is None and organ != DEMO_MRI}
    if not lacking and not reference:
        return experiment
    try:
        fetch_ct_anatomies(Path(experiment.simulation.cache_dir), told(progress, "CT anatomy"))
        return experiment
    except AnatomyUnavailableError as error:
        if not others or reference & others:
            raise
        progress.message(str(error))
    progress.message(f"the demo runs without {', '.join(lacking)}")
    left = deepcopy(experiment)
    left.site = {name: site for name, site in left.site.items() if name not in lacking}
    shared = {site.partition for site in left.site.values()}
    left.partition = {name: partition for name, partition in left.partition.items() if name in shared}
    left.organs = {organ: config for organ, config in left.organs.items() if organ in others}
    left.reference = {organ: config for organ, config in left.reference.items() if organ in others}
    check(left)
    return left


def locate(experiment: Experiment, progress: StudyProgress) -> Places:
    """Finds every folder, and makes the demo cohort (or finds it in the cache) where a path is null.

    Raises:
        ConfigError: if there are data of an organ, but no reference set that could be made or found for it.
        DataError: if the demo cohort cannot be made.
    """
    sites = {name: Path(site.path) for name, site in experiment.site.items() if site.path}
    reference = {organ: Path(config.path) for organ, config in experiment.reference.items() if config.path}
    wanted = {name: site for name, site in experiment.site.items() if name not in sites}
    lacking = [organ for organ in experiment.organs if organ not in reference]
    if not wanted and not lacking:
        return Places(sites, reference, demo=False)
    progress.message("making the demo cohort, or finding it in the cache")
    cache = Path(experiment.simulation.cache_dir)
    shared = _shared_folders(experiment, progress)
    sites |= {name: shared.sites[site.partition] for name, site in wanted.items() if site.partition in shared.sites}
    alone = {name: site for name, site in wanted.items() if name not in sites}
    made = build_cohort(experiment.cohort, alone, cache, told(progress, DEMO), organs=lacking)
    for organ in lacking:
        if organ not in made.reference:
            raise ConfigError(f"reference.{organ}.path: there is no demo reference set of the {organ}; name a folder")
    return Places(sites | made.sites, reference | {organ: made.reference[organ] for organ in lacking}, demo=True)


def check_demo_patients(experiment: Experiment) -> None:
    """Refuses a study whose demo patients could not be made, or of whom there would be too few.

    Raises:
        ConfigError: naming the key.
    """
    alone, shared = demo_sites(experiment), {name: site for name, (_, site) in _demo_partitions(experiment).items()}
    organs = [organ for organ in _demo_references(experiment) if organ in experiment.organs]
    check_demo(experiment.cohort, alone, organs)
    check_demo(experiment.cohort, shared, (), "partition")
    for name, count in demo_sizes(experiment).items():
        least = len(REFERENCE_PARTS) * LEAST_REFERENCE if name not in alone | shared else 1
        if count < least:
            keys = (
                "cohort.reference" if least > 1 else "cohort.train, cohort.validation, cohort.test or cohort.external"
            )
            raise ConfigError(
                f"{keys}: {name} would have {count} demo patients; it needs at least {least}, so raise it"
            )


def demo_folders(experiment: Experiment, progress: StudyProgress) -> CohortFolders:
    """The demo cohort of an experiment alone, as :func:`demo_sizes` counts it; what has no patient is left out."""
    sizes = demo_sizes(experiment)
    sites = {name: site for name, site in demo_sites(experiment).items() if sizes[name]}
    organs = [organ for organ in _demo_references(experiment) if experiment.cohort.reference]
    shared = _shared_folders(experiment, progress)
    cache = Path(experiment.simulation.cache_dir)
    made = build_cohort(experiment.cohort, sites, cache, told(progress, DEMO), organs=organs)
    shares = {name: folder for name, folder in shared.sites.items() if sizes[name]}
    return CohortFolders(made.sites | shares, made.reference, made.organs | shared.organs)


def demo_sizes(experiment: Experiment) -> dict[str, int]:
    """Patients of the demo cohort: of each site, of sites that share a data set together, of each reference set."""
    cohort = experiment.cohort
    sizes = {name: patients_of(cohort, site) for name, site in demo_sites(experiment).items()}
    for name, (times, site) in _demo_partitions(experiment).items():
        sizes[name] = patients_of(_larger(cohort, times), site)
    references = dict.fromkeys(_demo_references(experiment), len(REFERENCE_PARTS) * cohort.reference)
    return sizes | {f"reference set of the {organ}": count for organ, count in references.items()}


def demo_sites(experiment: Experiment) -> dict[str, SiteConfig]:
    """Sites that get demo patients of their own."""
    return {name: site for name, site in experiment.site.items() if site.path is None and site.partition is None}


def _demo_partitions(experiment: Experiment) -> dict[str, tuple[int, SiteConfig]]:
    """For each data set that several sites share, and that no path names: how many sites, and whose patients."""
    found = {}
    for name, one in experiment.partition.items():
        sharing = [site for site in experiment.site.values() if site.partition == name and site.path is None]
        if sharing:
            found[name] = len(sharing), SiteConfig(reader=one.reader, organ=one.organ, scanner=one.scanner)
    return found


def _demo_references(experiment: Experiment) -> list[str]:
    """Organs whose reference set no path names."""
    return [organ for organ, one in experiment.reference.items() if one.path is None]


def _shared_folders(experiment: Experiment, progress: StudyProgress) -> CohortFolders:
    """Demo patients of partitions, under their names."""
    cache, folders = Path(experiment.simulation.cache_dir), CohortFolders({}, {})
    for name, (times, site) in _demo_partitions(experiment).items():
        made = build_cohort(_larger(experiment.cohort, times), {name: site}, cache, told(progress, DEMO), organs=())
        folders = CohortFolders(folders.sites | made.sites, {}, folders.organs | made.organs)
    return folders


def _larger(cohort: CohortConfig, times: int) -> CohortConfig:
    return replace(cohort, train=cohort.train * times, validation=cohort.validation * times, test=cohort.test * times)


def told(progress: StudyProgress, name: str) -> Listener:
    """Tells every tenth of the patients: a line each would drown the rest where lines are all there is."""

    def tell(event: Event) -> None:
        done, total = event.values["done"], event.values["total"]
        if done == total or done % max(1, total // 10) == 0:
            progress.site(name, f"{done} of {total} patients ready")

    return tell
