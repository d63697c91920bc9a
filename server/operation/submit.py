"""Hands a study to the running SuperLink: the bundle is the installed release, the run's folder says the rest."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from common.bundle import stage_bundle
from common.errors import ConfigError, StudyError
from common.files import write_bytes
from server.operation.flower_home import SUPERLINK, FlowerHome
from server.operation.superlink import answers
from server.provision.provision import Places
from server.provision.registrations import Finished, result_of


def require_server(home: FlowerHome, file: Path) -> None:
    """Refuses to go on where the federation's server does not run.

    Raises:
        ConfigError: saying how to start it.
    """
    if not home.authority.exists() or not answers(home):
        raise ConfigError(
            f"the server does not answer at 127.0.0.1:{home.port}; start it first, in another terminal or as a "
            f"service: oncofed-server start {file}"
        )


def submit(home: FlowerHome, folder: Path, expected: Sequence[str]) -> str:
    """Starts the study whose ``config.yaml`` lies in ``folder``; returns Flower's number of the run.

    Raises:
        StudyError: if Flower does not take it.
    """
    bundle = folder / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    stage_bundle(bundle)
    registry = str(home.places.registry.path.resolve())
    values = {"output": str(folder), "expected": ",".join(expected), "registry": registry}
    run_config = folder / "run.toml"
    write_bytes(run_config, "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()).encode())
    done = home.runner()(["run", str(bundle), SUPERLINK, "--run-config", str(run_config), "--format", "json"])
    run = result_of(done).get("run-id")
    if done.code != 0 or run is None:
        raise StudyError(f"{folder}: Flower does not take the study; {_last(done)}")
    return str(run)


def stop(home: FlowerHome, flower_run: str) -> None:
    """Stops a run; what it finished stays on the disk.

    Raises:
        StudyError: if Flower does not.
    """
    done = home.runner()(["stop", flower_run, SUPERLINK, "--format", "json"])
    if done.code != 0 or result_of(done).get("success") is not True:
        raise StudyError(f"Flower does not stop the run; {_last(done)}")


def enrolled_sites(places: Places, wanted: Sequence[str]) -> tuple[str, ...]:
    """The sites that a study waits for: those that are named, or all that have joined.

    Raises:
        ConfigError: naming one that has not joined.
    """
    registry = places.registry.read()
    joined = sorted(site for site, record in registry.sites.items() if record.state == "enrolled")
    for site in wanted:
        if site not in joined:
            state = registry.sites[site].state if site in registry.sites else "not in federation.yaml"
            raise ConfigError(f"--sites {site}: has not joined ({state}); joined: {', '.join(joined) or 'none'}")
    if not joined:
        raise ConfigError("no site has joined yet; oncofed-server enrolments lists them")
    return tuple(sorted(set(wanted))) or tuple(joined)


def _last(done: Finished) -> str:
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    return f"flwr said: {lines[-1][:300] if lines else 'nothing'}"
