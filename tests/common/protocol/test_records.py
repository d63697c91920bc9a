"""What a coordinator accepts from a site, and what it refuses."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    PROTOCOL,
    Instruction,
    SiteHello,
    UnacceptableError,
    check_reply,
    from_arrays,
    instruction_record,
    read_instruction,
    read_losses,
    read_result,
    received_arrays,
    reply_record,
    to_arrays,
    to_images,
    training_metrics,
    values_of,
)
from common.protocol.reply_checks import ImagesCheck, UpdateCheck

REFERENCE = {"generator.a": torch.zeros(2, 3), "generator.b": torch.ones(4)}
INSTRUCTION = Instruction(run="demo", phase="gan/cgan", experiment="seed: 1", **{"server-round": 3})


def update(arrays: dict[str, Tensor] | None = None, **metrics: float) -> RecordDict:
    moved = arrays if arrays is not None else {name: tensor + 0.1 for name, tensor in REFERENCE.items()}
    return RecordDict(
        {
            ARRAYS: to_arrays(moved),
            METRICS: MetricRecord({"num-examples": 7, "loss.l1": 0.5, **metrics}),
            CONFIG: reply_record(INSTRUCTION, "hospital1"),
        }
    )


def checker(max_norm: float = 10.0) -> UpdateCheck:
    return UpdateCheck(REFERENCE, examples=7, max_norm=max_norm)


def test_a_sound_update_is_accepted_and_its_norm_is_that_of_the_difference() -> None:
    assert checker().norm(update()) == pytest.approx(0.1 * np.sqrt(10), rel=1e-6)


def _without_a_key(content: RecordDict) -> None:
    del content[ARRAYS]["generator.a"]


def _extra_key(content: RecordDict) -> None:
    content[ARRAYS]["generator.c"] = Array(np.zeros(1, np.float32))


def _other_shape(content: RecordDict) -> None:
    content[ARRAYS]["generator.a"] = Array(np.zeros((3, 2), np.float32))


def _other_type(content: RecordDict) -> None:
    content[ARRAYS]["generator.a"] = Array(np.zeros((2, 3), np.float64))


def _not_a_number(content: RecordDict) -> None:
    content[ARRAYS]["generator.a"] = Array(np.full((2, 3), np.nan, np.float32))


def _infinite(content: RecordDict) -> None:
    content[ARRAYS]["generator.a"] = Array(np.full((2, 3), np.inf, np.float32))


def _huge(content: RecordDict) -> None:
    content[ARRAYS]["generator.a"] = Array(np.full((2, 3), 1e6, np.float32))


def _too_many_examples(content: RecordDict) -> None:
    content[METRICS]["num-examples"] = 10**9


def _negative_examples(content: RecordDict) -> None:
    content[METRICS]["num-examples"] = -7


def _loss_not_finite(content: RecordDict) -> None:
    content[METRICS]["loss.l1"] = float("nan")


def _no_metrics(content: RecordDict) -> None:
    del content[METRICS]


def _second_arrays(content: RecordDict) -> None:
    content["more"] = ArrayRecord({"x": Array(np.zeros(1, np.float32))})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_without_a_key, "array names differ"),
        (_extra_key, "array names differ"),
        (_other_shape, "another shape or type"),
        (_other_type, "another shape or type"),
        (_not_a_number, "not finite"),
        (_infinite, "not finite"),
        (_huge, "exceeds the bound"),
        (_too_many_examples, "number of examples"),
        (_negative_examples, "number of examples"),
        (_loss_not_finite, "not a finite number"),
        (_no_metrics, "one set of arrays"),
        (_second_arrays, "one set of arrays"),
    ],
)
def test_a_bad_update_is_refused_with_its_reason(spoil: Callable[[RecordDict], None], reason: str) -> None:
    content = update()
    spoil(content)
    with pytest.raises(UnacceptableError, match=reason):
        checker().norm(content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run": "other"}, "another run"),
        ({"phase": "gan/other"}, "another phase"),
        ({"server_round": 4}, "another round"),
        ({"site": "hospital2"}, "another site"),
    ],
)
def test_a_reply_to_another_question_is_refused(change: dict[str, object], reason: str) -> None:
    asked = {"run": "demo", "phase": "gan/cgan", "server_round": 3, "site": "hospital1", **change}
    with pytest.raises(UnacceptableError, match=reason):
        check_reply(update(), **asked)  # type: ignore[arg-type]


def test_a_reply_to_this_question_passes() -> None:
    check_reply(update(), run="demo", phase="gan/cgan", server_round=3, site="hospital1")


def test_an_instruction_survives_the_wire() -> None:
    assert read_instruction(RecordDict({CONFIG: instruction_record(INSTRUCTION)})) == INSTRUCTION


@pytest.mark.parametrize(
    ("key", "value"),
    [("run", "../../etc"), ("phase", "a b"), ("server-round", -1), ("protocol", PROTOCOL + 1), ("more", 1)],
)
def test_a_malformed_instruction_is_refused_without_repeating_its_value(key: str, value: object) -> None:
    record = instruction_record(INSTRUCTION)
    record[key] = value  # type: ignore[assignment]
    with pytest.raises(UnacceptableError) as refusal:
        read_instruction(RecordDict({CONFIG: record}))
    assert "etc" not in str(refusal.value)


def test_a_message_without_an_instruction_is_refused() -> None:
    with pytest.raises(UnacceptableError, match="no instruction"):
        read_instruction(RecordDict())


HELLO = SiteHello(site="a", organ="brain", modality="MR", contrasts=["flair"], roles=["train"], tasks=["gan/cgan"])


def test_a_result_is_checked_against_its_model() -> None:
    content = RecordDict({CONFIG: reply_record(INSTRUCTION, "a", HELLO)})
    assert read_result(content, SiteHello) == HELLO
    spoiled = json.loads(HELLO.model_dump_json()) | {"patients": -1}
    content[CONFIG]["result"] = json.dumps(spoiled)
    with pytest.raises(UnacceptableError, match="patients"):
        read_result(content, SiteHello)


def test_a_result_that_is_missing_or_too_large_is_refused() -> None:
    with pytest.raises(UnacceptableError, match="no result"):
        read_result(RecordDict({CONFIG: ConfigRecord({})}), SiteHello)
    with pytest.raises(UnacceptableError, match="larger"):
        read_result(RecordDict({CONFIG: ConfigRecord({"result": " " * 3_000_000})}), SiteHello)


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=8))
def test_arrays_come_back_bit_equal(values: list[float]) -> None:
    tensors = {"b": torch.tensor(values), "a": torch.tensor(values, dtype=torch.float64).reshape(1, -1)}
    restored = from_arrays(to_arrays(tensors))
    assert list(restored) == ["a", "b"]
    assert all(torch.equal(restored[name], tensors[name]) for name in tensors)


def test_received_arrays_own_their_memory() -> None:
    arrays = received_arrays(update())
    arrays["generator.a"].add_(1)
    with pytest.raises(UnacceptableError, match="no arrays"):
        received_arrays(RecordDict())


def test_losses_come_back_by_name() -> None:
    assert read_losses(training_metrics(3, {"l1": 0.25})) == {"l1": 0.25}


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.array(3.5, np.float32),
        np.zeros((0, 2), np.float64),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.array([True, False]),
        np.arange(4, dtype=">f4"),
    ],
)
def test_values_are_those_that_flower_reads(values: np.ndarray) -> None:
    array = Array(values)
    ours, flowers = values_of(array), array.numpy()
    assert (ours.shape, ours.dtype) == (flowers.shape, flowers.dtype)
    np.testing.assert_array_equal(ours, flowers)


def test_an_array_whose_bytes_are_not_what_it_states_is_refused() -> None:
    honest = Array(np.arange(6, dtype=np.float32).reshape(2, 3))
    for spoilt in (
        {"shape": (3, 2)},
        {"dtype": "int32"},
        {"dtype": "float64"},
        {"data": honest.data[:-4]},
        {"data": honest.data + b"more"},
        {"data": honest.data.replace(b"(2, 3)", b"(9, 9)")},
        {"data": b""},
        {"dtype": "object"},
        {"dtype": "no such type"},
        {"shape": (-2, -3)},
    ):
        whole = {"dtype": "float32", "shape": (2, 3), "stype": honest.stype, "data": honest.data}
        with pytest.raises(UnacceptableError):
            values_of(Array(**(whole | spoilt)))  # type: ignore[arg-type]


SLICES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_synthetic_slices_survive_the_wire_bit_by_bit() -> None:
    content = RecordDict({ARRAYS: to_images(SLICES)})
    assert torch.equal(ImagesCheck((1, 8, 8), 4, 4).read(content), SLICES)
    assert torch.equal(ImagesCheck((1, 8, 8), 2).read(content), SLICES)


def _with(value: float) -> Tensor:
    spoilt = SLICES.clone()
    spoilt[2, 0, 3, 3] = value
    return spoilt


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"images": SLICES, "more": SLICES}, "one array"),
        ({"generator.w": SLICES}, "one array"),
        ({}, "one array"),
        ({"images": SLICES.double()}, "float32"),
        ({"images": SLICES[:, :, :4]}, "shape"),
        ({"images": SLICES[:, 0]}, "shape"),
        ({"images": SLICES[:3]}, "number of images"),
        ({"images": torch.cat([SLICES, SLICES])}, "number of images"),
        ({"images": _with(float("nan"))}, "finite"),
        ({"images": _with(float("-inf"))}, "finite"),
        ({"images": _with(1.01)}, r"outside \[0, 1\]"),
        ({"images": _with(-0.01)}, r"outside \[0, 1\]"),
    ],
)
def test_images_that_are_no_synthetic_slices_are_refused(arrays: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(UnacceptableError, match=reason):
        ImagesCheck((1, 8, 8), 4, 4).read(RecordDict({ARRAYS: to_arrays(arrays)}))


def test_images_in_no_readable_form_are_refused() -> None:
    content = RecordDict({ARRAYS: to_images(SLICES)})
    content[ARRAYS]["images"] = Array("float32", (4, 1, 8, 8), "numpy.ndarray", b"\x93NUMPY nonsense")
    with pytest.raises(UnacceptableError, match="cannot be read"):
        ImagesCheck((1, 8, 8), 4, 4).read(content)
    with pytest.raises(UnacceptableError, match="one array"):
        ImagesCheck((1, 8, 8), 4, 4).read(RecordDict({}))
