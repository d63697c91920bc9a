"""Files are whole or absent, and hold nothing that runs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from common.seeding import derive_seed, numpy_generator, torch_generator
from common.system.array_files import read_arrays, read_tensors, write_arrays, write_tensors
from common.system.files import read_json, write_bytes, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"round": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(file, {"round": 2})
    assert read_json(file) == {"round": 1}


def test_folders_are_made_and_nothing_partial_stays(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c", b"whole")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]


def test_json_refuses_what_other_readers_do_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", float("nan"))


def test_tensors_come_back_bit_equal(tmp_path: Path) -> None:
    tensors = {"w": torch.randn(3, 4).t(), "n": torch.tensor(5), "h": torch.randn(2).bfloat16()}
    write_tensors(tmp_path / "t.safetensors", tensors)
    restored = read_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(restored[name], tensors[name]) for name in tensors)


def test_arrays_come_back_and_pickles_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3), "names": np.array(["best", "worst"])})
    assert read_arrays(tmp_path / "a.npz")["names"].tolist() == ["best", "worst"]
    np.savez(tmp_path / "p.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ConfigError, match=r"p\.npz: is no archive of plain arrays"):
        read_arrays(tmp_path / "p.npz")


def test_seeds_depend_on_every_name_and_on_nothing_else() -> None:
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")
    assert torch_generator("x").initial_seed() == derive_seed("x")
    assert numpy_generator("x").integers(1 << 30) == numpy_generator("x").integers(1 << 30)
