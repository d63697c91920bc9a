"""Private state between rounds, and the site's own file."""

from pathlib import Path

import pytest
import torch

from client.site import load_site, save_site
from client.training.state import RoundState
from common.errors import ConfigError


def kept(state: RoundState) -> list[str]:
    return sorted(file.name for file in state.folder.iterdir())


def test_a_training_starts_from_the_newest_state_of_the_rounds_that_counted(tmp_path: Path) -> None:
    state = RoundState(tmp_path, "gan/cgan")
    assert state.after(0) == state.after(3) == {}
    for server_round, since in ((1, 0), (2, 1), (4, 2)):
        state.save(server_round, {"step": torch.tensor(server_round)}, since=since)
    assert int(state.after(4)["step"]) == 4
    assert int(state.after(3)["step"]) == 2  # asked again after the coordinator crashed
    assert int(state.after(2)["step"]) == 2


def test_only_the_newest_state_and_the_one_it_began_from_are_kept(tmp_path: Path) -> None:
    state = RoundState(tmp_path, "gan/cgan")
    for server_round in range(1, 6):
        state.save(server_round, {"step": torch.tensor(server_round)}, since=server_round - 1)
    assert kept(state) == ["round-00004.safetensors", "round-00005.safetensors"]


def test_the_last_state_that_counted_outlasts_any_number_of_rounds_that_do_not(tmp_path: Path) -> None:
    state = RoundState(tmp_path, "gan/cgan")
    for server_round, since in ((1, 0), (2, 1), (3, 1), (4, 1)):
        state.save(server_round, {"step": torch.tensor(server_round)}, since=since)
    assert kept(state) == ["round-00001.safetensors", "round-00004.safetensors"]
    assert int(state.after(1)["step"]) == 1


def test_states_of_a_training_that_was_taken_back_go(tmp_path: Path) -> None:
    state = RoundState(tmp_path, "gan/cgan")
    for server_round, since in ((1, 0), (2, 1), (3, 2), (2, 1)):
        state.save(server_round, {"step": torch.tensor(server_round)}, since=since)
    assert kept(state) == ["round-00002.safetensors"]


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
