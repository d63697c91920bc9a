"""Private state between rounds, and the site's own file."""

from pathlib import Path

import pytest
import torch

from client.site import load_site, save_site
from client.state import RoundState
from common.errors import ConfigError


def test_the_state_before_a_round_is_the_newest_older_one(tmp_path: Path) -> None:
    state = RoundState(tmp_path, "demo", "gan/cgan")
    assert state.before(1) == {}
    for server_round in (1, 2, 4):
        state.save(server_round, {"step": torch.tensor(server_round)})
    assert int(state.before(5)["step"]) == 4
    assert int(state.before(4)["step"]) == 2  # asked again after the coordinator crashed
    assert int(state.before(3)["step"]) == 2


def test_only_the_last_two_states_are_kept(tmp_path: Path) -> None:
    state = RoundState(tmp_path, "demo", "gan/cgan")
    for server_round in range(1, 6):
        state.save(server_round, {"step": torch.tensor(server_round)})
    assert sorted(file.name for file in state.folder.iterdir()) == [
        "round-00004.safetensors",
        "round-00005.safetensors",
    ]


def test_a_site_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("name: hospital1\nreader: brats\norgan: brain\npath: data\n")
    settings = load_site(tmp_path / "site.yaml")
    assert settings.path == tmp_path / "data"
    assert settings.share_site_model is False
    assert settings.declare_counts is False
    save_site(settings, tmp_path / "copy.yaml")
    assert load_site(tmp_path / "copy.yaml") == settings


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name: hospital1\nreader: brats\norgan: brain\npath: x\ncolour: red\n", "colour"),
        ("name: Hospital 1\nreader: brats\norgan: brain\npath: x\n", "name"),
        ("name: a\nreader: brats\norgan: heart\npath: x\n", "organ"),
        ("name: a\nreader: brats\norgan: brain\n", "path"),
        ("name: a\nreader: brats\norgan: brain\npath: x\ndevice: tpu\n", "device"),
        ("name: [a\n", "YAML"),
        ("just text\n", "key: value"),
    ],
)
def test_a_wrong_site_file_is_refused_naming_the_file_and_the_key(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=named) as error:
        load_site(file)
    assert str(file) in str(error.value)


def test_a_missing_site_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_site(tmp_path / "site.yaml")
