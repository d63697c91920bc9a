"""The messages between coordinator and site: the only place that knows their names, and checks what arrives.

Every message is a Flower ``RecordDict`` with at most one ``ArrayRecord`` (``arrays``), one ``ConfigRecord``
(``config``) and one ``MetricRecord`` (``metrics``). Weights travel as arrays under ``<network>.<key>``; small results
travel as JSON that is checked against a pydantic model on arrival; nothing is ever unpickled.
"""

import io
import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor

from common.system.outside import quoted
from common.system.safe_json import model_from_json

PROTOCOL = 9
"""Raised when a message changes its meaning; a site with another number is refused at hello."""

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
IMAGES = "images"
NUM_EXAMPLES = "num-examples"
ROUND = "server-round"
MAX_EXAMPLES = 10_000_000


class UnacceptableError(ValueError):
    """A message that must not be used; the text says what is wrong with it, not what it holds."""


class Instruction(BaseModel):
    """What the coordinator asks for; the ``config`` record of every message to a site.

    Attributes:
        run: name of the run.
        phase: e.g. ``gan/cgan``, ``classifier/real``, ``cross_site/hospital1``.
        server_round: 1-based; 0 where there are no rounds.
        counted: of a training, the last round in which this site's update counted; 0 where none has. A site starts from
            its optimisers of that round.
        experiment: resolved YAML without the sections that hold local paths.
        model: the GAN of the study, where one is meant.
        repeat: which of that model's trainings with different seeds, 1-based.
        arm: the arm of the classifier study, where one is meant.
        images, fold, patients, ratio: which of the study's trials is meant, with ``repeat`` as its run (see
            ``trials.Trial``).
        proximal_mu: weight of FedProx's proximal term.
        witness: at hello, what the site last gave the coordinator to keep of its privacy ledger
            (``results_privacy.LedgerWitness`` as JSON); empty where it gave nothing.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    protocol: int = PROTOCOL
    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    phase: str = Field(pattern=r"^[a-z0-9_][a-z0-9_/-]{0,99}$")
    server_round: int = Field(default=0, ge=0, le=10_000_000, alias="server-round")
    counted: int = Field(default=0, ge=0, le=10_000_000)
    experiment: str = Field(default="", max_length=2_000_000)
    model: str = Field(default="", pattern=r"^[a-z0-9_]{0,30}$")
    repeat: int = Field(default=1, ge=1, le=10_000)
    arm: str = Field(default="", pattern=r"^[a-z0-9_]{0,40}$")
    images: str = Field(default="", pattern=r"^[a-z0-9_]{0,30}$")
    fold: int = Field(default=0, ge=0, le=100)
    patients: int = Field(default=0, ge=0, le=MAX_EXAMPLES)
    ratio: float = Field(default=0.0, ge=0.0, le=100.0)
    proximal_mu: float = Field(default=0.0, ge=0.0, le=1e6, alias="proximal-mu")
    witness: str = Field(default="", max_length=400)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


_KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}")

Word = Annotated[str, Field(max_length=60), AfterValidator(_printable)]
Sentence = Annotated[str, Field(max_length=400), AfterValidator(_printable)]
"""Text of a site that is printed: short, and without what moves a terminal's cursor."""


MOST_TOKENS = 2**16
LEAST_TOKENS = 2**6
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class PatientTokens(BaseModel):
    """A site's patients as hashes under a key that hospitals share and the coordinator has not, to be compared with
    those of other sites (:mod:`client.hello.shared_patients`).

    Attributes:
        key: tells which key it was, and nothing of the key.
        tokens: sorted, none twice, filled up with others to a power of two.
    """

    model_config = ConfigDict(extra="forbid")

    key: Token
    tokens: list[Token] = Field(min_length=LEAST_TOKENS, max_length=MOST_TOKENS)

    @field_validator("tokens")
    @classmethod
    def _tells_no_count(cls, value: list[str]) -> list[str]:
        if len(value) & (len(value) - 1) or any(one >= other for one, other in pairwise(value)):
            raise ValueError("is not sorted, holds one twice, or its length is no power of two")
        return value


