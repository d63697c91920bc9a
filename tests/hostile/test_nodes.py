"""What nodes with a registered key may not do at the SuperLink, and strangers at the proxy: over real TLS and nginx."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import psutil
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from guarded_fleet import SUPERLINK, Fleet, HostileNode, answer_to, arrays, guarded_fleet

from server.operation.quota import Quota

SITES = ("hospital1", "hospital2", "hospital3")
QUOTA = Quota(site=32 << 20, total=48 << 20)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with guarded_fleet(tmp_path_factory.mktemp("fleet"), SITES, QUOTA) as running:
        for site in SITES:
            HostileNode(running, site).activate()
        yield running


@pytest.fixture
def victim(fleet: Fleet) -> HostileNode:
    fleet.begin_run()
    return HostileNode(fleet, "hospital2")


@pytest.fixture
def attacker(victim: HostileNode, fleet: Fleet) -> HostileNode:
    return HostileNode(fleet, "hospital3")


def stored(fleet: Fleet) -> int:
    """Messages and answers that the SuperLink holds."""
    return len(fleet.state.message_ins_store) + len(fleet.state.message_res_store)


@contextlib.contextmanager
def refused(fleet: Fleet, status: int) -> Iterator[None]:
    """Refused with that status, and nothing of it was stored."""
    before = stored(fleet), len(fleet.state.object_store.store)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        yield
    assert caught.value.response.status_code == status
    assert (stored(fleet), len(fleet.state.object_store.store)) == before


def test_an_honest_node_fetches_and_answers(fleet: Fleet, victim: HostileNode) -> None:
    question = fleet.ask(victim.number)
    proto = victim.pull()
    assert proto.metadata.message_id == question
    tree = fleet.state.object_store.get_object_tree(question)
    part = victim.client.PullObject(
        PullObjectRequest(node=victim.node, run_id=fleet.run, object_id=tree.children[0].object_id)
    )
    assert part.object_found
    victim.client.ConfirmMessageReceived(
        ConfirmMessageReceivedRequest(node=victim.node, run_id=fleet.run, message_object_id=question)
    )
    answer = answer_to(proto)
    response = victim.push(answer)
    objects = get_all_nested_objects(answer)
    for identifier in response.objects_to_push:
        assert victim.push_object(response.session_id, identifier, objects[identifier].deflate()).stored
    assert [one.metadata.reply_to_message_id for one in fleet.state.get_message_res({question}, fleet.run)] == [
        question
    ]


def test_a_node_commands_no_other_one(fleet: Fleet, victim: HostileNode, attacker: HostileNode) -> None:
    """A message of its own, said to be the SuperLink's."""
    order = Message(
        RecordDict({"config": ConfigRecord({"do": "this"})}), dst_node_id=victim.number, message_type="query.x"
    )
    order.metadata.__dict__["_run_id"] = fleet.run
    with refused(fleet, 409):
        attacker.push(order, src_node_id=SUPERLINK)
    with refused(fleet, 409):
        attacker.push(order, src_node_id=attacker.number)
    # Beside a question that it was really asked.
    fleet.ask(attacker.number)
    asked = attacker.pull()
    with refused(fleet, 409):
        attacker.push(order, src_node_id=SUPERLINK, reply_to_message_id="")
    with refused(fleet, 409):
        attacker.push(answer_to(asked), src_node_id=SUPERLINK)
    with refused(fleet, 409):
        attacker.push(answer_to(asked), dst_node_id=victim.number)
    assert victim.pull() is None


@pytest.mark.parametrize(
    "change",
    [
        {"message_type": "train.gan"},
        {"group_id": "1\nerror: stopped for good\n\x1b[2J"},
        {"run_id": 12345},
        {"reply_to_message_id": "0" * 64},
        {"message_id": "f" * 64},
    ],
)
def test_an_answer_is_the_answer_to_its_question(fleet: Fleet, attacker: HostileNode, change: dict[str, Any]) -> None:
    fleet.ask(attacker.number)
    asked = attacker.pull()
    with refused(fleet, 409):
        attacker.push(answer_to(asked), **change)


def test_nobody_answers_for_another_site_or_twice(fleet: Fleet, victim: HostileNode, attacker: HostileNode) -> None:
    fleet.ask(victim.number)
    asked = victim.pull()
    for source in (victim.number, attacker.number):
        with refused(fleet, 409):
            attacker.push(answer_to(asked), src_node_id=source)
    answer = answer_to(asked)
    first = victim.push(answer)
    assert victim.push(answer).results == first.results  # the same again, as after a broken connection
    with refused(fleet, 409):
        victim.push(answer_to(asked, RecordDict({"config": ConfigRecord({"ok": 2})})))


def test_what_is_for_another_site_is_not_handed_out(fleet: Fleet, victim: HostileNode, attacker: HostileNode) -> None:
    question = fleet.ask(victim.number)
    tree = fleet.state.object_store.get_object_tree(question)
    about = {"node": attacker.node, "run_id": fleet.run}
    with refused(fleet, 409):
        attacker.client.PullObject(PullObjectRequest(object_id=tree.children[0].object_id, **about))
    with refused(fleet, 409):
        attacker.client.ConfirmMessageReceived(ConfirmMessageReceivedRequest(message_object_id=question, **about))
    with refused(fleet, 409):
        attacker.client.GetRun(GetRunRequest(**about))
    assert victim.pull().metadata.message_id == question


