"""What a site answers is read by the study's own process: nothing in it ends the study, speaks for others or grows."""

import hashlib
import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.app.message.arraychunk import ArrayChunk
from flwr.common.serde import message_from_proto
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    HEAD_BODY_DIVIDER,
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
)
from flwr.superlink.grid.http_grid import HttpGrid
from guarded_fleet import SUPERLINK, Fleet, HostileNode, answer_to, arrays, guarded_fleet

from common.errors import ConfigError
from server.operation.quota import Quota
from server.returning import NODE_LOST, OwnError
from server.wary_grid import WaryGrid

SITES = ("hospital1", "hospital2")
MOST = 16 << 20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with guarded_fleet(tmp_path_factory.mktemp("fleet"), SITES, Quota(32 << 20, 64 << 20)) as running:
        for site in SITES:
            HostileNode(running, site).activate()
        yield running


def beat(node: HostileNode) -> None:
    """The node is there, however long the tests before took."""
    node.client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=node.node, heartbeat_interval=30))


@pytest.fixture
def grid(fleet: Fleet) -> WaryGrid:
    """The study's, in a run of its own."""
    fleet.begin_run()
    flower = HttpGrid(
        f"localhost:{fleet.ports['superlink']}",
        root_certificates=(fleet.root / "authority" / "ca.crt").read_bytes(),
        token=fleet.token,
    )
    flower.set_run(fleet.state.get_run_info(run_ids=[fleet.run])[0])
    return WaryGrid(flower, most=MOST)


@pytest.fixture
def hostile(fleet: Fleet, grid: WaryGrid) -> HostileNode:
    node = HostileNode(fleet, "hospital1")
    beat(node)
    return node


@pytest.fixture
def honest(fleet: Fleet, grid: WaryGrid) -> HostileNode:
    node = HostileNode(fleet, "hospital2")
    beat(node)
    return node


def ask(grid: WaryGrid, node: HostileNode) -> str:
    content = RecordDict({"config": ConfigRecord({"text": "x"})})
    [identifier] = grid.push_messages(
        [Message(content, dst_node_id=node.number, message_type="train.gan", group_id="3")]
    )
    return identifier


def send(node: HostileNode, message: Message, tree: ObjectTree | None = None, **changes: str) -> str:
    """An answer and all its parts; returns the session."""
    session = node.push(message, tree, **changes).session_id
    for identifier, one in get_all_nested_objects(message).items():
        node.push_object(session, identifier, one.deflate())
    return str(session)


def made(kind: str, children: list[str], body: bytes) -> bytes:
    """An object as Flower writes it, of which each word may be a lie."""
    return f"{kind} {','.join(children)} {len(body)}".encode() + HEAD_BODY_DIVIDER + body


def send_raw(node: HostileNode, root: Message, parts: list[bytes], tree: ObjectTree | None = None) -> None:
    """An answer whose content is what these parts say: children first, the root's content last."""
    body = root.deflate().partition(HEAD_BODY_DIVIDER)[2]
    contents = [*parts, made("Message", [get_object_id(parts[-1])], body)]
    identifiers = [get_object_id(one) for one in contents]
    tree = tree or ObjectTree(
        object_id=identifiers[-1], children=[ObjectTree(object_id=one) for one in identifiers[:-1]]
    )
    root.metadata.__dict__["_message_id"] = identifiers[-1]
    session = node.push(root, tree, message_id=identifiers[-1]).session_id
    for identifier, one in zip(identifiers, contents, strict=True):
        node.push_object(session, identifier, one)


def root_is_a_record(node: HostileNode, answer: Message) -> None:
    record = ConfigRecord({"a": 1})
    tree = ObjectTree(object_id=record.object_id)
    session = node.push(answer, tree, message_id=record.object_id).session_id
    node.push_object(session, record.object_id, record.deflate())


def content_is_missing_in_the_tree(node: HostileNode, answer: Message) -> None:
    session = node.push(answer, ObjectTree(object_id=answer.object_id)).session_id
    node.push_object(session, answer.object_id, answer.deflate())


def content_is_an_array(node: HostileNode, answer: Message) -> None:
    send_raw(node, answer, [one.deflate() for one in get_all_nested_objects(Array(np.zeros(2))).values()])


def content_is_garbage(node: HostileNode, answer: Message) -> None:
    send_raw(node, answer, [made("ConfigRecord", [], b"\xff" * 20), made("RecordDict", [], b"[1]")])


