"""Which files privacy hangs on is derived from what a node loads: none of those can be missing."""

import ast
from pathlib import Path

import pytest

from client.approval.comparison import differences, hashes, is_privacy_file, release_files
from common.system.bundle import PACKAGES

ROOT = Path(__file__).parents[3]
ENTRANCES = ("client/app.py", "client/approval/guarded_node.py", "client/cli.py")
"""What Flower, the supervisor and the operator start at a hospital."""


def imported(file: str) -> set[str]:
    """Our modules that a file names in any import, at its top or inside a function, as files."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{one.name}" for one in node.names)})
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] in PACKAGES:
            above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
            found.update(f"{one}/__init__.py" for one in above)
            found.add(f"{'/'.join(parts)}.py")
    return {one for one in found if (ROOT / one).is_file()}


def loaded() -> set[str]:
    seen: set[str] = set()
    new = set(ENTRANCES)
    while new:
        seen |= new
        new = set().union(*map(imported, new)) - seen
    return seen


def test_all_that_a_node_loads_is_a_privacy_file() -> None:
    found = loaded()
    assert len(found) > 150
    assert found >= {
        "client/data/site_data.py",
        "common/protocol/records.py",
        "common/training/build.py",
        "client/privacy/gradients.py",
    }
    assert [name for name in sorted(found) if not is_privacy_file(name)] == []


def test_every_file_of_the_release_that_is_not_the_coordinators_is_one() -> None:
    release = set(release_files())
    assert {name for name in release if not is_privacy_file(name)} == {
        name for name in release if name.startswith("server/")
    }
    assert is_privacy_file("simulation/run.py")
    for name in ("data/site_data", "training/proxies", "hello/introduction", "training/rounds"):
        assert is_privacy_file(f"client/{name}.py")
        assert f"client/{name}.py" in release
    assert all(is_privacy_file(name) for name in release if name.startswith("client/privacy/"))


@pytest.mark.parametrize(
    "name",
    [
        "client/privacy/new.py",
        "client/new.py",
        "common/new.py",
        # A package is found before a module of the same name.
        "common/records/__init__.py",
        "configs/new.yaml",
        "pyproject.toml",
    ],
)
def test_a_new_file_is_one_without_a_change_here(name: str) -> None:
    release = hashes(release_files())
    assert name in differences({**release, name: "changed"}, release).privacy
