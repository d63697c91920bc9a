"""One hostile site among three: its reply is refused, it is named, and the others' aggregate is what it would be alone.

Everything here goes through the real round loop, once with averaged weights and once with exchanged gradients.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, MetricRecord, RecordDict
from scripted_grid import SITES, Outcome, ScriptedGrid, reply
from scripted_training import member, training
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import ARRAYS, CONFIG, METRICS, Instruction, reply_record, to_arrays, training_metrics
from common.study.experiment import ImageConfig, StrategyConfig
from common.study.progress import NoProgress
from common.training.cyclegan import Config, SideBatch, Trainer
from common.training.trainer import Contributor, View
from server.aggregators.fedavg import FedAvg
from server.averaging import Averaging
from server.gradients import Gradients
from server.rounds import RoundExchange, Training

HOSTILE = "hospital3"
Spoil = Callable[[RecordDict, Instruction], Outcome]


def arrays_of(content: RecordDict) -> ArrayRecord:
    return content.array_records[ARRAYS]


def with_array(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Another first array."""

    def spoil(content: RecordDict, _: Instruction) -> Outcome:
        name = next(iter(arrays_of(content)))
        arrays_of(content)[name] = Array(change(arrays_of(content)[name].numpy()))
        return content

    return spoil


def one_value(value: float) -> Spoil:
    """A single value among many."""

    def change(values: np.ndarray) -> np.ndarray:
        changed = values.copy()
        changed.reshape(-1)[-1] = value
        return changed

    return with_array(change)


def with_bytes(change: Callable[[Array], Array]) -> Spoil:
    """A first array that states the right thing and holds another."""

    def spoil(content: RecordDict, _: Instruction) -> Outcome:
        name = next(iter(arrays_of(content)))
        arrays_of(content)[name] = change(arrays_of(content)[name])
        return content

    return spoil


def stating(array: Array, data: bytes, **other: Any) -> Array:
    return Array(**{"dtype": array.dtype, "shape": array.shape, "stype": array.stype, "data": data} | other)