def content_names_what_it_has_not(node: HostileNode, answer: Message) -> None:
    send_raw(node, answer, [made("RecordDict", ["f" * 64], b'{"a": "' + b"f" * 64 + b'"}')])


def body_is_nested_without_end(node: HostileNode, answer: Message) -> None:
    send_raw(node, answer, [made("RecordDict", [], b'{"a":' + b"[" * 100_000)])


def chunk(size: int = 1 << 20) -> bytes:
    return ArrayChunk(memoryview(bytes(size))).deflate()


def array(part: bytes, times: int) -> bytes:
    about = {"dtype": "float32", "shape": [1], "stype": "numpy.ndarray", "arraychunk_ids": [0] * times}
    return made("Array", [get_object_id(part)], json.dumps(about).encode())


def record(kind: str, part: bytes, times: int) -> bytes:
    named = {str(number): get_object_id(part) for number in range(times)}
    return made(kind, [get_object_id(part)], json.dumps(named).encode())


def a_part_is_named_often(node: HostileNode, answer: Message) -> None:
    parts = [chunk(), array(chunk(), 200)]
    for kind in ("ArrayRecord", "RecordDict"):
        parts.append(record(kind, parts[-1], 1))
    send_raw(node, answer, parts)


def an_array_has_many_names(node: HostileNode, answer: Message) -> None:
    parts = [chunk(), array(chunk(), 1)]
    parts += [record("ArrayRecord", parts[-1], 50)]
    send_raw(node, answer, [*parts, record("RecordDict", parts[-1], 1)])


def a_record_has_many_names(node: HostileNode, answer: Message) -> None:
    parts = [chunk(), array(chunk(), 1)]
    parts += [record("ArrayRecord", parts[-1], 1)]
    send_raw(node, answer, [*parts, record("RecordDict", parts[-1], 50)])


def an_array_has_no_name(node: HostileNode, answer: Message) -> None:
    """The head of a record names it, and the body does not."""
    parts = [chunk(), array(chunk(), 200)]
    send_raw(node, answer, [*parts, made("RecordDict", [get_object_id(parts[-1])], b"{}")])


def a_record_of_many_values(node: HostileNode, answer: Message) -> None:
    answer.content = RecordDict({"c": ConfigRecord({"many": [1] * 300_000})})
    send(node, answer)


def more_than_the_study_takes(node: HostileNode, answer: Message) -> None:
    answer.content = arrays(18)
    send(node, answer)


UNREADABLE = [
    root_is_a_record,
    content_is_missing_in_the_tree,
    content_is_an_array,
    content_is_garbage,
    content_names_what_it_has_not,
    body_is_nested_without_end,
]
TOO_LARGE = [
    a_part_is_named_often,
    an_array_has_many_names,
    a_record_has_many_names,
    an_array_has_no_name,
    a_record_of_many_values,
    more_than_the_study_takes,
]


@pytest.mark.parametrize("attack", UNREADABLE + TOO_LARGE, ids=lambda attack: attack.__name__)
def test_an_answer_that_cannot_be_read_is_one_sites_alone(
    grid: WaryGrid, hostile: HostileNode, honest: HostileNode, attack: Callable[[HostileNode, Message], None]
) -> None:
    asked, other = ask(grid, hostile), ask(grid, honest)
    attack(hostile, answer_to(hostile.pull()))
    send(honest, answer_to(honest.pull(), arrays(8)))
    replies = {one.metadata.reply_to_message_id: one for one in grid.pull_messages([asked, other])}
    assert set(replies) == {asked, other}
    assert replies[other].content["arrays"].object_id == arrays(8)["arrays"].object_id
    assert isinstance(replies[asked].error, OwnError)
    assert replies[asked].error.reason.startswith("its answer cannot be read")
    assert ("larger than" in replies[asked].error.reason) == (attack in TOO_LARGE)
    assert replies[asked].metadata.src_node_id == hostile.number
    assert not list(grid.pull_messages([asked, other]))


def test_nothing_of_an_answer_stays_at_the_superlink(fleet: Fleet, grid: WaryGrid, hostile: HostileNode) -> None:
    before = set(fleet.state.object_store.store)
    asked = ask(grid, hostile)
    pulled = hostile.pull()
    an_array_has_many_names(hostile, answer_to(pulled))
    assert len(list(grid.pull_messages([asked]))) == 1
    left = set(fleet.state.object_store.store) - before
    assert all(len(fleet.state.object_store.store[one].content) < 1000 for one in left)


