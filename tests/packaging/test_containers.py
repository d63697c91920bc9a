"""The images cannot be built in a test: what can be said of their descriptions without building is said here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = ROOT / "packaging" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = {"node": "oncofed-client", "coordinator": "oncofed-server"}


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and what follows it, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line[:1] != " ")]


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name, rest in instructions():
        if name == "FROM":
            found[rest.split(" AS ")[1]] = []
        if found:
            list(found.values())[-1].append((name, rest))
    return found


def service(target: str) -> dict[str, Any]:
    compose = yaml.safe_load((ROOT / "packaging" / f"compose.{target}.yaml").read_text())
    (only,) = compose["services"].values()
    return dict(only)


def test_a_linter_finds_nothing_in_the_dockerfile() -> None:
    run(BIN / "hadolint", DOCKERFILE)


@pytest.mark.parametrize("target", TARGETS)
def test_compose_files_fit_the_specification(target: str) -> None:
    file = ROOT / "packaging" / f"compose.{target}.yaml"
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_its_command_as_a_user_who_owns_nothing_of_it(target: str) -> None:
    said = stages()[target]
    users = [rest for name, rest in said if name == "USER"]
    assert users[-1] == "10001:10001"
    ends = dict(said)
    assert ends["ENTRYPOINT"] == f'["{TARGETS[target]}"]'
    assert TARGETS[target] in PROJECT["scripts"]
    assert ends["CMD"].startswith('["start", ')
    assert f'CMD ["{TARGETS[target]}", "health", ' in ends["HEALTHCHECK"]
    # After the last switch of the user nothing is installed any more.
    assert "RUN" not in [name for name, _ in said[said.index(("USER", "10001:10001")) :]]


def test_compilers_stay_in_the_stage_that_is_thrown_away_and_versions_are_pinned() -> None:
    found = stages()
    assert [name for name, said in found.items() if "build-essential" in str(said)] == ["build"]
    assert {name for name, _ in instructions()} & {"ADD"} == set()
    bases = [said[0][1].split(" AS ")[0] for said in found.values()]
    assert set(bases) == {"python:${PYTHON}", "base"}
    (default,) = [rest for name, rest in instructions() if name == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=3\.11-slim-[a-z]+", default)
    installs = re.findall(r"pip install ([^&\n]*)", "\n".join(rest for _, rest in found["build"]))
    assert len(installs) == 3
    assert all("-c constraints.txt" in options or "--no-deps" in options for options in installs)


def test_only_the_sources_are_sent_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!")}
    packages = {"client", "common", "configs", "server", "simulation"}
    assert allowed == packages | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in allowed)


@pytest.mark.parametrize("target", TARGETS)
def test_a_container_may_do_no_more_than_it_must(target: str) -> None:
    own = service(target)
    assert own["user"] == "10001:10001"
    assert own["read_only"] is True
    assert own["cap_drop"] == ["ALL"]
    assert "cap_add" not in own
    assert "privileged" not in own
    assert own["security_opt"] == ["no-new-privileges:true"]
    assert own["restart"] == "unless-stopped"
    assert own["deploy"]["resources"]["limits"]["memory"]
    assert own["build"]["target"] == target
    assert own["image"] == f"oncofed-{target}:{PROJECT['version']}"
    assert (ROOT / "packaging" / own["build"]["context"] / own["build"]["dockerfile"]).resolve() == DOCKERFILE
    for volume in own["volumes"]:
        if isinstance(volume, dict):
            assert volume["read_only"] is True
        else:
            assert volume == "state:/var/lib/oncofed"


def test_a_node_publishes_nothing_and_a_coordinator_one_port() -> None:
    assert {"ports", "expose", "network_mode"} & set(service("node")) == set()
    assert service("coordinator")["ports"] == ["443:443"]
    devices = service("node")["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
