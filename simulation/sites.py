"""From the simulated sites of a configuration to data on disk and one ``site.yaml`` each."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from client.data.begun import CAME_LATER
from client.data.context import StudyContext
from client.data.joining import copies_of, join
from client.data.near_copies import joined
from client.data.preparation import prepare_in_all_contrasts
from client.data.site_data import SiteData
from client.privacy.roster import begin_roster
from client.site import PrivacySettings, Shares, SiteSettings, load_site, save_site
from common.figures.formatting import plural
from common.imaging.cohort import PreparedCohort
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.registry import build_reader
from common.imaging.remarks import unused_sentences
from common.imaging.split import part_sizes
from common.study.experiment import Experiment
from common.study.progress import StudyProgress
from common.study.simulated import SiteConfig
from common.system.files import write_bytes
from server.reference import PARTS, reference_part
from server.run_folder import RunFolder
from server.settings import StudySettings
from server.whole_study import notes, require_folds
from simulation.naming import naming
from simulation.partition import share_out
from simulation.places import Places, locate, told
from simulation.same_patients import require_own_patients
from simulation.site_checks import known_sites
from simulation.site_settings import PATIENTS, site_settings


def prepare_everything(folder: RunFolder, progress: StudyProgress) -> tuple[StudySettings, list[Path]]:
    """Makes the demo cohort if it is needed, prepares every site's data and the reference sets, writes the site files.

    Raises:
        DataError: naming the site whose data cannot be used.
    """
    experiment = folder.experiment
    cache = Path(experiment.simulation.cache_dir)
    for note in notes(experiment):
        progress.message(f"note: {note}")
    places = locate(experiment, progress)
    settings = StudySettings(
        experiment=experiment,
        name=folder.path.name,
        run_dir=folder.path,
        sites=len(experiment.site),
        reference=places.reference,
        cache_dir=cache / "prepared",
        progress=progress,
        engine=experiment.simulation.engine,
        demo_cohort=places.demo,
    )
    shares = _shares(experiment, places, progress)
    files = []
    cohorts = {}
    for name, site in sorted(experiment.site.items()):
        file = folder.path / "sites" / name / "site.yaml"
        # As the run began: who came since must move nobody from one site to another.
        if name in shares and not (file.parent / PATIENTS).exists():
            write_bytes(file.parent / PATIENTS, "".join(f"{patient}\n" for patient in shares[name]).encode())
        save_site(site_settings(experiment, name, site, places.sites[name], file.parent), file)
        data = SiteData.of(StudyContext(load_site(file), experiment, folder.path.name), told(progress, name))
        cohorts[name] = _fill_cache(data, progress)
        if experiment.privacy.mode != "none" or site.epsilon is not None:
            settled = _with_budget(data, site)
            begin_roster(settled.privacy_folder(), roster_key(experiment.seed, name))
            save_site(settled, file)
        files.append(file)
    require_own_patients(experiment, cohorts, progress)
    counted = {name: len(cohort.patients) for name, cohort in cohorts.items()}
    require_folds(experiment, [replace(site, patients=counted[site.name]) for site in known_sites(experiment)])
    for organ in settings.reference:
        for part in PARTS:
            reference_part(settings, organ, part, told(progress, f"reference {organ}, {part}"))
    return settings, files


def roster_key(seed: int, site: str) -> bytes:
    """Simulated patients are split by the study's seed, so that a study can be repeated; hospitals draw a key."""
    return hashlib.sha256(f"roster\x1f{seed}\x1f{site}".encode()).digest()


def _with_budget(data: SiteData, site: SiteConfig) -> SiteSettings:
    """The site's settings with a privacy budget; simulated, its number of patients is public by default.

    Who trains and who tests is decided by its roster, patient by patient: the study's sizes become shares.
    """
    settings = data.study.settings
    count = len(data.cohort.patients)
    test, validation, train = part_sizes(count, data.study.experiment.split)
    patients = site.patients if site.patients is not None else max(1, train)
    shares = Shares(train=train / count, validation=validation / count, test=test / count)
    epsilon = site.epsilon if site.epsilon is not None else data.study.experiment.privacy.epsilon
    # Sites that are simulated lie side by side and are hospitals of their own: each has its own register of patients.
    known = settings.folder / "privacy" / "patients"
    own = PrivacySettings(epsilon=epsilon, patients=patients, known=known, shares=shares)
    return settings.model_copy(update={"privacy": own})


def _fill_cache(data: SiteData, progress: StudyProgress) -> PreparedCohort:
    """Prepares a site's data now, with progress, so that the study starts with data that are known to be usable."""
    name = data.study.settings.name
    cohort = naming(name, partial(prepare_in_all_contrasts, data))
    if cohort.quarantine:
        progress.message(
            f"{name}: {plural(len(cohort.quarantine), 'study', 'studies')} quarantined beside "
            f"{plural(len(cohort.patients), 'usable patient')}; its report lists the reasons"
        )
    for sentence in unused_sentences(cohort.remarks):
        progress.message(f"{name}: {sentence}")
    if data.cohorts.later:
        progress.message(f"{name}: {CAME_LATER} ({', '.join(data.cohorts.later)}); a new run takes them in")
    if not cohort.patients_known:
        progress.message(f"{name}: its images name no patients, so its split is BY IMAGE, not by patient")
    return cohort


def _shares(experiment: Experiment, places: Places, progress: StudyProgress) -> dict[str, tuple[str, ...]]:
    """Site -> its patients, for the sites that share a data set."""
    shares: dict[str, tuple[str, ...]] = {}
    for name, partition in experiment.partition.items():
        organ = experiment.organs[partition.organ]
        contrasts = list(organ.contrasts)
        sites = [site for site, config in experiment.site.items() if config.partition == name]
        whole = naming(
            name,
            partial(
                prepare_cohort,
                build_reader(
                    partition.reader, organ=partition.organ, contrasts=contrasts, options=dict(partition.options)
                ),
                places.sites[sites[0]],
                cache_dir=Path(experiment.simulation.cache_dir) / "prepared",
                organ=partition.organ,
                contrasts=contrasts,
                image=experiment.image,
                preprocessing=organ.steps,
                progress=told(progress, name),
            ),
        )
        groups = joined(copies_of(whole)) if partition.duplicates == "join" else ()
        divided = share_out(join(whole, groups).tumour_by_patient, partition, experiment.seed)
        also = {names[0]: names for names in groups}
        divided = [tuple(one for name in share for one in also.get(name, (name,))) for share in divided]
        shares |= dict(zip(sites, divided, strict=True))
    return shares
