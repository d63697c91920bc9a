"""What is installed is pinned, and what is shipped is complete."""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def everything_needed() -> set[str]:
    """Names of all distributions that the project, its tests and its build need, directly or not."""
    project = PROJECT["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"]["dev"], *PROJECT["build-system"]["requires"]]
    queue = [(Requirement(text), "") for text in waiting]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *sorted(requirement.extras)):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                queue += [(Requirement(text), wanted) for text in distribution(name).requires or []]
            except PackageNotFoundError:
                continue
    return {name for name, _ in seen}


def test_everything_that_is_installed_with_the_project_is_pinned():
    assert everything_needed() - set(pins()) == set()


def test_the_pins_are_the_versions_in_use():
    pinned = pins()
    differing = {name: distribution(name).version for name in everything_needed()}
    assert {name: version for name, version in differing.items() if pinned.get(name) != version} == {}


def test_the_wheel_ships_the_five_packages_and_nothing_else():
    found = find_packages(str(ROOT), include=PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
    assert {name.partition(".")[0] for name in found} == {"client", "common", "configs", "server", "simulation"}


def test_every_template_style_sheet_and_configuration_is_shipped():
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        shipped = {file for pattern in patterns for file in (ROOT / package).glob(pattern)}
        needed = {f for f in (ROOT / package).rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc")}
        assert needed == shipped
    listed = set(PROJECT["tool"]["setuptools"]["package-data"])
    for package in {"client", "common", "configs", "server", "simulation"} - listed:
        assert [f for f in (ROOT / package).rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc")] == []
