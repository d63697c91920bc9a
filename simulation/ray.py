"""Many sites in parallel on one machine or a cluster: the same apps through Flower's Ray simulation."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.simulation import run_simulation

from client.app import make_app
from common.errors import ConfigError
from server.settings import StudySettings
from simulation.ray_study import RayStudy


def site_by_partition(site_files: Sequence[str], context: Context) -> Path:
    """The ``site.yaml`` of a simulated node: Flower gives it nothing but its partition number."""
    return Path(site_files[int(context.node_config["partition-id"])])


def run_on_ray(settings: StudySettings, site_files: Sequence[Path]) -> None:
    """Runs the study on Ray; the paths travel inside the ClientApp, so no message has to carry one.

    Raises:
        ConfigError: if there is no cluster, or no place on it for a site.
        KeyboardInterrupt: the study has ended then, and can be resumed.
    """
    try:
        # Imported here: it takes a second, and most runs do without.
        from simulation.ray_cluster import ray_cluster
    except ImportError as error:
        raise ConfigError("simulation.engine=ray needs Ray: pip install 'flwr[simulation]'") from error
    config = settings.experiment.simulation
    client_app = make_app(partial(site_by_partition, [str(file) for file in site_files]))
    study = RayStudy(settings)
    with study.ended_before_ray(), ray_cluster(config):
        run_simulation(
            server_app=study.app(),
            client_app=client_app,
            num_supernodes=len(site_files),
            backend_name="ray",
            backend_config={"client_resources": {"num_cpus": config.client_cpus, "num_gpus": config.client_gpus}},
        )
