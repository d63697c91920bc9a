"""Hands a study to the running SuperLink: the bundle is the installed release, the run's folder says the rest."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError, StudyError
from common.system.bundle import stage_bundle
from common.system.files import write_bytes
from common.system.outside import quoted, uncoloured
from server.operation.flower_home import SUPERLINK, FlowerHome
from server.operation.superlink import answers
from server.provision.provision import Places
from server.provision.question_key import read_question_key


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
        ConfigError: if there is no key to sign questions with.
        StudyError: if Flower does not take it.
    """
    if home.places.registry.read().questions is None:
        raise ConfigError(
            f"{home.places.questions}: there is no key yet to sign questions to hospitals with; oncofed-server "
            "provision makes it, and says which sites need a new kit"
        )
    read_question_key(home.places.questions)
    bundle = folder / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    stage_bundle(bundle)
    # The key's place, and not the key: a run config is kept and handed on.
    values = {
        "output": str(folder),
        "expected": ",".join(expected),
        "question-key": str(home.places.questions.resolve()),
        "registry": str(home.places.registry.path.resolve()),
    }
    run_config = folder / "run.toml"
    write_bytes(run_config, "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()).encode())
    command: list[str | Path] = [Path(sys.executable).with_name("flwr"), "run", bundle, SUPERLINK]
    command += ["--run-config", run_config, "--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=home.environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StudyError(f"{folder}: Flower does not take the study; {error}") from error
    run = _result_of(done.stdout).get("run-id")
    if done.returncode != 0 or run is None:
        raise StudyError(f"{folder}: Flower does not take the study; {_last(done.stdout + done.stderr)}")
    return str(run)


def stop(home: FlowerHome, flower_run: str) -> None:
    """Stops a run; what it finished stays on the disk.

    Raises:
        StudyError: if Flower does not.
    """
    answer = home.asks("POST", f"/oncofed/stop/{flower_run}")
    if answer is None or answer.get("stopped") is not True:
        raise StudyError("Flower does not stop the run: it does not know it, or it has ended; oncofed-server status")


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


def _result_of(output: str) -> dict[str, object]:
    """The JSON object in what ``flwr`` printed. It reports some errors there with exit code 0."""
    start, end = output.find("{"), output.rfind("}")
    try:
        value = json.loads(output[start : end + 1])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"flwr said: {quoted(uncoloured(lines[-1]), 300) if lines else 'nothing'}"