def test_nobody_answers_in_another_ones_name(grid: WaryGrid, hostile: HostileNode, honest: HostileNode) -> None:
    """The guard sees the metadata beside the answer; those inside of it say something else."""
    asked, other = ask(grid, hostile), ask(grid, honest)
    answer = answer_to(hostile.pull())
    lies = {
        "reply_to_message_id": other,
        "src_node_id": honest.number,
        "dst_node_id": 77,
        "group_id": "9",
        "message_type": "query.hello",
        "run_id": 5,
    }
    truth = {name: getattr(answer.metadata, name) for name in lies}
    answer.metadata.__dict__.update({f"_{name}": value for name, value in lies.items()})
    send(hostile, answer, get_object_tree(answer), **truth)
    [reply] = grid.pull_messages([asked, other])
    about = reply.metadata
    assert (about.reply_to_message_id, about.src_node_id) == (asked, hostile.number)
    assert (about.dst_node_id, about.group_id, about.message_type) == (SUPERLINK, "3", "train.gan")
    assert about.run_id == truth["run_id"]
    send(honest, answer_to(honest.pull()))
    [reply] = grid.pull_messages([other])
    assert reply.metadata.src_node_id == honest.number


def test_an_answer_that_does_not_come_keeps_nobody_waiting(
    grid: WaryGrid, hostile: HostileNode, honest: HostileNode
) -> None:
    asked, other = ask(grid, hostile), ask(grid, honest)
    answer = answer_to(hostile.pull())
    session = hostile.push(answer).session_id
    send(honest, answer_to(honest.pull()))
    [reply] = grid.pull_messages([asked, other])
    assert reply.metadata.reply_to_message_id == other
    assert not list(grid.pull_messages([asked]))
    for identifier, one in get_all_nested_objects(answer).items():
        hostile.push_object(session, identifier, one.deflate())
    [reply] = grid.pull_messages([asked])
    assert reply.content == answer.content


def test_an_answer_in_small_parts_does_not_take_all_the_time(
    grid: WaryGrid, hostile: HostileNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 100_000, 3))
    monkeypatch.setattr(grid, "_clock", lambda: next(now))
    asked = ask(grid, hostile)
    send(hostile, answer_to(hostile.pull(), RecordDict({str(n): ConfigRecord({"n": n}) for n in range(9)})))
    looks = 0
    while not (replies := list(grid.pull_messages([asked]))):
        looks += 1
    assert looks > 2
    assert len(replies[0].content) == 9


def test_an_answer_of_too_many_parts_is_not_fetched(
    grid: WaryGrid, hostile: HostileNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.wary_grid.MOST_PARTS", 20)
    asked = ask(grid, hostile)
    answer = answer_to(hostile.pull())
    parts = [ObjectTree(object_id=hashlib.sha256(bytes([number])).hexdigest()) for number in range(30)]
    hostile.push(answer, ObjectTree(object_id=answer.object_id, children=parts))
    [reply] = grid.pull_messages([asked])
    assert "more than 20 parts" in reply.error.reason


def test_equal_parts_of_honest_arrays_are_read(grid: WaryGrid, honest: HostileNode) -> None:
    asked = ask(grid, honest)
    zeros = RecordDict({"arrays": ArrayRecord([np.zeros(5 << 20, np.uint8), np.zeros(9 << 20, np.uint8)])})
    send(honest, answer_to(honest.pull(), zeros))
    [reply] = grid.pull_messages([asked])
    assert [one.nbytes for one in reply.content["arrays"].to_numpy_ndarrays()] == [5 << 20, 9 << 20]


def test_who_said_that_a_node_is_lost_is_known(
    fleet: Fleet, grid: WaryGrid, hostile: HostileNode, honest: HostileNode
) -> None:
    asked, other = ask(grid, hostile), ask(grid, honest)
    send(hostile, Message(Error(NODE_LOST, "lost"), reply_to=message_from_proto(hostile.pull())))
    fleet.state.nodes[honest.number].online_until = 0
    try:
        replies = {one.metadata.reply_to_message_id: one for one in grid.pull_messages([asked, other])}
    finally:
        beat(honest)
    assert {key: (one.error.code, one.metadata.src_node_id) for key, one in replies.items()} == {
        asked: (NODE_LOST, hostile.number),
        other: (NODE_LOST, SUPERLINK),
    }


def test_another_grid_than_flowers_is_refused() -> None:
    with pytest.raises(ConfigError, match="Flower"):
        WaryGrid(object(), most=MOST)  # type: ignore[arg-type]