def test_a_key_counts_with_its_own_certificate_only(fleet: Fleet, victim: HostileNode) -> None:
    """Signatures of another site, as somebody sees who reads its traffic, are worth nothing on one's own connection."""
    replayed = HostileNode(fleet, "hospital2", tls="hospital3")
    fleet.ask(victim.number)
    with refused(fleet, 401):
        replayed.pull()
    with refused(fleet, 401):
        replayed.client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=replayed.node, heartbeat_interval=30))
    with refused(fleet, 401):
        replayed.client.DeactivateNode(DeactivateNodeRequest(node_id=replayed.number))
    with refused(fleet, 401):
        replayed.activate()
    assert victim.pull() is not None


def test_a_message_is_no_bomb(fleet: Fleet, attacker: HostileNode) -> None:
    fleet.ask(attacker.number)
    answer = answer_to(attacker.pull())
    deep = ObjectTree(object_id="a" * 64)
    for _ in range(20):
        deep = ObjectTree(object_id="b" * 64, children=[deep])
    whole = get_object_tree(answer)
    with refused(fleet, 409):
        attacker.push(answer, ObjectTree(object_id=whole.object_id, children=[deep]))
    wide = ObjectTree(object_id=whole.object_id, children=[ObjectTree(object_id="c") for _ in range(60_000)])
    with refused(fleet, 409):
        attacker.push(answer, wide)


def test_a_short_message_is_not_a_long_one_in_other_words(fleet: Fleet, attacker: HostileNode) -> None:
    """Flower keeps objects by ID: what lies below one in one place would lie below it in all the others."""
    fleet.ask(attacker.number)
    answer = answer_to(attacker.pull())
    names = [f"{number:064x}" for number in range(8)]
    levels = [ObjectTree(object_id=names[0])]
    for name, below in pairwise([*names, ""]):
        levels.append(ObjectTree(object_id=below or "f" * 64, children=[ObjectTree(object_id=name)] * 8))
    with refused(fleet, 409):
        attacker.push(answer, ObjectTree(object_id=get_object_tree(answer).object_id, children=levels))
    # Neither within one message nor beside what is there already.
    honest = get_object_tree(answer)
    attacker.push(answer)
    fleet.ask(attacker.number)
    second = answer_to(attacker.pull(), RecordDict({"config": ConfigRecord({"other": 1})}))
    known = ObjectTree(object_id=honest.children[0].object_id, children=[ObjectTree(object_id="e" * 64)])
    with refused(fleet, 409):
        attacker.push(second, ObjectTree(object_id=get_object_tree(second).object_id, children=[known]))


def test_the_same_answer_again_is_the_same_answer(fleet: Fleet, attacker: HostileNode) -> None:
    """With another tree it would end the session in which the first one's parts are awaited."""
    fleet.ask(attacker.number)
    answer = answer_to(attacker.pull())
    attacker.push(answer)
    with refused(fleet, 409):
        attacker.push(answer, ObjectTree(object_id=get_object_tree(answer).object_id))
    for _ in range(7):
        attacker.push(answer)
    with refused(fleet, 409):
        attacker.push(answer)


def test_what_was_announced_and_never_comes_counts(fleet: Fleet, attacker: HostileNode) -> None:
    asked = 0

    def announce() -> None:
        nonlocal asked
        for number in range(4):
            fleet.ask(attacker.number, size=16 + number)
            answer = answer_to(attacker.pull(), RecordDict({"config": ConfigRecord({"n": number})}))
            children = [ObjectTree(object_id=f"{number:04x}{one:060x}") for one in range(12_000)]
            attacker.push(answer, ObjectTree(object_id=get_object_tree(answer).object_id, children=children))
            asked += 1

    with pytest.raises(httpx.HTTPStatusError) as caught:
        announce()
    assert caught.value.response.status_code == 507
    assert asked == 2
    fleet.state.object_store.delete_objects_in_run(fleet.run)


def test_a_part_that_comes_twice_frees_no_room(fleet: Fleet, attacker: HostileNode) -> None:
    time.sleep(1.1)  # what the last test left is fetched
    fleet.ask(attacker.number)
    large = answer_to(attacker.pull(), arrays(64))
    objects = get_all_nested_objects(large)
    response = attacker.push(large)
    kept = 0

    def push_twice() -> None:
        nonlocal kept
        for identifier in response.objects_to_push:
            content = objects[identifier].deflate()
            if attacker.push_object(response.session_id, identifier, content).stored:
                kept += len(content)
            attacker.push_object(response.session_id, identifier, b"x")

    with pytest.raises(httpx.HTTPStatusError) as caught:
        push_twice()
    assert caught.value.response.status_code == 507
    assert kept <= QUOTA.site
    fleet.state.object_store.delete_objects_in_run(fleet.run)


