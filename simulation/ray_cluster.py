"""The Ray cluster that sites run on: one of this machine alone, or one that is there already.

Flower connects too, but waits for ever for a cluster that is not there, and for one that has no place for a site.
"""

import logging
import math
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from common.errors import ConfigError
from common.protocol.enrolment import split_address
from common.study.simulated import SimulationConfig

PATIENCE = 10.0
"""Seconds that a cluster has to answer at its address."""

ATTEMPTS = 3
"""How often a cluster of this machine alone is started before the study is given up."""

log = logging.getLogger(__name__)


@contextmanager
def ray_cluster(config: SimulationConfig) -> Iterator[None]:
    """Connects to Ray, for as long as the context lasts; a cluster that was there already stays.

    Raises:
        ConfigError: naming the key, if there is no cluster, it is another version's, or no site fits on any machine.
    """
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
    # The same code on every machine: Flower's own connection does the same.
    options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
    if config.ray_address is None:
        # Whatever RAY_ADDRESS says: only the key is asked.
        options["address"] = "local"
        options["num_cpus"] = max(math.ceil(config.client_cpus), os.cpu_count() or 1)
    else:
        require_answer(config.ray_address)
        options["address"] = config.ray_address
    if config.ray_address is None:
        _start(options)
    else:
        _join(config.ray_address, options)
    try:
        _require_place(config)
        yield
    finally:
        ray.shutdown()


def _start(options: dict[str, Any]) -> None:
    """Starts a cluster of this machine alone. Ray waits for its processes for a set time, which a machine that is busy
    for a moment misses: it is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _init(options)
        except (ConnectionError, RuntimeError) as error:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise ConfigError(
                    f"simulation.engine=ray: Ray does not start on this machine ({_first_line(error)}, {ATTEMPTS} "
                    "times); it may be too busy, and simulation.engine=in_process needs no Ray"
                ) from error
            log.warning("Ray did not start (%s); trying again", _first_line(error))
        else:
            return


def _join(address: str, options: dict[str, Any]) -> None:
    try:
        _init(options)
    except ConnectionError as error:
        raise ConfigError(f"simulation.ray_address={address}: {_first_line(error)}; {_START}") from error
    except RuntimeError as error:
        raise ConfigError(
            f"simulation.ray_address={address}: Ray refuses to join ({_first_line(error)}); every machine needs the "
            "same versions of Python and Ray"
        ) from error


def _init(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        # A tip about accelerators, each time, also where there is none.
        warnings.simplefilter("ignore", FutureWarning)
        ray.init(**options)


_START = "start one with ray start --head, and see docs/researcher.md"


def require_answer(address: str) -> None:
    """Refuses an address at which nothing answers; ``auto`` and other words are left to Ray.

    Raises:
        ConfigError: naming the key.
    """
    try:
        host, port = split_address(address)
    except ValueError:
        return
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise ConfigError(
            f"simulation.ray_address={address}: no Ray cluster answers there ({error.strerror or error}); {_START}"
        ) from error


def _require_place(config: SimulationConfig) -> None:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    for machine in machines:
        if machine.get("CPU", 0) >= config.client_cpus and machine.get("GPU", 0) >= config.client_gpus:
            return
    most = {kind: max((machine.get(kind, 0) for machine in machines), default=0) for kind in ("CPU", "GPU")}
    raise ConfigError(
        f"simulation.client_cpus={config.client_cpus:g}, simulation.client_gpus={config.client_gpus:g}: no machine has "
        f"that much for a site; the largest have {most['CPU']:g} CPUs and {most['GPU']:g} GPUs"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".:") if str(error).strip() else type(error).__name__
