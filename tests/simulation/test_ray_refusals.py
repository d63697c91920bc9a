"""A Ray cluster that cannot be used is refused at once, by the key that names it; Flower would wait for ever."""

import socket
from typing import Any

import pytest
import ray

from common.errors import ConfigError
from common.study.config import compose
from common.study.simulated import SimulationConfig
from simulation.ray_cluster import ATTEMPTS, ray_cluster
from simulation.site_checks import check_sites


def refused(**values: object) -> str:
    with pytest.raises(ConfigError) as error, ray_cluster(SimulationConfig(engine="ray", **values)):  # type: ignore[arg-type]
        pass
    return str(error.value)


def dead_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_it_is_refused_before_a_folder_is_made() -> None:
    overrides = ["preset=demo", "site=brain", "simulation.engine=ray", f"simulation.ray_address={dead_address()}"]
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        check_sites(compose([*overrides, "models.cgan.perceptual_weight=0"]))


def test_an_address_at_which_nothing_answers_is_named() -> None:
    address = dead_address()
    said = refused(ray_address=address)
    assert said.startswith(f"simulation.ray_address={address}: no Ray cluster answers there")
    assert "ray start --head" in said


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (
            ConnectionError("Could not find any running Ray instance.\nMore."),
            "running Ray instance; start one with",
        ),
        (RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.0"), "the same versions of Python"),
    ],
)
def test_what_ray_objects_to_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, words: str
) -> None:
    def init(**_: object) -> None:
        raise raised

    monkeypatch.setattr("simulation.ray_cluster.ray.init", init)
    said = refused(ray_address="auto")
    assert said.startswith("simulation.ray_address=auto: ")
    assert words in said
    assert "\n" not in said


def test_a_cluster_of_this_machine_that_is_slow_to_start_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    init, tried = ray.init, []

    def slow_at_first(**options: Any) -> Any:
        tried.append(options["address"])
        if len(tried) < ATTEMPTS:
            raise RuntimeError("Timed out waiting for file session/port; More.")
        return init(**options)

    monkeypatch.setattr("simulation.ray_cluster.ray.init", slow_at_first)
    with ray_cluster(SimulationConfig(engine="ray")):
        assert ray.is_initialized()
    assert tried == ["local"] * ATTEMPTS
    assert not ray.is_initialized()


def test_one_that_never_starts_is_told_with_the_engine_that_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise RuntimeError("Timed out waiting for file session/port.\nMore.")

    monkeypatch.setattr("simulation.ray_cluster.ray.init", init)
    said = refused()
    assert said.startswith("simulation.engine=ray: Ray does not start on this machine (Timed out waiting for file")
    assert "simulation.engine=in_process" in said
    assert "\n" not in said


def test_a_site_that_fits_on_no_machine_is_refused_with_what_there_is() -> None:
    said = refused(client_gpus=1000.0)
    assert said.startswith("simulation.client_cpus=1, simulation.client_gpus=1000: no machine has that much")
    assert "CPUs" in said
