import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from common.errors import WeightsError
from common.export.loading import fill, grey_values, read_safetensors

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "b": torch.tensor(2.5, dtype=torch.float64),
    "c": torch.tensor([1.5, -2], dtype=torch.bfloat16),
    "d": torch.tensor([[0.25]], dtype=torch.float16),
    "e": torch.tensor([-1, 2**40]),
    "f": torch.tensor([255, 0, 7], dtype=torch.uint8),
    "g": torch.zeros(0, 4),
    "h": torch.tensor([-3], dtype=torch.int8),
}
GOOD = save(TENSORS, {"format": "pt", "note": "äöü"})


def written(path: Path, header: Any, data: bytes = b"\0" * 8) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_reads_what_the_formats_own_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path, {"note": "äöü"})
    tensors, metadata = read_safetensors(path)
    expected = load_file(path)
    assert metadata == {"note": "äöü"}
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def one(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def test_a_header_made_by_hand_is_read(tmp_path: Path) -> None:
    tensors, _ = read_safetensors(written(tmp_path / "x", one()))
    assert torch.equal(tensors["w"], torch.zeros(2))


@pytest.mark.parametrize(
    "header",
    [
        one(dtype="F128"),
        one(dtype=["F32"]),
        one(dtype=None),
        one(shape=[3]),
        one(shape=[-2]),
        one(shape=[2.0]),
        one(shape=[True, 2]),
        one(shape="2"),
        one(shape=2),
        one(shape=[1] * 9 + [2]),
        one(shape=[10**30, 10**30]),
        one(shape=[0, 2**62, 2**62], data_offsets=[0, 0]),
        one(data_offsets=[0, 12]),
        one(data_offsets=[8, 0]),
        one(data_offsets=[4, 12]),
        one(data_offsets=[-8, 0]),
        one(data_offsets=[0, 8, 8]),
        one(data_offsets=["0", "8"]),
        one(data_offsets=None),
        one() | {"v": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"w": {"dtype": "F32", "shape": [2]}},
        {"w": 5},
        {"w": None},
        {"__metadata__": {"a": 1}},
        {"__metadata__": "text"},
        [],
        5,
        None,
        {},
        b"",
        b"{",
        b"\xff\xff",
        b"[" * 200_000,
        b"1" * 10_000,
        b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "w": 1}',
        b'{"w": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}',
        b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, Infinity]}}',
    ],
)
def test_a_header_that_does_not_fit_its_numbers_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(WeightsError, match=r"x: not a safetensors file that can be used"):
        read_safetensors(written(tmp_path / "x", header))


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "torch.pt")
    (tmp_path / "bomb").write_bytes(pickle.dumps(Bomb()))
    for name in ("torch.pt", "bomb"):
        with pytest.raises(WeightsError):
            read_safetensors(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("length", [0, 7, 8, 2**40, 2**64 - 1])
def test_a_length_beyond_the_file_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "x").write_bytes(length.to_bytes(8, "little") + b"{" * 6)
    with pytest.raises(WeightsError):
        read_safetensors(tmp_path / "x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=re.escape(str(tmp_path / "none"))):
        read_safetensors(tmp_path / "none")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
def test_a_damaged_file_is_refused_or_read_as_the_formats_own_library_does(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    spoilt = bytearray(GOOD)
    spoilt[place] = byte
    for content in (bytes(spoilt), GOOD[:length]):
        path.write_bytes(content)
        try:
            tensors, _ = read_safetensors(path)
        except WeightsError:
            continue
        expected = load_file(path)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[k].nan_to_num(), expected[k].nan_to_num()) for k in expected)


def test_weights_of_another_shape_or_without_a_value_are_refused() -> None:
    network = torch.nn.Linear(2, 1)
    good = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    fill(network, good, "x")
    assert network(torch.tensor([[1.0, 2.0]])).item() == 3
    for bad, message in (
        ({"weight": torch.ones(2, 1), "bias": torch.zeros(1)}, r"weight has shape \(2, 1\), expected \(1, 2\)"),
        ({"weight": torch.ones(1, 2)}, "first difference: 'bias'"),
        ({**good, "more": torch.zeros(1)}, "first difference: 'more'"),
        ({**good, "bias": torch.tensor([torch.nan])}, "bias holds NaN"),
        ({**good, "bias": torch.zeros(1, dtype=torch.int64)}, "bias has shape"),
    ):
        with pytest.raises(WeightsError, match=message):
            fill(network, bad, "x")
    assert network(torch.tensor([[1.0, 2.0]])).item() == 3


def test_grey_values_lie_from_0_to_1() -> None:
    grey = grey_values(torch.tensor([-50.0, 0, 50], dtype=torch.bfloat16))
    assert torch.equal(grey, torch.tensor([0.0, 0.5, 1]))