class SiteHello(BaseModel):
    """What a site says of itself. Counts are None unless the hospital declared them public."""

    model_config = ConfigDict(extra="forbid")

    protocol: int = PROTOCOL
    site: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$")
    organ: Word = Field(max_length=20)
    modality: Word = Field(max_length=5)
    contrasts: list[Word] = Field(max_length=8)
    roles: list[Word] = Field(max_length=5)
    tasks: list[Word] = Field(max_length=40)
    """What it can take part in: ``gan/<model>``, ``classifier``, ``evaluate``."""
    share_site_model: bool = False
    may_release_synthetic: bool = False
    examples: int = Field(default=1, ge=1, le=MAX_EXAMPLES)
    """Weight in averages, where every site declares one: the declared number, or 1."""
    examples_of: Literal["slices", "patients"] | None = None
    """What ``examples`` is a number of; None where the hospital declares none."""
    patients: int | None = Field(default=None, ge=0, le=MAX_EXAMPLES)
    slices: int | None = Field(default=None, ge=0, le=MAX_EXAMPLES)
    quarantined: int | None = Field(default=None, ge=0, le=MAX_EXAMPLES)
    notes: list[Sentence] = Field(default=[], max_length=40)
    declined: dict[Word, Sentence] = Field(default={}, max_length=40)
    """Why it takes no part in a task of the study, by task."""
    shared: PatientTokens | None = None
    """None unless its hospital compares its patients with other hospitals'."""


Model = TypeVar("Model", bound=BaseModel)


def instruction_record(instruction: Instruction) -> ConfigRecord:
    """The instruction as the ``config`` record of a message."""
    return ConfigRecord(instruction.model_dump(by_alias=True))


def read_instruction(content: RecordDict) -> Instruction:
    """The instruction in a message that a site received.

    Raises:
        UnacceptableError: if it is missing, malformed or of another protocol.
    """
    record = content.config_records.get(CONFIG)
    if record is None:
        raise UnacceptableError("the message holds no instruction")
    try:
        instruction = Instruction.model_validate(dict(record))
    except ValidationError as error:
        raise UnacceptableError(f"malformed instruction ({_where(error)})") from error
    if instruction.protocol != PROTOCOL:
        raise UnacceptableError(f"protocol {instruction.protocol}, this release speaks {PROTOCOL}")
    return instruction


def reply_record(
    instruction: Instruction, site: str, result: BaseModel | Mapping[str, Any] | None = None
) -> ConfigRecord:
    """The ``config`` record of a reply: who answers which question, and a small result as JSON."""
    record = ConfigRecord(
        {"run": instruction.run, "phase": instruction.phase, ROUND: instruction.server_round, "site": site}
    )
    if result is not None:
        record["result"] = (
            result.model_dump_json() if isinstance(result, BaseModel) else json.dumps(result, allow_nan=False)
        )
    return record


def check_reply(content: RecordDict, *, run: str, phase: str, server_round: int, site: str | None) -> None:
    """Refuses a reply to another question or under another site's name.

    Raises:
        UnacceptableError: naming what differs.
    """
    record = content.config_records.get(CONFIG)
    if record is None:
        raise UnacceptableError("the reply does not say what it answers")
    if len(content.config_records) != 1 or set(record) - {"run", "phase", ROUND, "site", "result"}:
        raise UnacceptableError("the reply holds more than was asked for")
    expected: dict[str, object] = {"run": run, "phase": phase, ROUND: server_round}
    if site is not None:
        expected["site"] = site
    for key, value in expected.items():
        # True equals 1, and 1.0 does.
        if type(record.get(key)) is not type(value) or record.get(key) != value:
            raise UnacceptableError(f"the reply belongs to another {key.replace('server-', '')}")


