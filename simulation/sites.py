"""From the simulated sites of a configuration to data on disk and one ``site.yaml`` each."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

from client.site import SiteSettings, load_site, save_site
from common.config import Experiment, SiteConfig, WeightsConfig
from common.errors import ConfigError, DataError
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.reader import Reader
from common.imaging.readers.registry import build_reader
from common.progress import StudyProgress
from common.weights import needed_weights, resolve_weights
from server.reference import PARTS, reference_part
from server.settings import StudySettings
from simulation.cohort.build import build_cohort
from simulation.folders import RunFolder

Result = TypeVar("Result")

DOWNLOAD = "download"
"""Stands in place of a path where weights are to be fetched."""


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """The same experiment with every path made absolute: a run may be resumed from another folder."""

    def absolute(path: str | None) -> str | None:
        return path if path in (None, DOWNLOAD) else str(Path(str(path)).expanduser().resolve())

    made = deepcopy(experiment)
    for site in made.site.values():
        site.path = absolute(site.path)
    made.reference.path = absolute(made.reference.path)
    made.weights = WeightsConfig(**{name: absolute(path) for name, path in asdict(made.weights).items()})
    made.simulation.cache_dir = str(Path(made.simulation.cache_dir).expanduser().resolve())
    made.simulation.runs_dir = str(Path(made.simulation.runs_dir).expanduser().resolve())
    return made


def check_sites(experiment: Experiment) -> None:
    """Refuses, before anything is written, a study whose sites, model or weights cannot work.

    Raises:
        ConfigError, DataError: naming the site and the key.
    """
    if not experiment.site:
        raise ConfigError("there are no sites; choose a group such as site=brain")
    resolve_weights(experiment.weights, needed_weights(experiment))
    for name, site in experiment.site.items():
        if not experiment.preprocessing.get(site.organ):
            raise ConfigError(f"site.{name}.organ={site.organ}: there is no preprocessing.{site.organ}")
        reader = _reader(experiment, site)
        if site.path is not None:
            _naming(name, partial(reader.find, Path(site.path)))


def prepare_everything(folder: RunFolder, progress: StudyProgress) -> tuple[StudySettings, list[Path]]:
    """Makes the demo cohort if it is needed, prepares every site's data and the reference set, writes the site files.

    Raises:
        DataError: naming the site whose data cannot be used.
    """
    experiment = folder.experiment
    cache = Path(experiment.simulation.cache_dir)
    wanted = {name: site for name, site in experiment.site.items() if site.path is None}
    demo = bool(wanted) or experiment.reference.path is None
    paths = {name: Path(site.path) for name, site in experiment.site.items() if site.path}
    reference = Path(experiment.reference.path) if experiment.reference.path else None
    if demo:
        progress.message("making the demo cohort, or finding it in the cache")
        made = build_cohort(
            experiment.cohort,
            experiment.site,
            cache,
            told(progress, "demo cohort"),
        )
        paths |= {name: made.sites[name] for name in wanted}
        reference = reference or made.reference
    assert reference is not None
    settings = StudySettings(
        experiment=experiment,
        name=folder.path.name,
        run_dir=folder.path,
        sites=len(experiment.site),
        reference=reference,
        cache_dir=cache / "prepared",
        progress=progress,
        engine=experiment.simulation.engine,
        demo_cohort=demo,
    )
    files = []
    for name, site in sorted(experiment.site.items()):
        file = folder.path / "sites" / name / "site.yaml"
        save_site(_site_settings(experiment, name, site, paths[name], file.parent, cache / "prepared"), file)
        _prepare_site(experiment, load_site(file), progress)
        files.append(file)
    for part in PARTS:
        reference_part(settings, part)
    return settings, files


def _prepare_site(experiment: Experiment, settings: SiteSettings, progress: StudyProgress) -> None:
    """Fills the cache now, with progress, so that the study starts with data that are known to be usable."""
    contrasts = list(experiment.image.contrasts)
    cohort = _naming(
        settings.name,
        lambda: prepare_cohort(
            build_reader(settings.reader, organ=settings.organ, contrasts=contrasts, options=settings.options),
            settings.path,
            cache_dir=settings.cache_dir,
            organ=settings.organ,
            contrasts=contrasts,
            image=experiment.image,
            preprocessing=experiment.preprocessing[settings.organ],
            progress=told(progress, settings.name),
        ),
    )
    if cohort.quarantine:
        progress.message(
            f"{settings.name}: {len(cohort.quarantine)} of {len(cohort.quarantine) + len(cohort.patients)} studies "
            "are quarantined; its report lists the reasons"
        )
    if not cohort.patients_known:
        progress.message(f"{settings.name}: its images name no patients, so its split is BY IMAGE, not by patient")


def _site_settings(
    experiment: Experiment, name: str, site: SiteConfig, path: Path, folder: Path, cache: Path
) -> SiteSettings:
    return SiteSettings.model_validate(
        {
            "name": name,
            "reader": site.reader,
            "organ": site.organ,
            "path": path,
            "options": dict(site.options),
            "roles": list(site.roles),
            "device": site.device,
            "threads": experiment.simulation.threads,
            "share_site_model": site.share_site_model,
            "declare_counts": site.declare_counts,
            "demo_cohort": site.path is None,
            "folder": folder,
            "folder_per_run": False,
            "cache_dir": cache,
            "weights": asdict(experiment.weights),
        }
    )


def told(progress: StudyProgress, name: str) -> Callable[[int, int, str], None]:
    """Tells every tenth of the patients: a line each would drown the rest where lines are all there is."""

    def tell(done: int, total: int, patient: str) -> None:
        if done == total or done % max(1, total // 10) == 0:
            progress.site(name, f"{done} of {total} patients ready")

    return tell


def _naming(site: str, action: Callable[[], Result]) -> Result:
    """Runs ``action``; an error about data names the site."""
    try:
        return action()
    except DataError as error:
        raise DataError(f"{site}: {error}") from error


def _reader(experiment: Experiment, site: SiteConfig) -> Reader:
    return build_reader(
        site.reader, organ=site.organ, contrasts=list(experiment.image.contrasts), options=dict(site.options)
    )
