"""Every path that a site.yaml names, with everything that a path can be: one sentence with the key, no traceback."""

import os
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from tiny import TINY, write_site

from client.cli import main
from client.site import PrivacySettings, SiteSettings, load_site
from client.site_paths import uses_of
from common.errors import ConfigError
from common.system.paths import Use

KEYS = {
    **uses_of(SiteSettings),
    **{f"privacy.{key}": use for key, use in uses_of(PrivacySettings).items()},
}


@pytest.mark.parametrize("section", [SiteSettings, PrivacySettings])
def test_every_field_that_holds_a_path_is_marked_with_its_use(section: type[BaseModel]) -> None:
    def holds_a_path(annotation: object) -> bool:
        return annotation is Path or any(map(holds_a_path, typing.get_args(annotation)))

    paths = {key for key, field in section.model_fields.items() if holds_a_path(field.annotation)}
    assert paths
    assert paths <= set(uses_of(section))


def a_file(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("no folder")
    return str(tmp_path / "file")


def a_folder(tmp_path: Path) -> str:
    (tmp_path / "folder").mkdir()
    return str(tmp_path / "folder")


def below_a_file(tmp_path: Path) -> str:
    return f"{a_file(tmp_path)}/further/down"


def too_long(tmp_path: Path) -> str:
    return "x" * 300


def nobodys_home(tmp_path: Path) -> str:
    return "~nobody-of-this-name/data"


def with_nul(tmp_path: Path) -> str:
    return "a\0b"


def a_circle(tmp_path: Path) -> str:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    return str(tmp_path / "one")


def empty(tmp_path: Path) -> str:
    return ""


def a_pipe(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def site_with(tmp_path: Path, key: str, value: object) -> Path:
    """A sound site.yaml in which one key has another value."""
    data = tmp_path / "data"
    if not data.exists():
        write_site(data, 8, seed=3)
    values: dict[str, typing.Any] = {
        "name": "hospital1",
        "reader": "brats",
        "organ": "brain",
        "path": "data",
        "privacy": {"epsilon": 8.0, "patients": 8},
    }
    section, _, name = key.rpartition(".")
    if key == "weights":
        values["weights"] = {"vgg19": value}
    elif section:
        values[section][name] = value
    else:
        values[key] = value
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "site.yaml"


NEVER = (a_file, a_folder, below_a_file, too_long, nobodys_home, with_nul, a_circle, empty, a_pipe)
CASES = [
    (key, fault)
    for key, use in KEYS.items()
    for fault in NEVER
    if fault is not (a_folder if use in (Use.DATA, Use.WORK) else a_file)
]


@pytest.mark.parametrize(("key", "fault"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_what_can_be_no_path_of_that_key_is_refused_where_the_file_is_read(
    key: str, fault: Callable[[Path], str], tmp_path: Path
) -> None:
    file = site_with(tmp_path, key, fault(tmp_path))
    with pytest.raises(ConfigError) as refusal:
        load_site(file)
    assert str(refusal.value).startswith(f"{file}: {key}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "weights"])
@pytest.mark.parametrize("value", [3, True, None, ["a"], {"a": "b"}])
def test_what_is_no_text_is_refused_or_counts_as_not_given(key: str, value: object, tmp_path: Path) -> None:
    file = site_with(tmp_path, key, value)
    if value is None and key not in ("path", "folder", "cache_dir"):
        assert load_site(file).cache_dir == tmp_path / "cache"
        return
    with pytest.raises(ConfigError) as refusal:
        load_site(file)
    assert f"{file}: {key}" in str(refusal.value)


def leads_nowhere(tmp_path: Path) -> str:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "data")
    return str(tmp_path / "link")


def in_the_kernels_files(tmp_path: Path) -> str:
    return "/proc/no-such/folder"


@pytest.mark.parametrize("command", ["doctor", "prepare", "budget", "start"])
@pytest.mark.parametrize("fault", [leads_nowhere, in_the_kernels_files, below_a_file, nobodys_home])
@pytest.mark.parametrize("key", [key for key in KEYS if key != "weights"])
def test_a_command_that_needs_the_path_names_the_key_before_it_begins(
    command: str, key: str, fault: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site_with(tmp_path, key, fault(tmp_path))
    overrides = TINY if command in ("doctor", "prepare") else ()
    later = key == "path" and fault in (leads_nowhere, in_the_kernels_files)
    if later and command in ("budget", "start"):
        pytest.skip("looks at no patient")
    with pytest.raises(SystemExit) as stop:
        main([command, str(file), *overrides])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert stop.value.code == (3 if later else 2), said.err
    assert ("set the site's path" if later else f"{key}: ") in said.err + said.out


@pytest.mark.parametrize("command", ["status", "audit", "health"])
@pytest.mark.parametrize("fault", NEVER)
def test_commands_that_are_asked_often_name_it_too(
    command: str, fault: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "patients" if fault is a_folder else "folder"
    if fault is a_file:
        key = "cache_dir"
    with pytest.raises(SystemExit) as stop:
        main([command, str(site_with(tmp_path, key, fault(tmp_path)))])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert f"site.yaml: {key}" in said
    assert "Traceback" not in said


def test_a_share_that_is_not_mounted_yet_keeps_nobody_from_reading_the_file(tmp_path: Path) -> None:
    assert load_site(site_with(tmp_path, "path", leads_nowhere(tmp_path))).path == tmp_path / "link"