def read_result(content: RecordDict, model: type[Model]) -> Model:
    """The JSON result of a reply, checked against ``model``.

    Raises:
        UnacceptableError: if it is missing, too large or does not fit.
    """
    record = content.config_records.get(CONFIG)
    text = record.get("result") if record is not None else None
    if not isinstance(text, str):
        raise UnacceptableError("the reply holds no result")
    if len(text) > 2_000_000:
        raise UnacceptableError("the result is larger than 2 MB")
    try:
        result = model_from_json(model, text)
    except ValidationError as error:
        raise UnacceptableError(f"the result does not fit ({_where(error)})") from error
    if not _all_finite(result.model_dump()):
        raise UnacceptableError("the result holds a number that is not finite")
    return result


def to_arrays(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Tensors as Flower arrays, names in sorted order."""
    return ArrayRecord({name: Array(tensors[name].detach().cpu().numpy()) for name in sorted(tensors)})


def from_arrays(record: ArrayRecord) -> dict[str, Tensor]:
    """Flower arrays as tensors that own their memory.

    Raises:
        UnacceptableError: if one is not what it states.
    """
    return {name: torch.from_numpy(np.array(values_of(array))) for name, array in record.items()}


def values_of(array: Array) -> npt.NDArray[Any]:
    """The values of a Flower array, perhaps read-only: as its own ``numpy()``, which parses a header as Python source.

    With a hundred small arrays a message, that parsing would take longer than a training step. The shape and type that
    the array states are taken where its bytes say the same in the plain form that Flower writes; another form is
    parsed, and has to say the same too.

    Raises:
        UnacceptableError: if it is no array of numbers, or its bytes are not those of what it states.
    """
    try:
        return _stated(array)
    except UnacceptableError:
        raise
    except Exception as error:  # whatever numpy's parsers raise: these bytes may come from anyone
        raise UnacceptableError("an array cannot be read") from error


def _stated(array: Array) -> npt.NDArray[Any]:
    data, dtype, shape = array.data, np.dtype(array.dtype), tuple(array.shape)
    if dtype.kind not in "biuf" or any(side < 0 for side in shape):
        raise UnacceptableError("an array holds no numbers")
    if data[:8] == b"\x93NUMPY\x01\x00":
        begin = 10 + int.from_bytes(data[8:10], "little")
        header = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}".encode()
        if data[10:begin].rstrip() == header and len(data) - begin == dtype.itemsize * math.prod(shape):
            return np.frombuffer(data, dtype, offset=begin).reshape(shape)
    file = io.BytesIO(data)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    stored_shape, fortran, stored = read[np.lib.format.read_magic(file)](file)
    # Compared before anything of that size is made.
    if (stored_shape, stored) != (shape, dtype) or len(data) - file.tell() != dtype.itemsize * math.prod(shape):
        raise UnacceptableError("an array's bytes are not what it states")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")


def received_arrays(content: RecordDict) -> dict[str, Tensor]:
    """The arrays of a message.

    Raises:
        UnacceptableError: if there are none.
    """
    record = content.array_records.get(ARRAYS)
    if record is None:
        raise UnacceptableError("the message holds no arrays")
    try:
        return from_arrays(record)
    except TypeError as error:
        raise UnacceptableError("an array is of a type that torch does not know") from error


def training_metrics(examples: int, losses: Mapping[str, float]) -> MetricRecord:
    """The ``metrics`` record of a training reply."""
    return MetricRecord({NUM_EXAMPLES: examples, **{f"loss.{name}": float(value) for name, value in losses.items()}})


def read_losses(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Losses by name from a (possibly aggregated) ``metrics`` record."""
    return {key.removeprefix("loss."): float(value) for key, value in metrics.items() if key.startswith("loss.")}


def to_images(images: Tensor) -> ArrayRecord:
    """Synthetic slices (N, C, H, W) in [0, 1] as the arrays of a message."""
    return to_arrays({IMAGES: images})


def _all_finite(value: Any) -> bool:
    """Whether no number in a tree of mappings and lists is infinite or not a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_all_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_all_finite, value))
    return True


def _where(error: ValidationError) -> str:
    """The keys that do not fit, without their values."""
    keys = dict.fromkeys(".".join(str(part) for part in item["loc"]) or "text" for item in error.errors())
    return ", ".join(key if _KEY.fullmatch(key) else quoted(key, 60) for key in list(keys)[:3])
