"""Every path that a study names, with everything that a path can be: exit 2 or 3, the key in one sentence."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import TinyStudy

from common.study import experiment as schema
from common.study.config import compose
from common.study.experiment import Experiment, WeightsConfig
from common.study.experiment_paths import paths_of, with_absolute_paths
from common.study.simulated import PartitionConfig, SiteConfig
from common.system.paths import PLACE, Use
from server.run_folder import RunFolder
from simulation.cli import main

LOOKS_LIKE_A_PATH = ("path", "file", "folder", "dir")


def everything() -> Experiment:
    """A study that names every path that can be named."""
    study = compose(["preset=demo", "site=brain"])
    study.site = {"a": SiteConfig(path="x")}
    study.partition = {"p": PartitionConfig(path="x")}
    study.reference = {"brain": dataclasses.replace(study.reference["brain"], path="x")}
    study.weights = WeightsConfig(**{one.name: "x" for one in dataclasses.fields(WeightsConfig)})
    return study


KEYS = {path.key: path.use for path in paths_of(everything())}


def test_every_field_that_is_called_a_path_is_marked_as_one() -> None:
    sections = [one for one in vars(schema).values() if dataclasses.is_dataclass(one) and isinstance(one, type)]
    text = ("str", "str | None", str, str | None)
    named = {
        f"{section.__name__}.{field.name}": field.metadata.get(PLACE)
        for section in sections
        for field in dataclasses.fields(section)
        if field.type in text
        and (section is WeightsConfig or any(word in field.name.split("_") for word in LOOKS_LIKE_A_PATH))
    }
    assert len(named) >= 8
    assert not [name for name, use in named.items() if use is None]
    assert len(KEYS) == len(named)


def a_file(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("no folder")
    return str(tmp_path / "file")


def below_a_file(tmp_path: Path) -> str:
    return f"{a_file(tmp_path)}/further/down"


def too_long(tmp_path: Path) -> str:
    return str(tmp_path / ("x" * 300))


def nobodys_home(tmp_path: Path) -> str:
    return "~nobody-of-this-name/data"


def with_nul(tmp_path: Path) -> str:
    return f"{tmp_path}/a\0b"


def a_circle(tmp_path: Path) -> str:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    return str(tmp_path / "one")


def leads_nowhere(tmp_path: Path) -> str:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "data")
    return str(tmp_path / "link")


def empty(tmp_path: Path) -> str:
    return "''"


def a_pipe(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def in_the_kernels_files(tmp_path: Path) -> str:
    return "/proc/no-such/folder"


def read_only(tmp_path: Path) -> str:
    (tmp_path / "closed").mkdir(mode=0o500)
    return str(tmp_path / "closed" / "runs")


def not_to_be_read(tmp_path: Path) -> str:
    (tmp_path / "secret").mkdir(mode=0o000)
    return str(tmp_path / "secret")


ALWAYS = (a_file, below_a_file, too_long, nobodys_home, with_nul, a_circle, empty, a_pipe, in_the_kernels_files)
OF_DATA = (leads_nowhere,)
NOT_AS_ROOT = {"read_only", "not_to_be_read"}


def given(key: str, value: str) -> list[str]:
    """Overrides that name one path."""
    section, name, *_ = key.split(".")
    if section == "partition":
        return [f'+partition.p={{reader: brats, organ: brain, sites: 2, path: "{value}"}}']
    if section == "site":
        key = "site.hospital1.path"
    if section == "weights":
        needs = {"imagenet_resnet50": ["classifier=resnet50", "classifier.pretrained=true"]}
        needs["vgg19"] = ["models.cgan.perceptual=vgg19", "models.cgan.perceptual_weight=1"]
        needs["fid_inception"] = ["evaluation.features=inception_v3"]
        return [*needs[name], f"{key}={quoted(value)}"]
    return [f"{key}={quoted(value)}"]


def quoted(value: str) -> str:
    return value if value == "''" else f'"{value}"'


CASES = [
    (key, fault)
    for key, use in KEYS.items()
    for fault in (*ALWAYS, *(OF_DATA if use is Use.DATA else ()), read_only, not_to_be_read)
    if not (fault is read_only and use is not Use.WORK)
    and not (fault is not_to_be_read and use is not Use.DATA)
    and not (fault is a_file and use is Use.FILE)
]


@pytest.mark.parametrize(("key", "fault"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_a_path_that_cannot_be_used_is_refused_by_its_key_and_nothing_is_left(
    key: str,
    fault: Callable[[Path], str],
    tiny_study: TinyStudy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if fault.__name__ in NOT_AS_ROOT and os.geteuid() == 0:
        pytest.skip("root may read and write everything")
    value = fault(tmp_path)
    if key == "partition.p.path" and value == "''":
        value = ""
    with pytest.raises(SystemExit) as stop:
        main(["run", *tiny_study.with_output(tmp_path, *given(key, value))])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert stop.value.code in ({2, 3} if KEYS[key] is Use.DATA else {2}), said
    named = {"site.a.path": "site.hospital1.path"}.get(key, key)
    assert f"{named}=" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_taken_away_before_a_run_goes_on_is_named(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = with_absolute_paths(compose(tiny_study.with_output(tmp_path, f"site.hospital1.path={tmp_path / 'gone'}")))
    folder = RunFolder.new(study)
    with pytest.raises(SystemExit) as stop:
        main(["run", f"resume={folder.path}"])
    said = capsys.readouterr().err
    assert stop.value.code == 3
    assert f"site.hospital1.path={tmp_path / 'gone'}: there is no such folder" in said
    assert (folder.path / "config.yaml").exists()


@pytest.mark.parametrize("fault", [a_file, nobodys_home, with_nul])
def test_a_sweep_names_the_key_too(
    fault: Callable[[Path], str], tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = f"simulation.runs_dir={quoted(fault(tmp_path))}"
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *tiny_study.overrides, runs, "seed=1,2"])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "simulation.runs_dir=" in said
    assert "Traceback" not in said