def test_nobody_counts_as_connected_long_after_it_is_gone(fleet: Fleet, attacker: HostileNode) -> None:
    with refused(fleet, 409):
        attacker.client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=attacker.node, heartbeat_interval=1800))


def test_nothing_is_kept_that_was_not_asked_for_or_is_too_much(fleet: Fleet, attacker: HostileNode) -> None:
    with refused(fleet, 409):
        attacker.push_object("", "a" * 64, b"x" * 5_000_000)
    with refused(fleet, 409):
        attacker.push_object("another-session", "a" * 64, b"x" * 5_000_000)
    fleet.ask(attacker.number)
    large = answer_to(attacker.pull(), arrays(64))
    objects = get_all_nested_objects(large)
    response = attacker.push(large)
    before = psutil.Process().memory_info().rss
    sent = 0

    def push_all() -> None:
        nonlocal sent
        for identifier in response.objects_to_push:
            content = objects[identifier].deflate()
            attacker.push_object(response.session_id, identifier, content)
            sent += len(content)

    with pytest.raises(httpx.HTTPStatusError) as caught:
        push_all()
    assert caught.value.response.status_code == 507
    assert sent <= QUOTA.site
    assert psutil.Process().memory_info().rss - before < 3 * QUOTA.site
    fleet.state.object_store.delete_objects_in_run(fleet.run)


def slow_post(fleet: Fleet, context: ssl.SSLContext, path: str, size: int) -> ssl.SSLSocket:
    """A request whose body never comes."""
    raw = socket.create_connection(("localhost", fleet.ports["public"]), timeout=10)
    connection = context.wrap_socket(raw, server_hostname="localhost")
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\nx".encode())
    return connection


@pytest.fixture
def crowd(fleet: Fleet) -> Iterator[list[socket.socket]]:
    """Connections that somebody keeps open."""
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


def opened_by(number: int, make: Any, opened: list[socket.socket]) -> None:
    """Opens connections from a few threads; those that are turned away do not count."""

    def work() -> None:
        for _ in range(number // 8):
            with contextlib.suppress(OSError):
                opened.append(make())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", ["bodies", "headers", "handshakes", "enrolments"])
def test_a_stranger_with_many_slow_requests_shuts_nobody_out(
    fleet: Fleet, victim: HostileNode, crowd: list[socket.socket], kind: str
) -> None:
    """More connections than nginx had for all, from one address, and a hospital's node on the same machine."""
    stranger = fleet.stranger()
    port = fleet.ports["public"]

    def headers() -> socket.socket:
        connection = stranger.wrap_socket(
            socket.create_connection(("localhost", port), 10), server_hostname="localhost"
        )
        connection.sendall(b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        return connection

    make = {
        "bodies": lambda: slow_post(fleet, stranger, "/v1/fleet/push-object", 5_000_000),
        "enrolments": lambda: slow_post(fleet, stranger, "/enrol", 4000),
        "headers": headers,
        "handshakes": lambda: socket.create_connection(("localhost", port), 10),
    }[kind]
    opened_by(1200, make, crowd)
    assert len(crowd) > 1000
    fleet.ask(victim.number)
    assert victim.pull() is not None
    assert victim.client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=victim.node, heartbeat_interval=30)).success


def test_large_bodies_of_one_site_take_its_own_room_only(
    fleet: Fleet, victim: HostileNode, attacker: HostileNode, crowd: list[socket.socket]
) -> None:
    before = psutil.Process().memory_info().rss

    def post() -> socket.socket:
        connection = slow_post(fleet, fleet.identity("hospital3"), "/v1/fleet/push-object", 5_900_000)
        connection.settimeout(15)
        with contextlib.suppress(OSError):
            connection.sendall(b"x" * 5_000_000)
        return connection

    opened_by(40, post, crowd)
    fleet.ask(victim.number)
    assert victim.pull() is not None
    assert psutil.Process().memory_info().rss - before < 150_000_000


def test_a_revoked_site_is_out_and_its_connection_of_no_use(fleet: Fleet) -> None:
    """Last: the list of sites changes for good. One that was never connected can be taken away as well."""
    last = HostileNode(fleet, "hospital3")
    with fleet.registry.edit() as registry:
        registry.revoke("hospital3", registry.sites["hospital3"].key.enrolled)  # type: ignore[union-attr]
    end = time.monotonic() + 20
    while fleet.state.get_node_id_by_public_key(last.public) is not None:
        assert time.monotonic() < end
        time.sleep(0.1)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        last.pull()
    assert caught.value.response.status_code == 401
    assert set(httpx_nodes(fleet)) == {"hospital1", "hospital2"}


def httpx_nodes(fleet: Fleet) -> dict[str, Any]:
    """Who is connected, as the coordinator's commands ask it on this machine."""
    url = f"https://localhost:{fleet.ports['superlink']}/oncofed/nodes"
    return dict(httpx.get(url, verify=fleet.stranger(), trust_env=False).json()["nodes"])
