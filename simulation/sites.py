"""From the simulated sites of a configuration to data on disk and one ``site.yaml`` each."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from client.privacy.roster import begin_roster
from client.session import Session
from client.site import PrivacySettings, Shares, SiteSettings, load_site, save_site
from common.config import contrasts_by_organ
from common.devices import device_problem
from common.errors import ConfigError, DataError
from common.experiment import Experiment, SiteConfig
from common.experiment_paths import require_usable_paths
from common.files import write_bytes
from common.imaging.cohort import PreparedCohort
from common.imaging.joining import copies_of, join
from common.imaging.near_copies import joined
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.registry import build_reader
from common.imaging.remarks import unused_sentences
from common.imaging.split import part_sizes
from common.progress import StudyProgress
from common.report.formatting import plural
from common.training.trainer import Exchange
from common.weights import needed_weights, resolve_weights
from common.whole_study import KnownSite, notes, require_folds, require_whole
from server.reference import PARTS, reference_part
from server.run_folder import RunFolder
from server.settings import StudySettings
from simulation.cohort.build import patients_of
from simulation.partition import share_out
from simulation.places import Places, demo_sites, locate, told
from simulation.same_patients import require_own_folders, require_own_patients
from simulation.trainings import require_private_study

Result = TypeVar("Result")

PATIENTS = "patients.txt"
"""Beside a ``site.yaml``: the patients that are this site's share of a data set."""


def check_sites(experiment: Experiment) -> None:
    """Refuses, before anything is written, a study whose sites, model or weights cannot work.

    Raises:
        ConfigError, DataError: naming the site and the key.
    """
    if not experiment.site:
        raise ConfigError("there are no sites; choose a group such as site=brain")
    require_whole(experiment, known_sites(experiment))
    require_usable_paths(experiment)
    require_own_folders(experiment)
    resolve_weights(experiment.weights, needed_weights(experiment))
    require_private_study(experiment)
    if experiment.study.centralised and experiment.simulation.ray_address is not None:
        raise ConfigError("study.centralised=true: the sites' slices lie on other machines with simulation.ray_address")
    if experiment.simulation.engine == "ray" and experiment.simulation.ray_address is not None:
        # Imported here: Ray takes a second, and most studies do without.
        from simulation.ray_cluster import require_answer

        require_answer(experiment.simulation.ray_address)
    _check_devices(experiment)
    for name, site in experiment.site.items():
        reader = build_reader(
            site.reader,
            organ=site.organ,
            contrasts=list(experiment.organs[site.organ].contrasts),
            options=dict(site.options),
        )
        if site.path is not None and site.partition is None:
            _naming(f"site.{name}.path", partial(reader.find, Path(site.path)))


def known_sites(experiment: Experiment) -> list[KnownSite]:
    """What is known of the simulated sites before their data are read; of demo patients also how many there are."""
    contrasts = contrasts_by_organ(experiment)
    demo = {name: patients_of(experiment.cohort, site) for name, site in demo_sites(experiment).items()}
    return [
        KnownSite(
            name,
            site.organ,
            tuple(site.contrasts or contrasts[site.organ]),
            trains="train" in site.roles,
            patients=demo.get(name),
        )
        for name, site in experiment.site.items()
    ]


def _check_devices(experiment: Experiment) -> None:
    """Refuses devices that are not there.

    Raises:
        ConfigError: naming the key.
    """
    devices = {"evaluation.device": experiment.evaluation.device}
    # On a cluster the sites run on other machines; each looks at its own device when it is asked for the first time.
    if experiment.simulation.ray_address is None:
        devices |= {f"site.{name}.device": site.device for name, site in experiment.site.items()}
    for key, device in devices.items():
        if problem := device_problem(device):
            raise ConfigError(f"{key}={device}: {problem}")


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
        if name in shares:
            write_bytes(file.parent / PATIENTS, "".join(f"{patient}\n" for patient in shares[name]).encode())
        save_site(_site_settings(experiment, name, site, places.sites[name], file.parent), file)
        session = Session(load_site(file), experiment, folder.path.name, report_preparation=told(progress, name))
        cohorts[name] = _fill_cache(session, progress)
        if experiment.privacy.mode != "none" or site.epsilon is not None:
            settled = _with_budget(session, site)
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


def _with_budget(session: Session, site: SiteConfig) -> SiteSettings:
    """The site's settings with a privacy budget; simulated, its number of patients is public by default.

    Who trains and who tests is decided by its roster, patient by patient: the study's sizes become shares.
    """
    settings = session.settings
    count = len(session.cohort.patients)
    test, validation, train = part_sizes(count, session.experiment.split)
    patients = site.patients if site.patients is not None else max(1, train)
    shares = Shares(train=train / count, validation=validation / count, test=test / count)
    epsilon = site.epsilon if site.epsilon is not None else session.experiment.privacy.epsilon
    # Sites that are simulated lie side by side and are hospitals of their own: each has its own register of patients.
    known = settings.folder / "privacy" / "patients"
    own = PrivacySettings(epsilon=epsilon, patients=patients, known=known, shares=shares)
    return settings.model_copy(update={"privacy": own})


def _fill_cache(session: Session, progress: StudyProgress) -> PreparedCohort:
    """Prepares a site's data now, with progress, so that the study starts with data that are known to be usable."""
    name = session.settings.name
    cohort = _naming(name, lambda: session.cohort)
    for model in session.experiment.models if "train" in session.settings.roles else []:
        view = session.view(model)
        if view is not None:
            _naming(name, partial(session.cohort_in, view.contrasts))
    if cohort.quarantine:
        progress.message(
            f"{name}: {plural(len(cohort.quarantine), 'study', 'studies')} quarantined beside "
            f"{plural(len(cohort.patients), 'usable patient')}; its report lists the reasons"
        )
    for sentence in unused_sentences(cohort.remarks):
        progress.message(f"{name}: {sentence}")
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
        whole = _naming(
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


def _site_settings(experiment: Experiment, name: str, site: SiteConfig, path: Path, folder: Path) -> SiteSettings:
    return SiteSettings.model_validate(
        {
            "name": name,
            "min_cell": experiment.study.min_cell,
            "reader": site.reader,
            "organ": site.organ,
            "path": path,
            "options": dict(site.options),
            "contrasts": site.contrasts,
            "patients": folder / PATIENTS if site.partition else None,
            "steps": dict(site.steps),
            "identifying_data": site.identifying_data,
            "duplicates": site.duplicates,
            "roles": list(site.roles),
            "device": site.device,
            "compile": site.compile,
            "prefetch": site.prefetch,
            "threads": experiment.simulation.threads,
            "share_site_model": site.share_site_model,
            # Nothing leaves this machine: no exchange and no size of an update gives anything away, and a study by
            # proxies cannot be simulated without a release.
            "may_release_synthetic": True,
            "allowed_exchanges": list(Exchange),
            "min_update_patients": 1,
            "min_update_slices": 1,
            "declare_counts": site.declare_counts,
            "demo_cohort": site.path is None,
            "folder": folder,
            "folder_per_run": False,
            "cache_dir": Path(experiment.simulation.cache_dir) / "prepared",
            "weights": asdict(experiment.weights),
        }
    )


def _naming(site: str, action: Callable[[], Result]) -> Result:
    """Runs ``action``; an error about data names the site."""
    try:
        return action()
    except DataError as error:
        raise DataError(f"{site}: {error}") from error
