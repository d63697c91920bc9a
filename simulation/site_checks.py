"""What is refused of a simulated study before anything is written: what ``server/whole_study.py`` refuses, and what
only whoever has the sites' folders and devices can see."""

from functools import partial
from pathlib import Path

from pydantic import ValidationError

from common.errors import ConfigError
from common.imaging.readers.reader import Reader
from common.imaging.readers.registry import build_reader
from common.study.allowed import refused, shown_value
from common.study.config import contrasts_by_organ
from common.study.experiment import Experiment
from common.study.experiment_paths import require_usable_paths
from common.study.simulated import SiteConfig
from common.study.weights import needed_weights, resolve_weights
from common.system.devices import device_problem
from server.whole_study import KnownSite, require_whole
from simulation.cohort.build import patients_of
from simulation.naming import naming
from simulation.places import check_demo_patients, demo_sites
from simulation.same_patients import require_own_folders
from simulation.site_settings import site_settings
from simulation.trainings import require_private_study


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
    check_demo_patients(experiment)
    for name, site in experiment.site.items():
        _check_settings(experiment, name, site)
        reader = _reader(experiment, name, site)
        if site.path is not None and site.partition is None:
            naming(f"site.{name}.path", partial(reader.find, Path(site.path)))


def _reader(experiment: Experiment, name: str, site: SiteConfig) -> Reader:
    """A site's reader.

    Raises:
        ConfigError: naming the key of its options.
    """
    try:
        return build_reader(
            site.reader,
            organ=site.organ,
            contrasts=list(experiment.organs[site.organ].contrasts),
            options=dict(site.options),
        )
    except ConfigError as error:
        section = f"site.{name}" if site.partition is None else f"partition.{site.partition}"
        raise ConfigError(f"{section}.options={shown_value(site.options)}: {error}") from error


def _check_settings(experiment: Experiment, name: str, site: SiteConfig) -> None:
    """Makes a site's own settings once, for nothing but to see that they can be made.

    Raises:
        ConfigError: naming the key.
    """
    if site.partition is not None and site.partition not in experiment.partition:
        raise refused(
            f"site.{name}.partition", site.partition, "is set where a partition is shared out; write +partition.NAME"
        )
    try:
        site_settings(experiment, name, site, Path(site.path or "."), Path())
    except ValidationError as error:
        problems = [(".".join(map(str, one["loc"])), one["msg"], one["input"]) for one in error.errors()]
        key, message, value = problems[0]
        raise refused(f"site.{name}.{key}", value, message) from error


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
