"""Reading weights with torch alone: the part of an exported generator that goes with it.

This file is copied into every ``load_generator.py``, so it may import torch and Python's own library only, and of
this project's errors what needs nothing else. Nothing in a weights file is executed: safetensors is eight bytes of
length, a JSON header and raw numbers (https://github.com/huggingface/safetensors, "Format").
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import WeightsError

DESCRIPTION_KEY = "oncofed"
"""Where the file's metadata hold the description, as JSON."""

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own reader."""


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Named tensors and the metadata of a safetensors file.

    Raises:
        WeightsError: if the file is missing, or is not exactly what its header says.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return _parse(content)
    except (ValueError, TypeError, KeyError, RuntimeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{path}: not a safetensors file that can be used ({error})") from error


def _parse(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_LONGEST_HEADER, len(content) - 8):
        raise ValueError("its header is cut off")
    header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_without_repeats)
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    data = memoryview(content)[8 + length :]
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: tuple(map(int, item[1]["data_offsets"]))):
        tensors[name], end = _tensor(name, entry, data, end)
    if end != len(data):
        raise ValueError("it holds numbers that belong to no tensor")
    return tensors, metadata


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return table


def _tensor(name: str, entry: Any, data: memoryview, start: int) -> tuple[Tensor, int]:
    """The tensor whose numbers begin at ``start``, and where they end; tensors lie without gap or overlap."""
    kind = _TYPES.get(entry["dtype"])
    if kind is None:
        raise ValueError(f"{name!r}: numbers of an unknown type")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not all(type(one) is int and one >= 0 for one in [*shape, *offsets]) or len(offsets) != 2 or len(shape) > 8:
        raise ValueError(f"{name!r}: shape or place make no sense")
    count, end = math.prod(shape), offsets[1]
    if offsets[0] != start or end > len(data) or end - start != count * kind.itemsize:
        raise ValueError(f"{name!r}: its numbers are not where and as many as its header says")
    if not count:
        return torch.zeros(shape, dtype=kind), end
    return torch.frombuffer(bytearray(data[start:end]), dtype=kind).reshape(shape), end


def load_network(build: Callable[..., nn.Module], arguments: Mapping[str, Any], path: Path) -> nn.Module:
    """``build(**arguments)`` with the weights in ``path``, on the CPU, in evaluation mode.

    Raises:
        WeightsError: if the file cannot be used, or holds the weights of another network.
    """
    tensors, metadata = read_safetensors(path)
    try:
        description = json.loads(metadata.get(DESCRIPTION_KEY, "{}"))
        same = description["network"] == {"name": build.__name__, "arguments": dict(arguments)}
    except (ValueError, TypeError, KeyError, RuntimeError):
        same = False
    if not same:
        raise WeightsError(f"{path}: holds the weights of another network than {build.__name__}")
    with torch.random.fork_rng(devices=[]):
        network = build(**arguments)
    fill(network, tensors, str(path))
    return network.eval()


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Replaces all floating-point weights and buffers of ``network``.

    Raises:
        WeightsError: naming ``source``, if names or shapes are not the network's, or a value is not finite.
    """
    own = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    odd = sorted(set(own) ^ set(tensors))
    if odd:
        raise WeightsError(f"{source}: not the weights of this network (first difference: {odd[0]!r})")
    for name, value in own.items():
        given = tensors[name]
        if given.shape != value.shape or not given.is_floating_point():
            raise WeightsError(f"{source}: {name} has shape {tuple(given.shape)}, expected {tuple(value.shape)}")
        if not torch.isfinite(given).all():
            raise WeightsError(f"{source}: {name} holds NaN or infinity")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])


def grey_values(output: Tensor) -> Tensor:
    """A generator's output as grey values in [0, 1]; same shape."""
    return (torch.tanh(output.float()) + 1) / 2