def header(text: str) -> bytes:
    padded = (text + " " * (118 - len(text) - 1) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


def with_metric(name: str, value: Any) -> Spoil:
    def spoil(content: RecordDict, _: Instruction) -> Outcome:
        content.metric_records[METRICS][name] = value
        return content

    return spoil


def with_config(**values: Any) -> Spoil:
    def spoil(content: RecordDict, _: Instruction) -> Outcome:
        for key, value in values.items():
            content.config_records[CONFIG][key.replace("_", "-")] = value
        return content

    return spoil


def with_record(name: str, record: Any) -> Spoil:
    def spoil(content: RecordDict, _: Instruction) -> Outcome:
        content[name] = record
        return content

    return spoil


def without(name: str) -> Spoil:
    def spoil(content: RecordDict, _: Instruction) -> Outcome:
        del content[name]
        return content

    return spoil


def without_a_key(content: RecordDict, _: Instruction) -> Outcome:
    del arrays_of(content)[next(iter(arrays_of(content)))]
    return content


def with_a_key(content: RecordDict, _: Instruction) -> Outcome:
    arrays_of(content)["generator.extra"] = Array(np.zeros(1, np.float32))
    return content


def without_losses(content: RecordDict, _: Instruction) -> Outcome:
    record = content.metric_records[METRICS]
    for name in [name for name in record if name.startswith("loss.")]:
        del record[name]
    return content


def with_another_round(step: int) -> Spoil:
    def spoil(content: RecordDict, instruction: Instruction) -> Outcome:
        content.config_records[CONFIG]["server-round"] = instruction.server_round + step
        return content

    return spoil


def answering(outcome: Outcome) -> Spoil:
    return lambda content, instruction: outcome


SPOILT: dict[str, tuple[Spoil, str]] = {
    "all values not a number": (with_array(lambda a: np.full_like(a, np.nan)), "not finite"),
    "one value not a number": (one_value(np.nan), "not finite"),
    "one value infinite": (one_value(np.inf), "not finite"),
    "one value minus infinite": (one_value(-np.inf), "not finite"),
    "one value at the end of float32": (one_value(3.4e38), "exceeds the bound"),
    "an update a million times too large": (with_array(lambda a: 1e6 * (a + 1)), "exceeds the bound"),
    "another shape": (with_array(lambda a: np.zeros((7, 1), np.float32)), "shape or type"),
    "a shape that would be broadcast": (with_array(lambda a: np.zeros((1,) * a.ndim, np.float32)), "shape or type"),
    "a scalar": (with_array(lambda a: np.zeros((), np.float32)), "shape or type"),
    "double precision": (with_array(lambda a: a.astype(np.float64)), "shape or type"),
    "half precision": (with_array(lambda a: a.astype(np.float16)), "shape or type"),
    "whole numbers": (with_array(lambda a: a.astype(np.int32)), "shape or type"),
    "complex numbers": (with_array(lambda a: a.astype(np.complex64)), "shape or type"),
    "bytes in another order": (with_array(lambda a: a.astype(">f4")), "shape or type"),
    "a missing key": (without_a_key, "array names differ"),
    "an extra key": (with_a_key, "array names differ"),
    "bytes cut short": (with_bytes(lambda a: stating(a, a.data[:-4])), "not what it states"),
    "bytes too many": (with_bytes(lambda a: stating(a, a.data + bytes(4))), "not what it states"),
    "no bytes": (with_bytes(lambda a: stating(a, b"")), "cannot be read"),
    "a pickle for bytes": (with_bytes(lambda a: stating(a, b"\x80\x04cposix\nsystem\n")), "cannot be read"),
    "an array of objects": (
        with_bytes(lambda a: stating(a, header("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }"))),
        "not what it states",
    ),
    "an array that says it is objects": (with_bytes(lambda a: stating(a, a.data, dtype="object")), "shape or type"),
    "a header of a petabyte": (
        with_bytes(lambda a: stating(a, header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**15,), }"))),
        "cannot be read",
    ),
    "a header of a terabyte": (
        with_bytes(
            lambda a: stating(a, header("{'descr': '<f4', 'fortran_order': False, 'shape': (274877906944,), }"))
        ),
        "not what it states",
    ),
    "a header nested for ever": (
        with_bytes(lambda a: stating(a, b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000)),
        "cannot be read",
    ),
    "no examples": (with_metric("num-examples", 0), "number of examples"),
    "negative examples": (with_metric("num-examples", -1), "number of examples"),
    "a billion examples": (with_metric("num-examples", 10**9), "number of examples"),
    "examples beyond all numbers": (with_metric("num-examples", 10**400), "plausible size"),
    "part of an example": (with_metric("num-examples", 1.0), "number of examples"),
    "examples that are no number": (with_metric("num-examples", float("nan")), "not a finite number"),
    "a list of examples": (with_metric("num-examples", [1, 1]), "not a finite number"),
    "a loss that is no number": (with_metric("loss.l1", float("nan")), "not a finite number"),
    "an infinite loss": (with_metric("loss.l1", float("inf")), "not a finite number"),
    "a loss beyond all losses": (with_metric("loss.l1", 1e300), "plausible size"),
    "a list of losses": (with_metric("loss.l1", [0.5]), "not a finite number"),
    "a loss that nobody else has": (with_metric("loss.mine", 0.5), "the other sites report"),
    "a loss with a name for a terminal": (with_metric("loss.\x1b[2J", 0.5), "not one of a training"),
    "a metric that is no loss": (with_metric("accuracy", 0.5), "not one of a training"),
    "no losses": (without_losses, "the other sites report"),
    "a hundred losses": (
        with_record(METRICS, MetricRecord({"num-examples": 1, **{f"loss.l{n}": 0.1 for n in range(100)}})),
        "more metrics",
    ),
    "no arrays": (without(ARRAYS), "one set of arrays"),
    "no metrics": (without(METRICS), "one set of arrays"),
    "no config": (without(CONFIG), "does not say what it answers"),
    "nothing at all": (answering(RecordDict()), "does not say what it answers"),
    "second arrays": (with_record("more", ArrayRecord({"x": Array(np.zeros(1, np.float32))})), "one set of arrays"),
    "second metrics": (with_record("more", MetricRecord({"num-examples": 1})), "one set of arrays"),
    "second config": (with_record("more", ConfigRecord({"site": "hospital1"})), "more than was asked for"),
    "a config in place of arrays": (with_record(ARRAYS, ConfigRecord({"x": "y"})), "more than was asked for"),
    "more in the config": (with_config(note="x" * 1_000_000), "more than was asked for"),
    "a round that is over": (with_another_round(-1), "another round"),
    "a round to come": (with_another_round(1), "another round"),
    "a round in words": (with_config(server_round="1"), "another round"),
    "a round that equals one": (with_config(server_round=True), "another round"),
    "another run": (with_config(run="other"), "another run"),
    "another phase": (with_config(phase="gan/other"), "another phase"),
    "another site's name": (with_config(site="hospital1"), "another site"),
    "a list for a name": (with_config(site=["hospital3"]), "another site"),
    "an error of a megabyte": (answering("x" * 1_000_000), "xxx"),
    "an error of many lines": (answering(Error(code=101, reason="first\nsecond\x1b[2J")), "first second"),
    "an error without a reason": (answering(Error(code=7, reason="")), "error 7"),
}
"""What the hostile site does, and a part of the reason that the record gives."""


@dataclass
class Watching(NoProgress):
    """What a person was told of each site."""

    told: dict[str, list[str]] = field(default_factory=dict)

    def site(self, name: str, doing: str, *, at_work: bool = False) -> None:
        self.told.setdefault(name, []).append(doing)


def train(
    grid: ScriptedGrid,
    folder: Path,
    exchange: RoundExchange,
    initial: dict[str, Tensor],
    *,
    sites: Iterable[str] = SITES,
    progress: NoProgress | None = None,
    quorum: int = 2,
) -> Training:
    return training(
        grid,
        folder,
        exchange,
        config=StrategyConfig(quorum=quorum, deadline=5.0),
        members=[member(site, 1) for site in sites],
        progress=progress or NoProgress(),
    ).train(initial)


def assert_refused(outcome: Training, alone: Training, told: dict[str, list[str]], reason: str) -> None:
    for record in outcome.records:
        assert record.contributors == ["hospital1", "hospital2"]
        (refusal,) = record.refused
        assert refusal.site == HOSTILE
        assert reason in refusal.reason
        assert len(refusal.reason) < 400
        assert refusal.reason.isprintable()
        assert refusal.reason in told[HOSTILE]
    assert told["hospital1"] == told["hospital2"] == ["asked", "answered"] * (len(told["hospital1"]) // 2)
    assert outcome.weights.keys() == alone.weights.keys()
    for name, expected in alone.weights.items():
        assert torch.equal(outcome.weights[name], expected), name
    assert [record.losses for record in outcome.records] == [record.losses for record in alone.records]
    assert [record.norms for record in outcome.records] == [record.norms for record in alone.records]


INITIAL = {"generator.w": torch.linspace(-1, 1, 6).reshape(2, 3), "discriminator.w": torch.ones(5)}
STEPS = {"hospital1": 0.1, "hospital2": 0.27, "hospital3": 0.6}


def averaging_site(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
    return reply(site, instruction, {name: tensor * 1.01 + STEPS[site] for name, tensor in arrays.items()})


@pytest.mark.parametrize("how", SPOILT)
def test_a_hostile_update_changes_nothing_in_the_average(tmp_path: Path, how: str) -> None:
    spoil, reason = SPOILT[how]

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Outcome:
        content = averaging_site(site, instruction, arrays)
        return spoil(content, instruction) if site == HOSTILE else content

    progress = Watching()
    outcome = train(ScriptedGrid(behave), tmp_path / "three", Averaging(FedAvg()), INITIAL, progress=progress)
    alone = train(ScriptedGrid(averaging_site), tmp_path / "two", Averaging(FedAvg()), INITIAL, sites=SITES[:2])
    assert_refused(outcome, alone, progress.told, reason)


SIDES = {"hospital1": 0, "hospital2": 1, "hospital3": 1}
VIEWS = (View("brain", ("t1",)), View("brain", ("t2",)))
SMALL = Config(
    exchange="gradients",
    width=4,
    blocks=1,
    downsamplings=2,
    discriminator_width=4,
    discriminator_layers=1,
    learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    cycle_weight=10.0,
    identity_weight=3.0,
    identity_decay_steps=0,
    pool=0,
    ema=0.0,
)


def cyclegan() -> Trainer:
    return Trainer(SMALL, image=ImageConfig(size=16), organs={"brain": ("t1",)}, device=torch.device("cpu"), seed=1)


CONTRIBUTED: dict[bytes, tuple[dict[str, Tensor], dict[str, float]]] = {}
"""What honest sites answered by what they were asked: the same in each case, since the weights they get are."""


def gradients_site(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
    seed = 100 * instruction.server_round + SITES.index(site)
    asked = hashlib.sha256(str(seed).encode())
    for name, tensor in sorted(arrays.items()):
        asked.update(name.encode() + tensor.numpy().tobytes())
    if asked.digest() not in CONTRIBUTED:
        images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
        trainer = cyclegan()
        trainer.load_shared_arrays(arrays)
        CONTRIBUTED[asked.digest()] = trainer.contribute([SideBatch(SIDES[site], images, None, seed)])
    contribution, losses = CONTRIBUTED[asked.digest()]
    return RecordDict(
        {
            ARRAYS: to_arrays(contribution),
            METRICS: training_metrics(1, {"l1": list(losses.values())[-1]}),
            CONFIG: reply_record(instruction, site),
        }
    )


def exchange(sites: Iterable[str]) -> Gradients:
    return Gradients(cyclegan(), {site: Contributor(VIEWS[SIDES[site]], 1) for site in sites}, 2)


@pytest.fixture(scope="module")
def gradients_alone(tmp_path_factory: pytest.TempPathFactory) -> Training:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("alone")
    sites = SITES[:2]
    return train(ScriptedGrid(gradients_site), folder, exchange(sites), cyclegan().shared_arrays(), sites=sites)


@pytest.mark.parametrize("how", SPOILT)
def test_a_hostile_gradient_changes_nothing_in_the_step(tmp_path: Path, how: str, gradients_alone: Training) -> None:
    spoil, reason = SPOILT[how]

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Outcome:
        content = gradients_site(site, instruction, arrays)
        return spoil(content, instruction) if site == HOSTILE else content

    progress = Watching()
    outcome = train(ScriptedGrid(behave), tmp_path, exchange(SITES), cyclegan().shared_arrays(), progress=progress)
    assert_refused(outcome, gradients_alone, progress.told, reason)


def test_a_second_reply_to_the_same_question_does_not_count(tmp_path: Path) -> None:
    def twice(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Outcome:
        content = averaging_site(site, instruction, arrays)
        return [content, reply(site, instruction, arrays)] if site == HOSTILE else content

    once = train(ScriptedGrid(averaging_site), tmp_path / "once", Averaging(FedAvg()), INITIAL)
    outcome = train(ScriptedGrid(twice), tmp_path / "twice", Averaging(FedAvg()), INITIAL)
    assert all(torch.equal(outcome.weights[name], once.weights[name]) for name in INITIAL)
    assert all(record.refused == [] for record in outcome.records)


def test_two_hostile_sites_of_three_stop_the_study_and_are_named(tmp_path: Path) -> None:
    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Outcome:
        content = averaging_site(site, instruction, arrays)
        if site == "hospital2":
            return with_array(lambda a: np.full_like(a, np.nan))(content, instruction)
        return with_metric("loss.zz", 1.0)(content, instruction) if site == HOSTILE else content

    with pytest.raises(StudyError, match=r"1 of 3 sites replied.*hospital2: refused.*hospital3: refused"):
        train(ScriptedGrid(behave), tmp_path, Averaging(FedAvg()), INITIAL)
